//! The table as one text, which `core/src/sql/table.rs` reads at run time.
//!
//! A constant of structs takes the compiler ten times as long.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Type, ext::IdentExt as _};

use crate::{
    model::{Field, Model, Nullable, UniqueKey},
    words::{ASKED, COLUMN, CREATE_ONLY, GENERATED, KEY, MODEL, NAMED, NULLABLE, NULLS_NOT_DISTINCT, SCHEMA, TABLE},
};

/// The constants that describe the table.
pub(super) fn table(model: &Model) -> TokenStream {
    // No name contains the NUL that ends an item.
    let text = items(model).join("\0");
    let unknown = model.columns().filter(|field| field.nullable() == Nullable::Unknown);
    let asked: Vec<&Type> = unknown.map(|field| &field.ty).collect();
    let nullable = (!asked.is_empty()).then(|| {
        quote! {
            const NULLABLE: &'static [::core::primitive::bool] = &[#(__up::OptionProbe::<#asked>::NULLABLE),*];
        }
    });
    quote! {
        const TABLE: &'static ::core::primitive::str = #text;
        #nullable
    }
}

/// The items of the text. The first word of each says what it is.
fn items(model: &Model) -> Vec<String> {
    let mut items = vec![format!("{MODEL} {}", model.ident.unraw())];
    items.extend(model.schema.iter().map(|schema| format!("{SCHEMA} {schema}")));
    items.push(format!("{TABLE} {}", model.table));
    for field in model.columns() {
        items.push(column(field));
        if field.column != field.name() {
            items.push(format!("{NAMED} {}", field.column));
        }
    }
    items.extend(model.keys.iter().map(|unique| key(model, unique)));
    items
}

fn column(field: &Field) -> String {
    let words = [
        (true, COLUMN),
        (true, &field.name()),
        (field.is_generated(), GENERATED),
        (field.attrs.create_only.is_some(), CREATE_ONLY),
        (field.nullable() == Nullable::Yes, NULLABLE),
        (field.nullable() == Nullable::Unknown, ASKED),
    ];
    words.into_iter().filter_map(|(is_said, word)| is_said.then_some(word)).collect::<Vec<_>>().join(" ")
}

fn key(model: &Model, key: &UniqueKey) -> String {
    let mut words = vec![KEY.to_owned()];
    words.extend(model.columns_of(key).map(|(index, _)| index.to_string()));
    words.extend(key.nulls_not_distinct.then(|| NULLS_NOT_DISTINCT.to_owned()));
    words.join(" ")
}
