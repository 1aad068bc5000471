//! The contract on SQLite, and what only SQLite has.

// Counts and numbers of the tests are small.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

#[path = "contract/mod.rs"]
mod contract;
mod sqlite_only;

use upsertable_tests::OnSqlite as Subject;
