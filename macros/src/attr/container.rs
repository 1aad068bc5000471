//! `#[upsertable(..)]` and `#[sqlx(..)]` on the struct.

use proc_macro2::{Ident, TokenStream};
use syn::{Attribute, LitStr, Path};

use super::{
    entry::{Entry, Value, entries, once, split},
    known::{IN_NEW, ON_STRUCT},
    unique::Unique,
};
use crate::{
    case::RenameAll,
    errors::Errors,
    words::{CRATE, NAME, RENAME_ALL, SCHEMA, SQLX, TABLE, UNIQUE, UPSERTABLE},
};

/// The attributes of the struct.
#[derive(Default)]
pub(crate) struct ContainerAttrs {
    pub(crate) table: Option<LitStr>,
    pub(crate) schema: Option<LitStr>,
    pub(crate) krate: Option<Path>,
    /// True where `crate = ..` is there and could not be read.
    pub(crate) krate_unknown: bool,
    pub(crate) new: Option<New>,
    pub(crate) uniques: Vec<Unique>,
    pub(crate) rename_all: Option<RenameAll>,
}

/// `new(name = .., derive(..))`
#[derive(Default)]
pub(crate) struct New {
    pub(crate) tokens: TokenStream,
    pub(crate) name: Option<Ident>,
    pub(crate) derives: Vec<Path>,
}

impl ContainerAttrs {
    pub(crate) fn parse(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut parsed = Self::default();
        for attr in attrs {
            if attr.path().is_ident(UPSERTABLE) {
                parsed.upsertable(attr, errors);
            } else if attr.path().is_ident(UNIQUE) {
                parsed.uniques.push(Unique::parse(attr, errors));
            } else if attr.path().is_ident(SQLX) {
                parsed.sqlx(attr);
            }
        }
        parsed
    }

    fn upsertable(&mut self, attr: &Attribute, errors: &mut Errors) {
        let entries = entries(attr, "`#[upsertable(table = \"..\")]`", &ON_STRUCT.list(), errors);
        ON_STRUCT.read_each(entries, errors, |word, entry, errors| match word {
            TABLE => once(&mut self.table, entry.identifier(errors), entry, errors),
            SCHEMA => once(&mut self.schema, entry.identifier(errors), entry, errors),
            CRATE => {
                let path = entry.path(errors);
                self.krate_unknown |= path.is_none();
                once(&mut self.krate, path, entry, errors);
            }
            _ => once(&mut self.new, New::parse(entry, errors), entry, errors),
        });
    }

    /// Reads the word of sqlx that renames all columns.
    ///
    /// sqlx reports the mistakes in its attribute itself.
    fn sqlx(&mut self, attr: &Attribute) {
        for entry in entries(attr, "", "", &mut Errors::default()) {
            if entry.word == RENAME_ALL {
                self.rename_all = entry.string().and_then(|name| RenameAll::named(&name.value()));
            }
        }
    }
}

impl New {
    fn parse(entry: &Entry, errors: &mut Errors) -> Option<Self> {
        let Value::List(inner) = &entry.value else {
            errors.at(&entry.tokens, "expected `new(name = .., derive(..))`");
            return None;
        };
        let mut new = Self { tokens: entry.tokens.clone(), ..Self::default() };
        let mut derives = None;
        let entries = split(inner.clone(), "`name = ..` or `derive(..)`", errors);
        IN_NEW.read_each(entries, errors, |word, entry, errors| match word {
            NAME => once(&mut new.name, entry.type_name("NewModel", errors), entry, errors),
            _ => once(&mut derives, entry.paths(errors), entry, errors),
        });
        new.derives = derives.unwrap_or_default();
        Some(new)
    }
}
