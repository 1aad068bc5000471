//! Impls of a model and its keys, around bodies that are real or stubs.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{GenericParam, Generics, WherePredicate, parse_quote};

use super::{respan::respan, structs};
use crate::model::Model;

/// The headers of a model's impls.
pub(crate) struct Impls {
    ident: Ident,
    new: TokenStream,
    generics: Generics,
}

impl Impls {
    pub(crate) fn of(model: &Model) -> Self {
        Self { ident: respan(&model.ident), new: structs::new_type(model), generics: bounded(model) }
    }

    /// The impl of the model's own trait.
    ///
    /// `table` is the constants that describe the table, and `value` the key of `self`.
    pub(crate) fn model(&self, key: &TokenStream, table: &TokenStream, value: &TokenStream) -> TokenStream {
        let Self { ident, new, generics } = self;
        let (parameters, arguments, bounds) = generics.split_for_impl();
        quote! {
            #[automatically_derived]
            impl #parameters __up::Model for #ident #arguments #bounds {
                type New = #new;
                type Key = #key;
                #table
                #[inline]
                fn unique_key(&self) -> #key { #value }
            }
        }
    }

    /// The impls of the key with this number.
    ///
    /// `store` writes the key into a new row. A key that no row is created by has none.
    pub(crate) fn key(&self, key: &TokenStream, index: usize, store: Option<TokenStream>) -> TokenStream {
        let Self { ident, new, generics } = self;
        let (parameters, arguments, bounds) = generics.split_for_impl();
        let create = store.map(|store| {
            quote! {
                #[automatically_derived]
                impl #parameters __up::CreateKey<#ident #arguments> for #key #bounds {
                    #[inline]
                    fn store(self, __new: &mut #new) { #store }
                }
            }
        });
        // The trait's default is the first key's.
        let index = (index > 0).then(|| quote!(const INDEX: ::core::primitive::usize = #index;));
        quote! {
            #[automatically_derived]
            impl #parameters __up::UniqueKey<#ident #arguments> for #key #bounds {
                #index
            }
            #create
        }
    }

    /// The impl for databases that can hold the columns.
    ///
    /// It is one function for all that is done with values, as the compiler proves the bounds for each function anew.
    pub(crate) fn on(&self, can_hold: &[TokenStream], work: &TokenStream) -> TokenStream {
        let Self { ident, generics, .. } = self;
        let mut with_database = generics.clone();
        with_database.params.push(parse_quote!(__DB: __up::Backend));
        let (parameters, ..) = with_database.split_for_impl();
        let (_, arguments, bounds) = generics.split_for_impl();
        let bounds = bounds.map(|bounds| &bounds.predicates).into_iter().flatten();
        quote! {
            #[automatically_derived]
            impl #parameters __up::On<__DB> for #ident #arguments
            where
                #(#bounds,)*
                #(#can_hold,)*
                __DB: __up::Reads<#ident #arguments>,
            {
                fn work(__work: __up::RowOperation<'_, '_, __DB, Self>) { #work }
            }
        }
    }
}

/// The model's generics, with the bounds of every model.
///
/// Only a model that is refused has any. What every model promises has to be asked of its parameters.
pub(crate) fn bounded(model: &Model) -> Generics {
    let mut generics = model.generics.clone();
    let bounds = generics.params.iter().map(|parameter| -> WherePredicate {
        match parameter {
            GenericParam::Lifetime(of) => {
                let lifetime = &of.lifetime;
                parse_quote!(#lifetime: 'static)
            }
            GenericParam::Type(of) => {
                let ty = &of.ident;
                parse_quote!(#ty: ::core::marker::Send + ::core::marker::Sync + ::core::marker::Unpin + 'static)
            }
            GenericParam::Const(_) => parse_quote!((): ::core::marker::Sized),
        }
    });
    let bounds: Vec<WherePredicate> = bounds.collect();
    generics.make_where_clause().predicates.extend(bounds);
    generics
}
