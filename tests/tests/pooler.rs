//! The contract on PostgreSQL behind `PgBouncer` in transaction mode.
//!
//! `DATABASE_URL_POOLER` names it.

// Counts and numbers of the tests are small.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

#[path = "contract/mod.rs"]
mod contract;
mod pooler_edges;

use upsertable_tests::OnPooler as Subject;
