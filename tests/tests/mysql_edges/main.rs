//! Tests of MySQL's and MariaDB's own ways, tried in every call.
//!
//! They run on the server that `DATABASE_URL_MYSQL` or `DATABASE_URL_MARIADB` names.

// Counts and numbers of the tests are small.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

mod every_type;
mod faults;
mod isolation;
mod kills;
mod lenient;
mod logged;
mod long_keys;
mod merges;
mod miscounts;
mod mismatch;
mod own_server;
mod proxy;
mod races;
mod retry;
mod server_faults;
mod settings;
mod statements;
mod tables;
mod types;
mod verify;
mod verify_kinds;
mod without_autocommit;
mod worded_keys;

use sqlx::{AssertSqlSafe, MySql, MySqlConnection, MySqlPool};
use upsertable::{Error, Handle, Upsertable};
use upsertable_tests::{Fixture, OnMySql, TestDb as _};

/// A database of its own with these tables.
///
/// Its pool has so many connections.
async fn with_tables(connections: u32, tables: &[&str]) -> Fixture<OnMySql> {
    let db = Fixture::with_connections(connections).await;
    for table in tables {
        run(&db.pool, table).await;
    }
    db
}

async fn run(pool: &MySqlPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn number(pool: &MySqlPool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(pool)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn assert_clean(conn: &mut MySqlConnection, when: &str) {
    assert!(!OnMySql::in_transaction(conn).await, "{when}: a transaction is open");
    assert_eq!(OnMySql::temporary_tables(conn).await, Vec::<String>::new(), "{when}: a temporary table is left");
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "people")]
#[unique(email)]
struct Person {
    #[upsertable(generated)]
    id: i64,
    email: String,
    age: i64,
    about: String,
}

fn person(email: &str, age: i64) -> NewPerson {
    NewPerson { email: email.into(), age, about: format!("about {email}") }
}

fn by_email(email: &str) -> PersonKey {
    PersonKey { email: email.into() }
}

const PEOPLE: &str = "CREATE TABLE people (id BIGINT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(10) NOT NULL UNIQUE, \
                      age BIGINT NOT NULL CHECK (age >= 0), about LONGTEXT NOT NULL)";

const CALLS: [&str; 7] =
    ["find", "find_all", "get_or_create", "upsert", "bulk_create_new", "bulk_get_or_create", "bulk_upsert"];

/// Makes a call by name.
///
/// With a person who is known and one who is not.
async fn call<'h>(name: &str, db: impl Handle<'h, MySql>) -> Result<(), Error> {
    let rows = || [person("new", 2), person("known", 2), person("new", 3)];
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
