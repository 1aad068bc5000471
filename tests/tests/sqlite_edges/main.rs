//! Tests of SQLite's own ways, tried in every call.

// Counts and numbers of the tests are small.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

mod clauses;
mod ended;
mod faults;
mod locks;
mod memory_database;
mod merges;
mod mismatch;
mod names;
mod pages;
mod plans;
mod settings;
mod tables;
mod types;
mod verify;
mod verify_kinds;

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection as _, Sqlite, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tempfile::TempDir;
use upsertable::{Error, Handle, Upsertable};
use upsertable_tests::{OnSqlite, TestDb as _, schema};

type Fixture = upsertable_tests::Fixture<OnSqlite>;

/// A database in memory, with one connection.
async fn in_memory(tables: &[&str]) -> SqlitePool {
    let options = SqlitePoolOptions::new().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = options.connect_with(SqliteConnectOptions::new().in_memory(true)).await.unwrap();
    for table in tables {
        run(&pool, table).await;
    }
    pool
}

/// A database in a file, with a write-ahead log.
async fn in_file(home: &TempDir, connections: u32, busy_timeout: Duration) -> SqlitePool {
    let options = file(home).journal_mode(SqliteJournalMode::Wal).busy_timeout(busy_timeout);
    // The first connection alone turns on the write-ahead log.
    drop(SqliteConnection::connect_with(&options).await.unwrap());
    at(options, connections).await
}

/// A database in a file, where COMMIT waits for readers and nobody for a lock.
async fn with_rollback_journal(home: &TempDir, connections: u32) -> SqlitePool {
    at(file(home).journal_mode(SqliteJournalMode::Delete).busy_timeout(Duration::ZERO), connections).await
}

fn file(home: &TempDir) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(home.path().join("edges.db")).create_if_missing(true)
}

async fn at(options: SqliteConnectOptions, connections: u32) -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(connections).idle_timeout(None).max_lifetime(None);
    pool.connect_with(options).await.unwrap()
}

/// Makes the tables of the contract.
async fn with_schema(pool: &SqlitePool) {
    for table in schema::<OnSqlite>() {
        run(pool, &table).await;
    }
}

async fn retweets(pool: &SqlitePool) -> i64 {
    number(pool, "SELECT count(*) FROM retweets").await
}

async fn run(pool: &SqlitePool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn number(pool: &SqlitePool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(pool)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn assert_clean(pool: &SqlitePool, when: &str) {
    let mut conn = pool.acquire().await.unwrap();
    assert!(!OnSqlite::in_transaction(&mut conn).await, "{when}: a transaction is open");
    assert_eq!(OnSqlite::temporary_tables(&mut conn).await, Vec::<String>::new(), "{when}: a temporary table is left");
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "people")]
#[unique(email)]
struct Person {
    #[upsertable(generated)]
    id: i64,
    email: String,
    age: i64,
}

fn person(email: &str, age: i64) -> NewPerson {
    NewPerson { email: email.into(), age }
}

fn by_email(email: &str) -> PersonKey {
    PersonKey { email: email.into() }
}

const PEOPLE: &str = "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE, age INTEGER NOT NULL CHECK (age >= 0))";

/// The calls that write, and those that only read.
const WRITES: [&str; 5] = ["get_or_create", "upsert", "bulk_create_new", "bulk_get_or_create", "bulk_upsert"];
const READS: [&str; 2] = ["find", "find_all"];

async fn call<'h>(name: &str, db: impl Handle<'h, Sqlite>) -> Result<(), Error> {
    let rows = || [person("new", 2), person("known", 2)];
    match name {
        "find" => Person::find(db, by_email("known")).await.map(drop),
        "find_all" => Person::find_all(db, [by_email("known"), by_email("new")]).await.map(drop),
        "get_or_create" => Person::get_or_create(db, person("new", 2)).await.map(drop),
        "upsert" => Person::upsert(db, person("known", 2)).await.map(drop),
        "bulk_create_new" => Person::bulk_create_new(db, rows()).await.map(drop),
        "bulk_get_or_create" => Person::bulk_get_or_create(db, rows()).await.map(drop),
        _ => Person::bulk_upsert(db, rows()).await.map(drop),
    }
}
