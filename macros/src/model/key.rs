//! A key of a model: a `#[unique(..)]` with its fields.

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::{Attribute, ext::IdentExt as _};

use super::field::Field;
use crate::{
    attr::Unique,
    case::pascal,
    errors::{Errors, did_you_mean, list, nearest},
    words::NULLS_NOT_DISTINCT,
};

/// A `#[unique(..)]` of a model.
pub(crate) struct UniqueKey {
    pub(crate) attr: Attribute,
    pub(crate) ident: Ident,
    /// True where `key = ..` gives the name.
    named: bool,
    pub(crate) fields: Vec<KeyField>,
    pub(crate) nulls_not_distinct: bool,
    pub(crate) reported: bool,
}

/// A field as it is named in a `#[unique(..)]`.
pub(crate) struct KeyField {
    pub(crate) written: Ident,
    /// Index of the field among the model's fields.
    pub(crate) index: usize,
    /// True where no field has the written name, and this is the nearest.
    pub(crate) guessed: bool,
}

impl UniqueKey {
    pub(super) fn resolve(
        unique: Unique,
        model: &Ident,
        fields: &[Field],
        is_first: bool,
        errors: &mut Errors,
    ) -> Self {
        let before = errors.len();
        let names: Vec<String> = fields.iter().map(Field::name).collect();
        let mut key = Self {
            attr: unique.attr,
            ident: model.clone(),
            named: unique.name.is_some(),
            fields: Vec::new(),
            nulls_not_distinct: unique.nulls_not_distinct.is_some(),
            reported: unique.reported,
        };
        for written in unique.fields {
            key.field(written, model, &names, errors);
        }
        key.reported |= errors.len() > before;
        let default_name = || {
            let fields = if is_first { &[] } else { key.fields.as_slice() };
            let fields: String = fields.iter().map(|field| pascal(&names[field.index])).collect();
            type_ident(&format!("{}{fields}Key", model.unraw()), model.span())
        };
        key.ident = unique.name.unwrap_or_else(default_name);
        key
    }

    fn field(&mut self, written: Ident, model: &Ident, names: &[String], errors: &mut Errors) {
        let name = written.unraw().to_string();
        let position = |name: &str| names.iter().position(|other| *other == name);
        let exact = position(&name);
        let Some(index) = exact.or_else(|| self.guess(&written, &name, model, names, errors).and_then(position)) else {
            return;
        };
        let guessed = exact.is_none();
        match self.fields.iter().find(|field| field.index == index) {
            None => self.fields.push(KeyField { written, index, guessed }),
            Some(other) if guessed || other.guessed => {}
            Some(_) => errors.at(&written, format!("`{name}` is named twice in this key")),
        }
    }

    /// Reports a name that no field has, and returns the nearest.
    fn guess<'a>(
        &mut self,
        written: &Ident,
        name: &str,
        model: &Ident,
        names: &'a [String],
        errors: &mut Errors,
    ) -> Option<&'a str> {
        let near = nearest(name, names.iter().map(String::as_str).chain([NULLS_NOT_DISTINCT]));
        let known = if names.is_empty() { String::new() } else { format!(" (its fields are {})", list(names, "and")) };
        errors.at(written, format!("`{model}` has no field `{name}`{}{known}", did_you_mean(near)));
        self.nulls_not_distinct |= near == Some(NULLS_NOT_DISTINCT);
        near
    }

    /// The tokens that a mistake in the key's name is reported on.
    ///
    /// They are the name where it is written, else the attribute.
    pub(crate) fn place(&self) -> &dyn ToTokens {
        if self.named { &self.ident } else { &self.attr }
    }
}

/// Makes the name of a type that the derive writes.
///
/// The compiler may still refuse it: some letters change into two when they become capitals.
pub(super) fn type_ident(name: &str, span: Span) -> Ident {
    let mut ident: Ident = syn::parse_str(name).unwrap_or_else(|_| Ident::new("UnnamedKey", span));
    ident.set_span(span);
    ident
}
