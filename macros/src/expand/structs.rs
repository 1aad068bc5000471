//! The types that the derive writes beside a model.
//!
//! They are that of new rows and those of keys.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{GenericParam, Generics, Path, Type, ext::IdentExt as _, spanned::Spanned as _};

use crate::{
    attr::ForwardedAttrs,
    errors::list,
    model::{Field, Model, UniqueKey, is_plain, without_option},
};

/// Values that one call takes at most.
///
/// The crate knows tuples of no more.
pub(crate) const AT_ONCE: usize = 12;

/// The type of new rows, unless it is the model itself.
pub(crate) fn new(model: &Model) -> Option<Struct<'_>> {
    if !model.has_new() {
        return None;
    }
    let doc = format!(" The columns of a new {} that the caller supplies.", link(model));
    let derives = model.new.as_ref().map_or(&[][..], |new| &new.derives);
    let with_serde = derives.iter().any(|path| ends_in(path, "Serialize") || ends_in(path, "Deserialize"));
    let fields = model.supplied().map(|(_, field)| field).collect();
    Some(Struct { model, ident: model.new_ident(), doc, derives, with_serde, fields })
}

/// The type of a key.
pub(crate) fn key<'a>(model: &'a Model, key: &'a UniqueKey) -> Struct<'a> {
    let fields: Vec<&Field> = model.fields_of(key).collect();
    let names: Vec<String> = fields.iter().map(|field| field.name()).collect();
    let article = if model.keys.first().is_some_and(|first| std::ptr::eq(first, key)) { " The" } else { " A" };
    let doc = format!("{article} key of a {}: no two rows share {}.", link(model), list(&names, "and"));
    Struct { model, ident: key.ident.clone(), doc, derives: &[], with_serde: false, fields }
}

/// The parameters of the type of new rows.
///
/// Only a model that is refused has any.
pub(crate) fn generics_of_new(model: &Model) -> Generics {
    if !model.has_new() {
        return model.generics.clone();
    }
    let fields: Vec<&Field> = model.supplied().map(|(_, field)| field).collect();
    generics(model, &fields)
}

/// The parameters of the type of a key.
pub(crate) fn generics_of_key(model: &Model, key: &UniqueKey) -> Generics {
    let fields: Vec<&Field> = model.fields_of(key).collect();
    generics(model, &fields)
}

/// The model's parameters that the fields name.
///
/// One that is not named is an error of its own.
fn generics(model: &Model, fields: &[&Field]) -> Generics {
    if model.generics.params.is_empty() {
        return Generics::default();
    }
    let mut named = HashSet::new();
    for field in fields {
        names(field.ty.to_token_stream(), &mut named);
    }
    let is_named = |parameter: &GenericParam| match parameter {
        GenericParam::Lifetime(lifetime) => named.contains(&lifetime.lifetime.ident),
        GenericParam::Type(ty) => named.contains(&ty.ident),
        GenericParam::Const(of) => named.contains(&of.ident),
    };
    let params = model.generics.params.iter().filter(|parameter| is_named(parameter)).cloned().collect();
    Generics { params, where_clause: None, ..model.generics.clone() }
}

fn names(tokens: TokenStream, found: &mut HashSet<Ident>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => drop(found.insert(ident)),
            TokenTree::Group(group) => names(group.stream(), found),
            _ => {}
        }
    }
}

/// A type that stands beside the model.
pub(crate) struct Struct<'a> {
    model: &'a Model,
    ident: Ident,
    doc: String,
    derives: &'a [Path],
    with_serde: bool,
    fields: Vec<&'a Field>,
}

impl Struct<'_> {
    /// The type with all its derives.
    pub(crate) fn whole(&self) -> TokenStream {
        self.tokens(self.is_ours("Debug"), self.is_ours("Clone"))
    }

    /// The type without [`debug`](Self::debug) and [`clone`](Self::clone).
    pub(crate) fn without_impls(&self) -> TokenStream {
        self.tokens(false, self.is_ours("Clone") && !self.is_plain())
    }

    /// An impl of `Debug` that makes one call.
    ///
    /// What `#[derive(Debug)]` writes takes the compiler twice as long as one call with all the values. It is inlined as that is: nothing
    /// is compiled of it where no row is shown.
    pub(crate) fn debug(&self) -> Option<TokenStream> {
        if !self.is_ours("Debug") {
            return None;
        }
        let ident = here(&self.ident);
        let mut names = self.ident.unraw().to_string();
        for field in &self.fields {
            names.extend([" ", &field.name()]);
        }
        let values = self.fields.iter().map(|field| {
            let (ident, ty) = (here(&field.ident), &field.ty);
            if is_plain(without_option(ty)) {
                return quote!(&self.#ident);
            }
            // The compiler's error for a type that cannot be shown is then on that type, and not on the call.
            quote_spanned!(here_at(ty.span())=> &(&self.#ident as &dyn __up::fmt::Debug))
        });
        let values: Vec<TokenStream> = values.collect();
        let values = values.chunks(AT_ONCE).map(|values| quote!((#(#values,)*)));
        let values = values.rev().reduce(|rest, values| quote!(__up::Then(#values, #rest)));
        Some(quote! {
            #[automatically_derived]
            impl __up::fmt::Debug for #ident {
                #[inline]
                fn fmt(&self, __f: &mut __up::fmt::Formatter<'_>) -> __up::fmt::Result {
                    __up::show(__f, #names, #values)
                }
            }
        })
    }

    /// An impl of `Clone`, where all fields are plain.
    ///
    /// What `#[derive(Clone)]` writes has a call for each field, also for a number. It is left to the derive where only the compiler can
    /// tell whether a field's type can be cloned at all, and says so of the derive.
    pub(crate) fn clone(&self) -> Option<TokenStream> {
        if !self.is_ours("Clone") || !self.is_plain() {
            return None;
        }
        let ident = here(&self.ident);
        let fields = self.fields.iter().map(|field| copy(field));
        Some(quote! {
            #[automatically_derived]
            impl __up::Clone for #ident {
                #[inline]
                fn clone(&self) -> Self { Self { #(#fields),* } }
            }
        })
    }

    /// Tests if all fields are plain.
    ///
    /// They are of types of Rust's own, or an `Option` of one.
    fn is_plain(&self) -> bool {
        self.fields.iter().all(|field| is_plain(without_option(&field.ty)))
    }

    /// Tests if we write this impl.
    ///
    /// A derive of that name in the list takes the place of ours.
    fn is_ours(&self, name: &str) -> bool {
        !self.derives.iter().any(|path| ends_in(path, name))
    }

    fn tokens(&self, with_debug: bool, with_clone: bool) -> TokenStream {
        let ForwardedAttrs { allows, deprecated, serde, .. } = &self.model.forwarded;
        let (vis, ident, doc, derives) = (&self.model.vis, here(&self.ident), &self.doc, self.derives);
        let serde = if self.with_serde { serde.as_slice() } else { &[] };
        let debug = with_debug.then(|| quote!(::core::fmt::Debug,));
        let clone = with_clone.then(|| quote!(::core::clone::Clone,));
        let is_derived = with_debug || with_clone || !derives.is_empty();
        let derive = is_derived.then(|| quote!(#[derive(#debug #clone #(#derives),*)]));
        let generics = generics(self.model, &self.fields);
        let fields = self.fields.iter().map(|field| self.field(field));
        quote! {
            #[doc = #doc]
            #(#allows)*
            #(#deprecated)*
            #derive
            #(#serde)*
            #vis struct #ident #generics {
                #(#fields)*
            }
        }
    }

    fn field(&self, field: &Field) -> TokenStream {
        let ForwardedAttrs { docs, allows, deprecated, serde } = &field.forwarded;
        let (vis, ident, ty) = (&field.vis, here(&field.ident), &field.ty);
        let serde = if self.with_serde { serde.as_slice() } else { &[] };
        quote! {
            #(#docs)*
            #(#allows)*
            #(#deprecated)*
            #(#serde)*
            #vis #ident: #ty,
        }
    }
}

/// The identifier where it is, but as the derive's own.
///
/// Lints of the user's crate are about what the user wrote.
pub(crate) fn here(ident: &Ident) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(here_at(ident.span()));
    ident
}

fn here_at(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// A field's value for another struct.
///
/// It is a copy, which costs the compiler less than a call, where the type goes by a name that can be copied.
pub(crate) fn copy(field: &Field) -> TokenStream {
    let ident = here(&field.ident);
    let ty = without_option(&field.ty);
    match ty {
        Type::Path(path) if !path.path.is_ident("String") && is_plain(ty) => quote!(#ident: self.#ident),
        _ => quote!(#ident: __up::Clone::clone(&self.#ident)),
    }
}

fn ends_in(path: &Path, name: &str) -> bool {
    path.segments.last().is_some_and(|last| last.ident == name)
}

fn link(model: &Model) -> String {
    format!("[`{}`]", model.ident)
}
