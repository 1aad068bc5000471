//! `#[unique(..)]` on the struct.

use proc_macro2::Ident;
use syn::Attribute;

use super::entry::{Entry, Value, entries, once};
use crate::{
    errors::{Errors, did_you_mean, nearest},
    words::{KEY, NULLS_NOT_DISTINCT},
};

/// One `#[unique(..)]` as it is written.
pub(crate) struct Unique {
    pub(crate) attr: Attribute,
    pub(crate) fields: Vec<Ident>,
    pub(crate) name: Option<Ident>,
    pub(crate) nulls_not_distinct: Option<Ident>,
    /// True where something in it was reported.
    pub(crate) reported: bool,
}

impl Unique {
    pub(super) fn parse(attr: &Attribute, errors: &mut Errors) -> Self {
        let before = errors.len();
        let mut unique =
            Self { attr: attr.clone(), fields: Vec::new(), name: None, nulls_not_distinct: None, reported: false };
        let form = "a list of fields, as in `#[unique(a, b)]`";
        for entry in entries(attr, form, "a field's name, without quotes", errors) {
            unique.entry(entry, errors);
        }
        unique.reported = errors.len() > before;
        unique
    }

    fn entry(&mut self, entry: Entry, errors: &mut Errors) {
        let word = entry.word.to_string();
        match (word.as_str(), &entry.value) {
            (NULLS_NOT_DISTINCT, _) => once(&mut self.nulls_not_distinct, Some(entry.flag(errors)), &entry, errors),
            (_, Value::Nothing) => self.fields.push(entry.word),
            (KEY, _) => once(&mut self.name, entry.type_name("TheKey", errors), &entry, errors),
            (_, Value::Is(_)) => {
                let near = nearest(&word, [KEY]);
                let message = format!("unknown word `{word}` in `#[unique(..)]`{}", did_you_mean(near));
                errors.at(&entry.word, message + " (expected fields, `key = TheKey` or `nulls_not_distinct`)");
                if near.is_some() {
                    once(&mut self.name, entry.type_name("", &mut Errors::default()), &entry, errors);
                }
            }
            (_, Value::List(_)) => errors.at(&entry.tokens, "expected a field's name"),
        }
    }
}
