//! Writes the errors after a mistake, and stub impls.
//!
//! The impls promise what the derive's do and are never run, so that the calls elsewhere compile and the mistake is the only error.

use std::collections::HashSet;

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{GenericParam, Generics, WherePredicate, ext::IdentExt as _, parse_quote};

use crate::{
    errors::Errors,
    expand::structs,
    model::{Model, Shape, UniqueKey},
};

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
    let krate = &model.krate;
    let up = &quote!(__up);
    let inert = StubImpls { model, up, ident: structs::here(&model.ident), generics: bounded(model) };
    let upsertable = inert.upsertable(keys.first().copied());
    let key_impls = keys.iter().enumerate().map(|(index, key)| inert.key(key, index == 0));
    let no_key = keys.is_empty().then(|| inert.no_key());
    let on = inert.on();
    let from_row = (model.shape == Shape::Other).then(|| inert.unread());
    quote! {
        #[doc(hidden)]
        const _: () = {
            use #krate::__private as #up;
            #upsertable
            #(#key_impls)*
            #no_key
            #on
            #from_row
        };
    }
}

/// The model's generics, with the bounds of every model.
///
/// What every model promises has to be asked of the parameters of a generic one.
fn bounded(model: &Model) -> Generics {
    let mut generics = model.generics.clone();
    let bounds: Vec<WherePredicate> = generics
        .params
        .iter()
        .map(|parameter| match parameter {
            GenericParam::Lifetime(of) => {
                let lifetime = &of.lifetime;
                parse_quote!(#lifetime: 'static)
            }
            GenericParam::Type(of) => {
                let ty = &of.ident;
                parse_quote!(#ty: ::core::marker::Send + ::core::marker::Sync + ::core::marker::Unpin + 'static)
            }
            GenericParam::Const(_) => parse_quote!((): ::core::marker::Sized),
        })
        .collect();
    generics.make_where_clause().predicates.extend(bounds);
    generics
}

struct StubImpls<'a> {
    model: &'a Model,
    up: &'a TokenStream,
    ident: Ident,
    generics: Generics,
}

impl StubImpls<'_> {
    fn upsertable(&self, key: Option<&UniqueKey>) -> TokenStream {
        let (up, ident) = (self.up, &self.ident);
        let (parameters, arguments, bounds) = self.generics.split_for_impl();
        let new = self.new_type();
        let key = key.map_or_else(|| quote!(__NoKey), |key| self.key_type(key));
        quote! {
            #[automatically_derived]
            impl #parameters #up::Model for #ident #arguments #bounds {
                type New = #new;
                type Key = #key;
                const TABLE: &'static ::core::primitive::str = "";
                fn unique_key(&self) -> Self::Key { ::core::unreachable!() }
            }
        }
    }

    fn key(&self, key: &UniqueKey, is_first: bool) -> TokenStream {
        self.key_impls(&self.key_type(key), is_first || self.model.creates(key))
    }

    fn key_impls(&self, key: &TokenStream, creates: bool) -> TokenStream {
        let (up, ident) = (self.up, &self.ident);
        let (parameters, arguments, bounds) = self.generics.split_for_impl();
        let new = self.new_type();
        let create = creates.then(|| {
            quote! {
                #[automatically_derived]
                impl #parameters #up::CreateKey<#ident #arguments> for #key #bounds {
                    fn store(self, _: &mut #new) { ::core::unreachable!() }
                }
            }
        });
        quote! {
            #[automatically_derived]
            impl #parameters #up::UniqueKey<#ident #arguments> for #key #bounds {}
            #create
        }
    }

    fn no_key(&self) -> TokenStream {
        let impls = self.key_impls(&quote!(__NoKey), true);
        let vis = &self.model.vis;
        quote! {
            #[derive(::core::clone::Clone)]
            #vis struct __NoKey;
            #impls
        }
    }

    fn on(&self) -> TokenStream {
        let (up, ident) = (self.up, &self.ident);
        let mut generics = self.generics.clone();
        generics.params.push(parse_quote!(__DB: #up::Backend));
        let (parameters, ..) = generics.split_for_impl();
        let (_, arguments, bounds) = self.generics.split_for_impl();
        let bounds = bounds.map(|bounds| &bounds.predicates).into_iter().flatten();
        quote! {
            #[automatically_derived]
            impl #parameters #up::On<__DB> for #ident #arguments
            where
                #(#bounds,)*
                __DB: #up::Reads<#ident #arguments>,
            {
                fn work(_: #up::RowOperation<'_, '_, __DB, Self>) { ::core::unreachable!() }
            }
        }
    }

    /// A stub of `FromRow`, for what `sqlx::FromRow` refuses too.
    fn unread(&self) -> TokenStream {
        let ident = &self.ident;
        let mut generics = self.generics.clone();
        generics.params.insert(0, parse_quote!('__r));
        generics.params.push(parse_quote!(__R: ::sqlx::Row));
        let (parameters, ..) = generics.split_for_impl();
        let (_, arguments, bounds) = self.generics.split_for_impl();
        quote! {
            #[automatically_derived]
            impl #parameters ::sqlx::FromRow<'__r, __R> for #ident #arguments #bounds {
                fn from_row(_: &'__r __R) -> ::core::result::Result<Self, ::sqlx::Error> { ::core::unreachable!() }
            }
        }
    }

    fn new_type(&self) -> TokenStream {
        let (ident, generics) = (structs::here(&self.model.new_ident()), structs::generics_of_new(self.model));
        let (_, arguments, _) = generics.split_for_impl();
        quote!(#ident #arguments)
    }

    fn key_type(&self, key: &UniqueKey) -> TokenStream {
        let (ident, generics) = (structs::here(&key.ident), structs::generics_of_key(self.model, key));
        let (_, arguments, _) = generics.split_for_impl();
        quote!(#ident #arguments)
    }
}
