//! Writes the mistakes of a model, and stubs in the place of its impls.
//!
//! The stubs promise what the real impls do and are never run, so that the calls elsewhere compile and the mistake is the only error.

use std::collections::HashSet;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{ext::IdentExt as _, parse_quote};

use crate::{
    errors::Errors,
    expand::{
        impls::{Impls, bounded},
        respan::respan,
        structs,
    },
    model::{Model, Shape, UniqueKey},
};

/// Writes the mistakes, the structs beside a model, and stubs of the impls.
pub(crate) fn stubs(model: &Model, errors: &Errors) -> TokenStream {
    let errors = errors.to_tokens();
    let mut names = HashSet::from([model.ident.unraw().to_string()]);
    // Two types of one name are a mistake that was reported, and would be reported again.
    let mut is_new = |ident: &Ident| names.insert(ident.unraw().to_string());
    let new = structs::new(model).filter(|_| is_new(&model.new_ident())).map(|new| new.whole());
    let keys: Vec<&UniqueKey> = model.keys.iter().filter(|key| is_new(&key.ident)).collect();
    let key_types = keys.iter().map(|key| structs::key(model, key).whole());
    let impls = (!model.krate_unknown).then(|| impls(model, &keys));
    quote! {
        #errors
        #new
        #(#key_types)*
        #impls
    }
}

fn impls(model: &Model, keys: &[&UniqueKey]) -> TokenStream {
    let (krate, vis) = (&model.krate, &model.vis);
    let impls = Impls::of(model);
    let body = quote!(::core::unreachable!());
    let no_key = quote!(__NoKey);
    let first = keys.first().map_or_else(|| no_key.clone(), |key| structs::key_type(model, key));
    let of_model = impls.model(
        &first,
        &quote!(
            const TABLE: &'static ::core::primitive::str = "";
        ),
        &body,
    );
    let of_keys = keys.iter().enumerate().map(|(index, key)| {
        let store = (index == 0 || model.creates(key)).then(|| body.clone());
        impls.key(&structs::key_type(model, key), index, store)
    });
    let of_no_key = keys.is_empty().then(|| {
        let impls = impls.key(&no_key, 0, Some(body.clone()));
        quote! {
            #[derive(::core::clone::Clone)]
            #vis struct #no_key;
            #impls
        }
    });
    let on = impls.on(&[], &body);
    let from_row = (model.shape == Shape::Other).then(|| from_row(model));
    quote! {
        #[doc(hidden)]
        const _: () = {
            use #krate::__private as __up;
            #of_model
            #(#of_keys)*
            #of_no_key
            #on
            #from_row
        };
    }
}

/// A stub of `FromRow`, for what `sqlx::FromRow` refuses too.
fn from_row(model: &Model) -> TokenStream {
    let (ident, generics) = (respan(&model.ident), bounded(model));
    let (_, arguments, bounds) = generics.split_for_impl();
    let mut with_row = generics.clone();
    with_row.params.insert(0, parse_quote!('__r));
    with_row.params.push(parse_quote!(__R: ::sqlx::Row));
    let (parameters, ..) = with_row.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #parameters ::sqlx::FromRow<'__r, __R> for #ident #arguments #bounds {
            fn from_row(_: &'__r __R) -> ::core::result::Result<Self, ::sqlx::Error> { ::core::unreachable!() }
        }
    }
}
