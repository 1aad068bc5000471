//! `#[upsertable(..)]` and `#[sqlx(..)]` on a field.

use proc_macro2::{Ident, TokenStream};
use syn::{Attribute, LitStr};

use super::{
    entry::{Entry, Value, entries, once},
    known::{ON_FIELD, SQLX_ON_FIELD},
};
use crate::{
    errors::{Errors, did_you_mean, nearest},
    words::{DEFAULT, FLATTEN, GENERATED, JSON, NULLABLE, RENAME, SKIP, SQLX, TRY_FROM, UNIQUE, UPSERTABLE},
};

/// The attributes of a field.
///
/// A word is kept where it stands, for the mistakes found later.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    pub(crate) generated: Option<Ident>,
    pub(crate) create_only: Option<Ident>,
    pub(crate) unique: Option<Attribute>,
    pub(crate) rename: Option<LitStr>,
    pub(crate) skip: Option<Ident>,
    pub(crate) json: Option<Json>,
    pub(crate) flatten: Option<TokenStream>,
    pub(crate) try_from: Option<TokenStream>,
}

/// The form of `None` in a column of JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Json {
    /// The JSON value `null`.
    Null,
    /// The NULL of SQL.
    SqlNull,
}

impl FieldAttrs {
    pub(crate) fn parse(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut parsed = Self::default();
        for attr in attrs {
            if attr.path().is_ident(UPSERTABLE) {
                parsed.upsertable(attr, errors);
            } else if attr.path().is_ident(UNIQUE) {
                errors.at(attr, "`#[unique(..)]` goes on the struct, with the names of the fields: `#[unique(a, b)]`");
                parsed.unique = Some(attr.clone());
            } else if attr.path().is_ident(SQLX) {
                parsed.sqlx(attr, errors);
            }
        }
        parsed
    }

    fn upsertable(&mut self, attr: &Attribute, errors: &mut Errors) {
        let form = "`#[upsertable(generated)]` or `#[upsertable(create_only)]`";
        let entries = entries(attr, form, &ON_FIELD.list(), errors);
        ON_FIELD.read_each(entries, errors, |word, entry, errors| {
            let slot = if word == GENERATED { &mut self.generated } else { &mut self.create_only };
            once(slot, Some(entry.flag(errors)), entry, errors);
        });
    }

    /// Reads the words of sqlx, and reports unknown ones.
    ///
    /// sqlx reports most mistakes in its attribute itself, but passes over an unknown word in silence.
    fn sqlx(&mut self, attr: &Attribute, errors: &mut Errors) {
        for entry in entries(attr, "", "", &mut Errors::default()) {
            match entry.word.to_string().as_str() {
                RENAME => self.rename = entry.string(),
                SKIP => self.skip = Some(entry.word),
                JSON => self.json = Some(Json::parse(&entry.value)),
                FLATTEN => self.flatten = Some(entry.tokens),
                TRY_FROM => self.try_from = Some(entry.tokens),
                DEFAULT => {}
                word => unknown_to_sqlx(word, &entry, errors),
            }
        }
    }
}

fn unknown_to_sqlx(word: &str, entry: &Entry, errors: &mut Errors) {
    let near = nearest(word, SQLX_ON_FIELD.iter().copied());
    if near.is_some() && matches!(entry.value, Value::Nothing) {
        errors.at(&entry.word, format!("sqlx does not know `{word}`{}", did_you_mean(near)));
    }
}

impl Json {
    fn parse(value: &Value) -> Self {
        match value {
            Value::List(inner) if inner.to_string() == NULLABLE => Self::SqlNull,
            _ => Self::Null,
        }
    }
}
