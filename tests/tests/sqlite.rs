//! The contract on SQLite.

// Counts and numbers of the tests are small.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

#[path = "contract/mod.rs"]
mod contract;
#[path = "random/mod.rs"]
mod random;

use upsertable_tests::OnSqlite as Subject;
