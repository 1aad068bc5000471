//! Writes the code of a model without mistakes.
//!
//! It is constants, and one call for some fields at once. It cannot fail.

pub(crate) mod impls;
pub(crate) mod respan;
mod row_operation;
pub(crate) mod structs;
mod table_text;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Attribute, spanned::Spanned as _};

use self::{
    impls::Impls,
    respan::respan,
    row_operation::{bounds, work},
    structs::{Struct, copy, key_type},
    table_text::table,
};
use crate::{
    model::{Field, Model, Nullable},
    validate::null_in_key,
};

/// Writes the structs beside a model, and the impls of all of them.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let krate = &model.krate;
    let beside: Vec<Struct<'_>> = structs::beside(model).collect();
    let structs = beside.iter().map(Struct::without_impls);
    let clone = beside.iter().map(Struct::clone);
    let debug = beside.iter().map(Struct::debug);
    let allows = allows(model);
    let option_probe = model.columns().any(is_unknown).then(|| quote! { use __up::NotAnOption as _; });
    let impls = impls(model);
    let not_null = not_null(model);
    quote! {
        #(#structs)*
        #[doc(hidden)]
        #(#allows)*
        const _: () = {
            use #krate::__private as __up;
            #option_probe
            #(#clone)*
            #(#debug)*
            #impls
            #not_null
        };
    }
}

/// The `allow` attributes of the model and its fields.
///
/// They stand on the impls too, where the types of the fields are named again.
fn allows(model: &Model) -> impl Iterator<Item = &Attribute> {
    model.fields.iter().map(|field| &field.forwarded).chain([&model.forwarded]).flat_map(|forwarded| &forwarded.allows)
}

/// The impls of the model and of its keys.
fn impls(model: &Model) -> TokenStream {
    let impls = Impls::of(model);
    let of_model = model.keys.first().map(|key| {
        let (ty, fields) = (key_type(model, key), model.fields_of(key).map(copy));
        impls.model(&ty, &table(model), &quote!(#ty { #(#fields),* }))
    });
    let of_keys = model.keys.iter().enumerate().map(|(index, key)| {
        let fields = model.fields_of(key).map(|field| respan(&field.ident));
        let store = model.creates(key).then(|| quote!(#(__new.#fields = self.#fields;)*));
        impls.key(&key_type(model, key), index, store)
    });
    let on = impls.on(&bounds(model), &work(model));
    quote!(#of_model #(#of_keys)* #on)
}

/// Assertions that catch a key column whose `Option` is behind an alias.
fn not_null(model: &Model) -> TokenStream {
    let unknown = model.columns().filter(|field| is_unknown(field) && model.must_not_be_null(field));
    let assert = |field: &Field| {
        let (ty, message) = (&field.ty, null_in_key(field));
        quote_spanned!(ty.span()=> const _: () = ::core::assert!(!__up::OptionProbe::<#ty>::NULLABLE, #message);)
    };
    unknown.map(assert).collect()
}

fn is_unknown(field: &Field) -> bool {
    field.nullable() == Nullable::Unknown
}
