//! A field of a model, and the column that it is.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Type, Visibility, ext::IdentExt as _};

use super::rust_type::{is_option, is_plain};
use crate::{
    attr::{FieldAttrs, ForwardedAttrs, Json, Unique},
    case::RenameAll,
    errors::Errors,
};

/// A field of a model: a column unless it is skipped.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) vis: Visibility,
    pub(crate) ty: Type,
    pub(crate) column: String,
    pub(crate) attrs: FieldAttrs,
    pub(crate) forwarded: ForwardedAttrs,
}

/// Nullability of a column, as far as its tokens show it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Nullable {
    No,
    Yes,
    /// The type may be an `Option` behind an alias.
    ///
    /// Only the compiler can tell, and to ask it costs a build more than any other word about a column.
    Unknown,
}

impl Field {
    pub(super) fn parse(
        field: syn::Field,
        model: &Ident,
        rename_all: Option<RenameAll>,
        errors: &mut Errors,
    ) -> Option<Self> {
        let ident = field.ident?;
        let attrs = FieldAttrs::parse(&field.attrs, errors);
        let name = ident.unraw().to_string();
        let column = match (&attrs.rename, rename_all) {
            (Some(rename), _) => rename.value(),
            (None, Some(rule)) => rule.apply(&name),
            (None, None) => name,
        };
        let ty = without_self(field.ty, model);
        Some(Self { ident, vis: field.vis, ty, column, attrs, forwarded: ForwardedAttrs::parse(&field.attrs, model) })
    }

    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }

    pub(crate) fn is_column(&self) -> bool {
        self.attrs.skip.is_none()
    }

    pub(crate) fn is_generated(&self) -> bool {
        self.attrs.generated.is_some()
    }

    pub(crate) fn nullable(&self) -> Nullable {
        match self.attrs.json {
            Some(Json::SqlNull) => Nullable::Yes,
            Some(Json::Null) => Nullable::No,
            None if is_option(&self.ty) => Nullable::Yes,
            None if is_plain(&self.ty) => Nullable::No,
            None => Nullable::Unknown,
        }
    }

    /// The key that a `#[unique]` on this field was meant to be.
    ///
    /// The model then has a key, and the wrong place of the attribute is the only mistake reported.
    pub(super) fn misplaced_unique(&self) -> Option<Unique> {
        let attr = self.attrs.unique.clone()?;
        Some(Unique { attr, fields: vec![self.ident.clone()], name: None, nulls_not_distinct: None, reported: true })
    }
}

/// Replaces `Self` by the model's name.
///
/// In the structs beside the model, `Self` would mean those structs.
fn without_self(ty: Type, model: &Ident) -> Type {
    let tokens = ty.to_token_stream();
    if names_self(tokens.clone()) { syn::parse2(replace_self(tokens, model)).unwrap_or(ty) } else { ty }
}

fn names_self(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "Self",
        TokenTree::Group(group) => names_self(group.stream()),
        _ => false,
    })
}

fn replace_self(tokens: TokenStream, model: &Ident) -> TokenStream {
    let replace = |token| match token {
        TokenTree::Ident(ident) if ident == "Self" => {
            let mut model = model.clone();
            model.set_span(ident.span());
            model.into()
        }
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), replace_self(group.stream(), model));
            inner.set_span(group.span());
            inner.into()
        }
        token => token,
    };
    tokens.into_iter().map(replace).collect()
}
