//! Code that moves values between a row and the database.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;

use super::{
    respan::respan,
    structs::{AT_ONCE, key_type},
};
use crate::{
    attr::Json,
    model::{Field, Model},
};

/// The body of `On::work`: one arm for each operation on values.
pub(super) fn work(model: &Model) -> TokenStream {
    let supplied = put(model.supplied(), "__new");
    let put_key = |key| put(model.columns_of(key), "__key");
    let first = model.keys.first().map(put_key);
    let others = model.keys.iter().skip(1).map(|key| {
        let (ty, columns) = (key_type(model, key), put_key(key));
        quote! {
            if let __up::Some(__key) = __key.of::<#ty>() { #columns }
        }
    });
    let types: Vec<TokenStream> = model.columns().map(written).collect();
    let types = types.chunks(AT_ONCE);
    let read_key = read_key(model);
    quote! {
        match __work {
            __up::Put(__new, __values) => { #supplied }
            __up::PutKey(__key, __values) => { #first }
            __up::PutOther(__key, __values) => { #(#others)* }
            __up::Types(__types) => { #(__types.put_all::<(#(#types,)*)>();)* }
            __up::Read(__row) => __row.read(),
            __up::ReadKey(__row, __key) => { #read_key }
        }
    }
}

/// One bound for each type of a column.
///
/// Its span is the type's, so that the compiler's note is on the field. Lints take it for the user's code, so its names are ones that
/// nobody imports.
pub(super) fn bounds(model: &Model) -> Vec<TokenStream> {
    let name = |field: &Field| field.ty.to_token_stream().to_string();
    let in_first_key = model.keys.first().into_iter().flat_map(|key| model.fields_of(key));
    let key_types: Vec<String> = in_first_key.filter(|field| field.attrs.json.is_none()).map(name).collect();
    let mut seen = HashSet::new();
    let mut bounds = Vec::new();
    for field in model.columns() {
        let (ty, span, json) = (&field.ty, field.ty.span(), field.attrs.json);
        let value = match json {
            None if key_types.contains(&name(field)) => quote_spanned!(span=> __DB: __up::CanHoldKey<#ty>),
            None => quote_spanned!(span=> __DB: __up::CanHold<#ty>),
            Some(_) => quote_spanned!(span=> for<'row> __DB: __up::CanHold<::sqlx::types::Json<&'row #ty>>),
        };
        let null = (json == Some(Json::SqlNull)).then(|| {
            let ty = no_json(span);
            quote_spanned!(span=> __DB: __up::CanHold<#ty>)
        });
        bounds.extend([value].into_iter().chain(null).filter(|bound| seen.insert(bound.to_string())));
    }
    bounds
}

/// The type in which a column is written.
///
/// sqlx reads JSON through a wrapper, and what is written borrows from the row.
fn written(field: &Field) -> TokenStream {
    let ty = &field.ty;
    match field.attrs.json {
        None => ty.to_token_stream(),
        Some(Json::Null) => quote!(::sqlx::types::Json<&#ty>),
        Some(Json::SqlNull) => no_json(Span::call_site()),
    }
}

/// The type of NULL in a column of JSON.
///
/// It is not `Option<Json<&T>>`, as sqlx asks an `Option` to outlive every statement.
fn no_json(span: Span) -> TokenStream {
    quote_spanned!(span=> __up::Maybe<::sqlx::types::Json<()>>)
}

/// Code that writes columns of a row.
///
/// Those that follow one another are put by one call. JSON is put by itself, as it goes through a wrapper.
fn put<'a>(columns: impl Iterator<Item = (usize, &'a Field)>, row: &str) -> TokenStream {
    let row = Ident::new(row, Span::call_site());
    let columns: Vec<(usize, &Field)> = columns.collect();
    let follows = |(one, before): &(usize, &Field), (other, after): &(usize, &Field)| {
        *other == one + 1 && before.attrs.json.is_none() && after.attrs.json.is_none()
    };
    columns.chunk_by(follows).flat_map(|run| run.chunks(AT_ONCE)).map(|run| put_run(run, &row)).collect()
}

/// One call for columns that follow one another.
fn put_run(run: &[(usize, &Field)], row: &Ident) -> TokenStream {
    let fields: Vec<Ident> = run.iter().map(|(_, field)| respan(&field.ident)).collect();
    match run {
        [] => TokenStream::new(),
        [(index, field)] => match field.attrs.json {
            None => quote!(__values.put(#index, #(&#row.#fields)*);),
            Some(json) => put_json(*index, &quote!(&#row.#(#fields)*), json),
        },
        [(first, _), ..] => quote!(__values.put_all(#first, (#(&#row.#fields),*));),
    }
}

fn put_json(index: usize, value: &TokenStream, json: Json) -> TokenStream {
    let put = quote!(__values.put(#index, &::sqlx::types::Json(#value)));
    if json == Json::Null {
        return quote!(#put;);
    }
    let null = no_json(Span::call_site());
    quote! {
        match #value {
            __up::Some(_) => #put,
            __up::None => __values.put::<#null>(#index, &__up::None),
        }
    }
}

/// Code that reads the first key by itself.
///
/// A row with another column that cannot be read is then known by its key. Columns of JSON have no order to page by.
fn read_key(model: &Model) -> Option<TokenStream> {
    let key = model.keys.first().filter(|key| model.fields_of(key).all(|field| field.attrs.json.is_none()))?;
    let ty = key_type(model, key);
    let (values, fields): (Vec<_>, Vec<_>) =
        model.columns_of(key).map(|(index, field)| (format_ident!("__v{index}"), respan(&field.ident))).unzip();
    let parts = values.chunks(AT_ONCE).map(|values| quote!(__up::Some((#(#values,)*))));
    let reads = (0..values.len()).step_by(AT_ONCE).map(|first| quote!(__row.get_all(#first)));
    let (parts, reads) = (one_or_tuple(parts), one_or_tuple(reads));
    Some(quote! {
        if let #parts = #reads {
            *__key = __up::Some(#ty { #(#fields: #values),* });
        }
    })
}

/// One part by itself, or a tuple of all.
fn one_or_tuple(parts: impl Iterator<Item = TokenStream>) -> TokenStream {
    let parts: Vec<TokenStream> = parts.collect();
    if let [one] = parts.as_slice() { one.clone() } else { quote!((#(#parts),*)) }
}
