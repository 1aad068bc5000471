//! Structs beside a model: its new row, and each key.

use std::collections::HashSet;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{GenericParam, Generics, Path, Type, ext::IdentExt as _, spanned::Spanned as _};

use super::respan::{respan, respanned};
use crate::{
    attr::ForwardedAttrs,
    errors::list,
    model::{Field, Model, UniqueKey, is_plain, without_option},
};

/// Values that one call takes at most.
///
/// `upsertable` implements its traits for tuples of no more.
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

/// The structs beside a model, that of new rows first.
pub(crate) fn beside(model: &Model) -> impl Iterator<Item = Struct<'_>> {
    new(model).into_iter().chain(model.keys.iter().map(|unique| key(model, unique)))
}

/// The type of new rows, with its parameters.
pub(super) fn new_type(model: &Model) -> TokenStream {
    new(model).map_or_else(|| with_parameters(&model.ident, &model.generics), |new| new.ty())
}

/// The type of a key, with its parameters.
pub(crate) fn key_type(model: &Model, unique: &UniqueKey) -> TokenStream {
    key(model, unique).ty()
}

fn with_parameters(ident: &Ident, generics: &Generics) -> TokenStream {
    let (ident, (_, arguments, _)) = (respan(ident), generics.split_for_impl());
    quote!(#ident #arguments)
}

/// A struct that the derive writes beside the model.
pub(crate) struct Struct<'a> {
    model: &'a Model,
    ident: Ident,
    doc: String,
    derives: &'a [Path],
    with_serde: bool,
    fields: Vec<&'a Field>,
}

impl Struct<'_> {
    /// The struct with all its derives.
    pub(crate) fn whole(&self) -> TokenStream {
        self.tokens(self.is_ours("Debug"), self.is_ours("Clone"))
    }

    /// The struct without [`debug`](Self::debug) and [`clone`](Self::clone).
    pub(crate) fn without_impls(&self) -> TokenStream {
        self.tokens(false, self.is_ours("Clone") && !self.is_plain())
    }

    /// An impl of `Debug` that makes one call.
    ///
    /// What `#[derive(Debug)]` writes takes the compiler twice as long as one call with all the values. Both are inlined: nothing is
    /// compiled of them where no row is shown.
    pub(crate) fn debug(&self) -> Option<TokenStream> {
        if !self.is_ours("Debug") {
            return None;
        }
        let ident = respan(&self.ident);
        let mut names = self.ident.unraw().to_string();
        for field in &self.fields {
            names.extend([" ", &field.name()]);
        }
        let values = self.fields.iter().map(|field| {
            let (ident, ty) = (respan(&field.ident), &field.ty);
            if is_plain(without_option(ty)) {
                return quote!(&self.#ident);
            }
            // The compiler's error for a type that cannot be shown is then on that type, and not on the call.
            quote_spanned!(respanned(ty.span())=> &(&self.#ident as &dyn __up::fmt::Debug))
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
        let ident = respan(&self.ident);
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

    /// Tests if the derive writes the impl of this trait itself.
    ///
    /// A derive of that name in `new(derive(..))` takes its place.
    fn is_ours(&self, name: &str) -> bool {
        !self.derives.iter().any(|path| ends_in(path, name))
    }

    fn ty(&self) -> TokenStream {
        with_parameters(&self.ident, &self.generics())
    }

    /// The model's parameters that the fields name.
    ///
    /// Only a model that is refused has any. An unused parameter would be an error of its own.
    fn generics(&self) -> Generics {
        let generics = &self.model.generics;
        if generics.params.is_empty() {
            return Generics::default();
        }
        let mut named = HashSet::new();
        for field in &self.fields {
            names(field.ty.to_token_stream(), &mut named);
        }
        let is_named = |parameter: &&GenericParam| match parameter {
            GenericParam::Lifetime(lifetime) => named.contains(&lifetime.lifetime.ident),
            GenericParam::Type(ty) => named.contains(&ty.ident),
            GenericParam::Const(of) => named.contains(&of.ident),
        };
        let params = generics.params.iter().filter(is_named).cloned().collect();
        Generics { params, where_clause: None, ..generics.clone() }
    }

    fn tokens(&self, with_debug: bool, with_clone: bool) -> TokenStream {
        let ForwardedAttrs { allows, deprecated, serde, .. } = &self.model.forwarded;
        let (vis, ident, doc, derives) = (&self.model.vis, respan(&self.ident), &self.doc, self.derives);
        let serde = if self.with_serde { serde.as_slice() } else { &[] };
        let debug = with_debug.then(|| quote!(::core::fmt::Debug,));
        let clone = with_clone.then(|| quote!(::core::clone::Clone,));
        let is_derived = with_debug || with_clone || !derives.is_empty();
        let derive = is_derived.then(|| quote!(#[derive(#debug #clone #(#derives),*)]));
        let generics = self.generics();
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
        let (vis, ident, ty) = (&field.vis, respan(&field.ident), &field.ty);
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

/// Collects the identifiers among the tokens.
fn names(tokens: TokenStream, found: &mut HashSet<Ident>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => drop(found.insert(ident)),
            TokenTree::Group(group) => names(group.stream(), found),
            _ => {}
        }
    }
}

/// A field's value for another struct.
///
/// A value of one of Rust's own types is copied, which costs the compiler less than a call.
pub(crate) fn copy(field: &Field) -> TokenStream {
    let ident = respan(&field.ident);
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
