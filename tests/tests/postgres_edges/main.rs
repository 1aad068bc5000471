//! Tests of PostgreSQL's own ways, in every call.
//!
//! They run on the server that `DATABASE_URL_POSTGRES` names.

// Counts and numbers of the tests are small.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

mod altered;
mod faults;
mod joins;
mod kinds;
mod lost;
mod pages;
mod proxy;
mod races;
mod restarts;
mod settings;
mod sharded;
mod statistics;
mod tables;
mod texts;
mod transactions;
mod types;
mod verify;
mod verify_kinds;

use sqlx::{AssertSqlSafe, PgPool};
use upsertable_tests::{Fixture, OnPostgres};

/// A schema with the contract's tables and these.
async fn fixture(connections: u32, tables: &[&str]) -> Fixture<OnPostgres> {
    let db = Fixture::with_connections(connections).await;
    for table in tables {
        db.run(table).await;
    }
    db
}

/// More rows than travel in one statement.
///
/// They go through COPY where it may be used.
const MANY: i64 = 12_000;

async fn texts(pool: &PgPool, sql: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(pool).await.unwrap()
}

fn copies(statements: &[String]) -> usize {
    statements.iter().filter(|sql| sql.starts_with("COPY")).count()
}
