//! The models, each defined once for every database.

// A model's columns say what they are by their names.
#![allow(missing_docs)]

use upsertable::Upsertable;

use crate::tools::LiveRows;

/// A retweet, whose key is two columns.
///
/// The database fills in the id.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "retweets")]
#[unique(tweet, retweeter)]
pub struct Retweet {
    #[upsertable(generated)]
    pub id: i64,
    pub tweet: i64,
    pub retweeter: i64,
    pub original_author: i64,
}

/// A retweet whose other column follows from its key.
#[must_use]
pub fn retweet(tweet: i64, retweeter: i64) -> NewRetweet {
    NewRetweet { tweet, retweeter, original_author: tweet * 1_000 + retweeter }
}

/// An account, with two unique indexes.
///
/// A third one, on the id, is to find by only.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "accounts")]
#[unique(email)]
#[unique(handle)]
#[unique(id)]
pub struct Account {
    #[upsertable(generated)]
    pub id: i64,
    pub email: String,
    pub handle: String,
    pub age: i64,
}

/// An account of age 30.
#[must_use]
pub fn account(email: &str, handle: &str) -> NewAccount {
    NewAccount { email: email.into(), handle: handle.into(), age: 30 }
}

/// The key of an account by its email.
#[must_use]
pub fn by_email(email: &str) -> AccountKey {
    AccountKey { email: email.into() }
}

/// A note, whose table refuses much: see the schema.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "notes")]
#[unique(slug)]
pub struct Note {
    #[upsertable(generated)]
    pub id: i64,
    pub slug: String,
    pub title: String,
    /// Text that is NOT NULL in the table.
    ///
    /// So a missing value is the database's to refuse.
    pub body: Option<String>,
    pub stars: i64,
    pub account: Option<i64>,
}

/// A note that nothing is wrong with.
#[must_use]
pub fn note(slug: &str) -> NewNote {
    NewNote { slug: slug.into(), title: "title".into(), body: Some("body".into()), stars: 5, account: None }
}

/// A pledge whose account is checked at COMMIT.
///
/// Only where the database can wait so long.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "pledges")]
#[unique(code)]
pub struct Pledge {
    pub code: String,
    pub account: i64,
}

/// A tag whose text key is compared without case.
///
/// It has nothing generated.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "tags")]
#[unique(code)]
pub struct Tag {
    pub code: String,
    pub label: String,
}

/// A tag.
#[must_use]
pub fn tag(code: &str, label: &str) -> Tag {
    Tag { code: code.into(), label: label.into() }
}

/// A setting, in whose key NULL matches NULL.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "settings")]
#[unique(scope, name, nulls_not_distinct)]
pub struct Setting {
    #[upsertable(generated)]
    pub id: i64,
    pub scope: Option<i64>,
    pub name: String,
    pub value: String,
}

/// A word: the one column is the key.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "words")]
#[unique(word)]
pub struct Word {
    pub word: String,
}

/// A row whose table has no unique index.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "loose")]
#[unique(a, b)]
pub struct Loose {
    #[upsertable(generated)]
    pub id: i64,
    pub a: i64,
    pub b: i64,
    pub label: String,
}

/// A row of the table without a unique index.
#[must_use]
pub fn loose(a: i64, b: i64) -> NewLoose {
    NewLoose { a, b, label: "x".into() }
}

/// A row that counts how many of its kind are alive.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "counted")]
#[unique(k)]
pub struct Counted {
    pub k: LiveRows,
}

macro_rules! wide {
    ($($column:ident)+) => {
        /// A row of sixty columns.
        #[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
        #[upsertable(table = "wide")]
        #[unique(c00)]
        pub struct Wide {
            $(pub $column: i64,)+
        }

        /// A row whose columns are the key and what follows it.
        #[must_use]
        pub fn wide(key: i64) -> Wide {
            let mut value = key * 100;
            Wide { $($column: { value += 1; value - 1 },)+ }
        }

        /// The table of sixty columns.
        pub(crate) fn wide_schema() -> String {
            let columns = [$(stringify!($column)),+];
            let columns: Vec<String> = columns.iter().map(|column| format!("{column} BIGINT NOT NULL")).collect();
            format!("CREATE TABLE wide ({}, UNIQUE (c00))", columns.join(", "))
        }
    };
}

wide! {
    c00 c01 c02 c03 c04 c05 c06 c07 c08 c09 c10 c11 c12 c13 c14 c15 c16 c17 c18 c19
    c20 c21 c22 c23 c24 c25 c26 c27 c28 c29 c30 c31 c32 c33 c34 c35 c36 c37 c38 c39
    c40 c41 c42 c43 c44 c45 c46 c47 c48 c49 c50 c51 c52 c53 c54 c55 c56 c57 c58 c59
}
