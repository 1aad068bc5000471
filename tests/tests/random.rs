//! Random sequences of calls against a plain map, on SQLite.

// Counts and numbers of the tests are small.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

#[path = "random/mod.rs"]
mod random;

use upsertable_tests::OnSqlite as Subject;
