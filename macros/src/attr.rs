//! The words and values of attributes.
//!
//! Each comes with its tokens. The rules about one attribute are here too.

use proc_macro2::{Ident, TokenStream};
use syn::{Attribute, LitStr, Path};

use crate::{
    case::RenameAll,
    entry::{Entry, Value, entries, once, split},
    errors::{Errors, did_you_mean, list, nearest},
};

const UNIQUE: &str = "unique";
const TABLE: &str = "table";
const SCHEMA: &str = "schema";
const CRATE: &str = "crate";
const NEW: &str = "new";
const NAME: &str = "name";
const DERIVE: &str = "derive";
const GENERATED: &str = "generated";
const CREATE_ONLY: &str = "create_only";
const KEY: &str = "key";
pub(crate) const NULLS_NOT_DISTINCT: &str = "nulls_not_distinct";
const RENAME: &str = "rename";
const RENAME_ALL: &str = "rename_all";
const SKIP: &str = "skip";
const JSON: &str = "json";
const NULLABLE: &str = "nullable";
const DEFAULT: &str = "default";
const FLATTEN: &str = "flatten";
const TRY_FROM: &str = "try_from";

const SQLX_ON_FIELD: &[&str] = &[RENAME, SKIP, JSON, DEFAULT, FLATTEN, TRY_FROM];
/// Words of sqlx that users try in our attribute.
///
/// They do not know that sqlx's own counts.
const SQLX: &[&str] = &[RENAME, RENAME_ALL, SKIP, JSON, DEFAULT, FLATTEN, TRY_FROM];

const ON_STRUCT: Words = Words {
    attribute: "`#[upsertable(..)]` on a struct",
    known: &[TABLE, SCHEMA, CRATE, NEW],
    elsewhere: &[GENERATED, CREATE_ONLY],
    place: "on a field, not on the struct",
};
const ON_FIELD: Words = Words {
    attribute: "`#[upsertable(..)]` on a field",
    known: &[GENERATED, CREATE_ONLY],
    elsewhere: &[TABLE, SCHEMA, CRATE, NEW],
    place: "on the struct, not on a field",
};
const IN_NEW: Words = Words { attribute: "`new(..)`", known: &[NAME, DERIVE], elsewhere: &[], place: "" };

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

/// `new(name = .., derive(..))`
#[derive(Default)]
pub(crate) struct New {
    pub(crate) tokens: TokenStream,
    pub(crate) name: Option<Ident>,
    pub(crate) derives: Vec<Path>,
}

/// `#[unique(..)]`
pub(crate) struct Unique {
    pub(crate) attr: Attribute,
    pub(crate) fields: Vec<Ident>,
    pub(crate) name: Option<Ident>,
    pub(crate) nulls_not_distinct: Option<Ident>,
    /// True where something in it was reported.
    pub(crate) reported: bool,
}

/// The form of `None` in a column of JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Json {
    /// The JSON value `null`.
    Null,
    /// The NULL of SQL.
    SqlNull,
}

impl Json {
    fn read(value: &Value) -> Self {
        match value {
            Value::List(inner) if inner.to_string() == NULLABLE => Self::SqlNull,
            _ => Self::Null,
        }
    }
}

impl ContainerAttrs {
    pub(crate) fn read(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut read = Self::default();
        for attr in attrs {
            if attr.path().is_ident("upsertable") {
                read.upsertable(attr, errors);
            } else if attr.path().is_ident(UNIQUE) {
                read.uniques.push(Unique::read(attr, errors));
            } else if attr.path().is_ident("sqlx") {
                read.sqlx(attr);
            }
        }
        read
    }

    fn upsertable(&mut self, attr: &Attribute, errors: &mut Errors) {
        let quiet = &mut Errors::default();
        for entry in entries(attr, "`#[upsertable(table = \"..\")]`", &list(ON_STRUCT.known, "or"), errors) {
            let Some((word, errors)) = ON_STRUCT.find(&entry, errors, quiet) else { continue };
            match word {
                TABLE => once(&mut self.table, entry.identifier(errors), &entry, errors),
                SCHEMA => once(&mut self.schema, entry.identifier(errors), &entry, errors),
                CRATE => {
                    let path = entry.path(errors);
                    self.krate_unknown |= path.is_none();
                    once(&mut self.krate, path, &entry, errors);
                }
                _ => once(&mut self.new, New::read(&entry, errors), &entry, errors),
            }
        }
    }

    /// Reads the words of sqlx that change columns.
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

impl FieldAttrs {
    pub(crate) fn read(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut read = Self::default();
        for attr in attrs {
            if attr.path().is_ident("upsertable") {
                read.upsertable(attr, errors);
            } else if attr.path().is_ident(UNIQUE) {
                errors.at(attr, "`#[unique(..)]` goes on the struct, with the names of the fields: `#[unique(a, b)]`");
                read.unique = Some(attr.clone());
            } else if attr.path().is_ident("sqlx") {
                read.sqlx(attr, errors);
            }
        }
        read
    }

    fn upsertable(&mut self, attr: &Attribute, errors: &mut Errors) {
        let quiet = &mut Errors::default();
        for entry in entries(
            attr,
            "`#[upsertable(generated)]` or `#[upsertable(create_only)]`",
            &list(ON_FIELD.known, "or"),
            errors,
        ) {
            let Some((word, errors)) = ON_FIELD.find(&entry, errors, quiet) else { continue };
            let slot = if word == GENERATED { &mut self.generated } else { &mut self.create_only };
            once(slot, Some(entry.flag(errors)), &entry, errors);
        }
    }

    /// Reads the words of sqlx, and reports unknown ones.
    ///
    /// sqlx reports most mistakes in its attribute itself, but passes over an unknown word in silence.
    fn sqlx(&mut self, attr: &Attribute, errors: &mut Errors) {
        for entry in entries(attr, "", "", &mut Errors::default()) {
            let word = entry.word.to_string();
            match word.as_str() {
                RENAME => self.rename = entry.string(),
                SKIP => self.skip = Some(entry.word),
                JSON => self.json = Some(Json::read(&entry.value)),
                FLATTEN => self.flatten = Some(entry.tokens),
                TRY_FROM => self.try_from = Some(entry.tokens),
                DEFAULT => {}
                _ => {
                    let near = nearest(&word, SQLX_ON_FIELD.iter().copied());
                    if near.is_some() && matches!(entry.value, Value::Nothing) {
                        errors.at(&entry.word, format!("sqlx does not know `{word}`{}", did_you_mean(near)));
                    }
                }
            }
        }
    }
}

impl New {
    fn read(entry: &Entry, errors: &mut Errors) -> Option<Self> {
        let Value::List(inner) = &entry.value else {
            errors.at(&entry.tokens, "expected `new(name = .., derive(..))`");
            return None;
        };
        let mut new = Self { tokens: entry.tokens.clone(), ..Self::default() };
        let mut derives = None;
        let quiet = &mut Errors::default();
        for entry in split(inner.clone(), "`name = ..` or `derive(..)`", errors) {
            let Some((word, errors)) = IN_NEW.find(&entry, errors, quiet) else { continue };
            if word == NAME {
                once(&mut new.name, entry.type_name("NewModel", errors), &entry, errors);
            } else {
                once(&mut derives, entry.paths(errors), &entry, errors);
            }
        }
        new.derives = derives.unwrap_or_default();
        Some(new)
    }
}

impl Unique {
    fn read(attr: &Attribute, errors: &mut Errors) -> Self {
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

/// The words that one attribute knows.
struct Words {
    attribute: &'static str,
    known: &'static [&'static str],
    elsewhere: &'static [&'static str],
    place: &'static str,
}

impl Words {
    /// Finds the word of an entry.
    ///
    /// Tells also where mistakes in its value go. An unknown word is reported and taken for the nearest one, so that it is the only mistake
    /// reported for it: what is wrong with the value goes to `quiet`.
    fn find<'e>(
        &self,
        entry: &Entry,
        errors: &'e mut Errors,
        quiet: &'e mut Errors,
    ) -> Option<(&'static str, &'e mut Errors)> {
        let word = entry.word.to_string();
        if let Some(known) = self.known.iter().find(|known| **known == word) {
            return Some((known, errors));
        }
        if self.elsewhere.contains(&word.as_str()) {
            errors.at(&entry.word, format!("`{word}` goes {}", self.place));
            return None;
        }
        if SQLX.contains(&word.as_str()) {
            let written = entry.tokens.to_string();
            // sqlx's own derive panics at a value where it takes none.
            let takes_it = ["rename", "rename_all", "try_from"].contains(&word.as_str()) || written.ends_with(')');
            let help = if takes_it { &written } else { &word };
            errors.at(&entry.word, format!("`{word}` is sqlx's: write `#[sqlx({help})]`, which counts here too"));
            return None;
        }
        if word == UNIQUE {
            errors.at(&entry.word, "`unique` is an attribute of its own, on the struct: `#[unique(a, b)]`");
            return None;
        }
        let near = nearest(&word, self.known.iter().copied());
        errors.at(
            &entry.word,
            format!(
                "unknown word `{word}` in {}{} (expected {})",
                self.attribute,
                did_you_mean(near),
                list(self.known, "or")
            ),
        );
        self.known.iter().find(|known| Some(**known) == near).map(|known| (*known, quiet))
    }
}
