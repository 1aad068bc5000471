//! The types that the derive writes beside a model: that of new rows and those of keys.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{GenericParam, Generics, Path};

use crate::{
    ast::{Field, Model, UniqueKey},
    carried::Carried,
    errors::list,
};

/// The type of new rows, where it is not the model itself.
pub(crate) fn new(model: &Model) -> TokenStream {
    if !model.has_new() {
        return TokenStream::new();
    }
    let doc = format!(" The columns of a new {} that the caller supplies.", link(model));
    let derives = model.new.as_ref().map_or(&[][..], |new| &new.derives);
    let with_serde = derives.iter().any(|path| ends_in(path, "Serialize") || ends_in(path, "Deserialize"));
    let fields = model.supplied().map(|(_, field)| field).collect();
    Struct { model, ident: &model.new_ident(), doc, derives, with_serde, fields }.to_token_stream()
}

/// The type of a key.
pub(crate) fn key(model: &Model, key: &UniqueKey) -> TokenStream {
    let fields: Vec<&Field> = model.fields_of(key).collect();
    let names: Vec<String> = fields.iter().map(|field| field.name()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let article = if model.keys.first().is_some_and(|first| std::ptr::eq(first, key)) { " The" } else { " A" };
    let doc = format!("{article} key of a {}: no two rows share {}.", link(model), list(&names, "and"));
    Struct { model, ident: &key.ident, doc, derives: &[], with_serde: false, fields }.to_token_stream()
}

/// The parameters of the type of new rows. Only a model that is refused has any.
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

/// The model's parameters that the fields name: one that is not named is an error of its own.
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

struct Struct<'a> {
    model: &'a Model,
    ident: &'a Ident,
    doc: String,
    derives: &'a [Path],
    with_serde: bool,
    fields: Vec<&'a Field>,
}

impl ToTokens for Struct<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Carried { allows, deprecated, serde, .. } = &self.model.carried;
        let (vis, ident, doc, derives) = (&self.model.vis, here(self.ident), &self.doc, self.derives);
        let serde = if self.with_serde { serde.as_slice() } else { &[] };
        // A derive of that name in the list takes the place of ours.
        let ours = [("Debug", quote!(::core::fmt::Debug)), ("Clone", quote!(::core::clone::Clone))]
            .into_iter()
            .filter(|(name, _)| !derives.iter().any(|path| ends_in(path, name)))
            .map(|(_, path)| path);
        let generics = generics(self.model, &self.fields);
        let fields = self.fields.iter().map(|field| self.field(field));
        tokens.extend(quote! {
            #[doc = #doc]
            #(#allows)*
            #(#deprecated)*
            #[derive(#(#ours,)* #(#derives),*)]
            #(#serde)*
            #vis struct #ident #generics {
                #(#fields)*
            }
        });
    }
}

impl Struct<'_> {
    fn field(&self, field: &Field) -> TokenStream {
        let Carried { docs, allows, deprecated, serde } = &field.carried;
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

/// The identifier where it is, but as the derive's own: lints of the user's crate are about what the user wrote.
pub(crate) fn here(ident: &Ident) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(Span::call_site().located_at(ident.span()));
    ident
}

fn ends_in(path: &Path, name: &str) -> bool {
    path.segments.last().is_some_and(|last| last.ident == name)
}

fn link(model: &Model) -> String {
    format!("[`{}`]", model.ident)
}
