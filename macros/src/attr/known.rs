//! The words that an attribute knows, and help with those that it does not.

use super::entry::Entry;
use crate::{
    errors::{Errors, did_you_mean, list, nearest},
    words::{
        CRATE, CREATE_ONLY, DEFAULT, DERIVE, FLATTEN, GENERATED, JSON, NAME, NEW, RENAME, RENAME_ALL, SCHEMA, SKIP,
        TABLE, TRY_FROM, UNIQUE,
    },
};

/// The words that one attribute knows.
pub(super) struct Known {
    attribute: &'static str,
    words: &'static [&'static str],
    /// Words that belong to another place.
    elsewhere: &'static [&'static str],
    place: &'static str,
}

pub(super) const ON_STRUCT: Known = Known {
    attribute: "`#[upsertable(..)]` on a struct",
    words: &[TABLE, SCHEMA, CRATE, NEW],
    elsewhere: &[GENERATED, CREATE_ONLY],
    place: "on a field, not on the struct",
};

pub(super) const ON_FIELD: Known = Known {
    attribute: "`#[upsertable(..)]` on a field",
    words: ON_STRUCT.elsewhere,
    elsewhere: ON_STRUCT.words,
    place: "on the struct, not on a field",
};

pub(super) const IN_NEW: Known = Known { attribute: "`new(..)`", words: &[NAME, DERIVE], elsewhere: &[], place: "" };

/// Words of `#[sqlx(..)]` on a field.
pub(super) const SQLX_ON_FIELD: &[&str] = &[RENAME, SKIP, JSON, DEFAULT, FLATTEN, TRY_FROM];

impl Known {
    /// Lists the words for a message.
    pub(super) fn list(&self) -> String {
        list(self.words, "or")
    }

    /// Calls `read` with each entry whose word is known.
    ///
    /// An unknown word is reported and read as the nearest one. It is then the only mistake of its entry: those in its value go unreported.
    pub(super) fn read_each(
        &self,
        entries: Vec<Entry>,
        errors: &mut Errors,
        mut read: impl FnMut(&'static str, &Entry, &mut Errors),
    ) {
        for entry in entries {
            let word = entry.word.to_string();
            if let Some(known) = self.words.iter().find(|known| **known == word) {
                read(known, &entry, errors);
            } else if let Some(message) = self.misplaced(&word, &entry) {
                errors.at(&entry.word, message);
            } else {
                let near = nearest(&word, self.words.iter().copied());
                let (attribute, meant, known) = (self.attribute, did_you_mean(near), self.list());
                errors.at(&entry.word, format!("unknown word `{word}` in {attribute}{meant} (expected {known})"));
                if let Some(near) = near {
                    read(near, &entry, &mut Errors::default());
                }
            }
        }
    }

    /// The message for a word that belongs to another place or attribute.
    fn misplaced(&self, word: &str, entry: &Entry) -> Option<String> {
        if self.elsewhere.contains(&word) {
            return Some(format!("`{word}` goes {}", self.place));
        }
        if word == UNIQUE {
            return Some("`unique` is an attribute of its own, on the struct: `#[unique(a, b)]`".to_owned());
        }
        if word != RENAME_ALL && !SQLX_ON_FIELD.contains(&word) {
            return None;
        }
        let written = entry.tokens.to_string();
        // sqlx's own derive panics at a value where it takes none.
        let takes_value = [RENAME, RENAME_ALL, TRY_FROM].contains(&word) || written.ends_with(')');
        let help = if takes_value { &written } else { word };
        Some(format!("`{word}` is sqlx's: write `#[sqlx({help})]`, which counts here too"))
    }
}
