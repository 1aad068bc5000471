//! The derive macro of the [`upsertable`](https://docs.rs/upsertable) crate.
//!
//! That crate exports it as `upsertable::Upsertable`.

mod attr;
mod case;
mod errors;
mod expand;
mod model;
mod stubs;
#[cfg(test)]
mod tests;
mod validate;
mod words;

use proc_macro2::TokenStream;
use syn::{DeriveInput, parse_macro_input};

use crate::{errors::Errors, expand::expand, model::Model, stubs::stubs, validate::validate};

/// Makes a struct a model.
///
/// A model is a table that `upsertable` finds, creates and merges rows in.
///
#[cfg_attr(not(doctest), doc = include_str!("example.md"))]
///
/// # What it writes
///
/// | type | when | what |
/// |---|---|---|
/// | `NewRetweet` | some field is `generated` | the columns that a caller supplies, with the names, types, visibility and documentation of the fields; `Debug` and `Clone` |
/// | `RetweetKey` | always | the fields of the first `#[unique(..)]`: the key that rows are created and merged by; `Debug` and `Clone` |
/// | `RetweetTweetKey` and so on | for each further `#[unique(tweet)]` | the fields of that key |
///
/// Where no field is `generated`, the model itself is the new row.
///
/// # On the struct
///
/// | attribute | meaning |
/// |---|---|
/// | `#[unique(a, b)]`, once or more | the fields of a unique index of the table; the first is the key that rows are created and merged by |
/// | `#[unique(a, key = ByA)]` | names the key type |
/// | `#[unique(a, nulls_not_distinct)]` | the index is `NULLS NOT DISTINCT`, so its columns may be `Option` |
/// | `#[upsertable(table = "..")]` | the table; without it the struct's name in snake case, never a plural |
/// | `#[upsertable(schema = "..")]` | the table's schema |
/// | `#[upsertable(new(name = .., derive(..)))]` | names the type of new rows, and what it derives besides `Debug` and `Clone`; with `Serialize` or `Deserialize` among them, the `#[serde(..)]` attributes are carried over |
/// | `#[upsertable(crate = "path")]` | where the `upsertable` crate is, when it was renamed or re-exported |
///
/// # On a field
///
/// | attribute | meaning |
/// |---|---|
/// | `#[upsertable(generated)]` | the database fills the column in: it is not part of the new row |
/// | `#[upsertable(create_only)]` | the column is written when a row is created, and an upsert leaves it alone |
///
/// A key with a `generated` field is one to find by only, so it cannot be the first.
///
/// The attributes of `sqlx::FromRow` count too, so that no column is named twice: `rename` and `rename_all`, `json` and
/// `json(nullable)`, `skip` (the field is not a column) and
/// `default` (for reading only: the column is still written). `flatten` and `try_from` are refused, as they only say
/// how a value is read.
///
/// # Lints
///
/// What the derive writes trips no lint of your crate but two of clippy's restriction group, which go by the struct: `exhaustive_structs`,
/// as a caller names each column of a new row, and `arbitrary_source_item_ordering`, as fields keep their order. An `#[allow(..)]` or
/// `#[expect(..)]` on the struct counts for the types beside it too.
///
/// `clippy::duplicated_attributes` is about your own attributes, so no derive can help: it takes a field that two keys share, as in
/// `#[unique(a, b)]` and `#[unique(a, c)]`, for a duplicate. Name all of these keys but one, `#[unique(a, c, key = ByAAndC)]`, which it
/// passes over, or allow the lint on the struct.
///
/// # Mistakes
///
/// Every mistake is reported in one compile, each where it is. A model cannot be generic: one table and one set of
/// statements belong to one type.
#[proc_macro_derive(Upsertable, attributes(upsertable, unique, sqlx))]
pub fn upsertable(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive(parse_macro_input!(input)).into()
}

/// Writes the code of a model, or its mistakes with stubs.
fn derive(input: DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let model = Model::parse(input, &mut errors);
    validate(&model, &mut errors);
    if errors.is_empty() { expand(&model) } else { stubs(&model, &errors) }
}
