//! Sessions that cut what does not fit.
//!
//! The calls store what an INSERT in that session stores, and no key finds another row by being cut.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, MySqlPool};
use upsertable::{Error, Handle, Upsertable};

use crate::{number, run, settings::pool_set_to, with_tables};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "cuts")]
#[unique(name)]
struct Cut {
    name: String,
    note: String,
    latin: String,
    word: String,
    count: i64,
    positive: u32,
    at: chrono::NaiveDateTime,
    amount: sqlx::types::Decimal,
    single: f64,
    bytes: Vec<u8>,
}

const COLUMNS: &str = "(name VARCHAR(5) NOT NULL UNIQUE, note VARCHAR(5) NOT NULL, latin VARCHAR(5) CHARACTER SET latin1 NOT NULL, \
    word ENUM('one', 'two') NOT NULL, count TINYINT NOT NULL, positive TINYINT UNSIGNED NOT NULL, at DATETIME NOT NULL, \
    amount DECIMAL(5, 2) NOT NULL, single FLOAT NOT NULL, bytes VARBINARY(3) NOT NULL) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin";

/// A row that fits if its number is even.
fn cut(number: i64) -> Cut {
    let fits = number % 2 == 0;
    let moment = |seconds| chrono::DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
    Cut {
        name: number.to_string(),
        note: if fits { "note" } else { "a long note" }.into(),
        latin: if fits { "é" } else { "🦀 and more" }.into(),
        word: if fits { "two" } else { "three" }.into(),
        count: if fits { 7 } else { number * 1_000 - 3_000 },
        positive: if fits { 7 } else { 70_000 },
        at: moment(1_700_000_000 + number),
        amount: sqlx::types::Decimal::new(if fits { 12_345 } else { 123_456_789 }, 2),
        single: if fits { 0.5 } else { 1e300 },
        bytes: if fits { vec![1, 2] } else { vec![0xff; 5] },
    }
}

async fn insert(pool: &MySqlPool, row: &Cut) -> Result<(), sqlx::Error> {
    // MySQL's own server refuses a parameter with characters that the column has not, and converts any other text.
    sqlx::query("INSERT INTO plain VALUES (?, ?, CONVERT(? USING utf8mb4), ?, ?, ?, ?, ?, ?, ?)")
        .bind(&row.name)
        .bind(&row.note)
        .bind(&row.latin)
        .bind(&row.word)
        .bind(row.count)
        .bind(row.positive)
        .bind(row.at)
        .bind(row.amount)
        .bind(row.single)
        .bind(&row.bytes)
        .execute(pool)
        .await
        .map(drop)
}

async fn dump(pool: &MySqlPool, table: &str) -> Vec<String> {
    let columns = ["name", "note", "latin", "word", "count", "positive", "at", "amount", "single + 0e0", "bytes"];
    let columns = columns.map(|column| format!("HEX(CAST({column} AS BINARY))")).join(", ");
    let all = format!("SELECT CAST(CONCAT_WS(' ', {columns}) AS CHAR) FROM {table}");
    let mut all: Vec<String> = sqlx::query_scalar(AssertSqlSafe(all)).fetch_all(pool).await.unwrap();
    all.sort_unstable();
    all
}

async fn call<'h>(name: &str, db: impl Handle<'h, sqlx::MySql>, rows: Vec<Cut>) -> Result<(), Error> {
    match name {
        "bulk_create_new" => Cut::bulk_create_new(db, rows).await.map(drop),
        "bulk_get_or_create" => Cut::bulk_get_or_create(db, rows).await.map(drop),
        "bulk_upsert" => Cut::bulk_upsert(db, rows).await.map(drop),
        "upsert" => Cut::upsert(db, rows[0].clone()).await.map(drop),
        _ => Cut::get_or_create(db, rows[0].clone()).await.map(drop),
    }
}

const BULK_CALLS: [&str; 3] = ["bulk_create_new", "bulk_get_or_create", "bulk_upsert"];
const MODES: [&str; 3] = ["", "NO_ENGINE_SUBSTITUTION", "NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO"];

#[tokio::test(flavor = "multi_thread")]
async fn r4_what_is_cut_beside_the_key_is_cut_as_by_an_insert() {
    let (ours, plain) = (format!("CREATE TABLE cuts {COLUMNS}"), format!("CREATE TABLE plain {COLUMNS}"));
    let db = with_tables(1, &[&ours, &plain]).await;
    let mut wrong = String::new();
    for mode in MODES {
        let pool = pool_set_to(&db.pool, &format!("SET SESSION sql_mode = '{mode}'")).await.unwrap();
        for size in [6, 1_030] {
            run(&db.outside, "DELETE FROM plain").await;
            for number in 0..size {
                insert(&pool, &cut(number)).await.unwrap();
            }
            let expected = dump(&db.outside, "plain").await;
            for name in BULK_CALLS {
                for handle in ["pool", "transaction", "connection"] {
                    run(&db.outside, "DELETE FROM cuts").await;
                    let rows = || (0..size).map(cut).collect();
                    let outcome = match handle {
                        "pool" => call(name, &pool, rows()).await,
                        "transaction" => {
                            let mut tx = upsertable::begin(&pool).await.unwrap();
                            let outcome = call(name, &mut tx, rows()).await;
                            tx.commit().await.unwrap();
                            outcome
                        }
                        _ => call(name, &mut *pool.acquire().await.unwrap(), rows()).await,
                    };
                    let stored = dump(&db.outside, "cuts").await;
                    let differ = stored.iter().zip(&expected).find(|(ours, plain)| ours != plain);
                    if outcome.is_err() || stored != expected {
                        let _ = writeln!(
                            wrong,
                            "{mode:?}: {name} of {size} rows on a {handle}: {outcome:?}, {} rows, {differ:?}",
                            stored.len()
                        );
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_key_that_would_be_cut_finds_no_other_row() {
    let db = with_tables(1, &[&format!("CREATE TABLE cuts {COLUMNS}")]).await;
    let named = |name: &str| Cut { name: name.into(), ..cut(0) };
    for mode in MODES {
        let pool = pool_set_to(&db.pool, &format!("SET SESSION sql_mode = '{mode}'")).await.unwrap();
        for known in [false, true] {
            for name in ["get_or_create", "upsert"].into_iter().chain(BULK_CALLS) {
                for size in [1, 6, 1_030] {
                    for in_transaction in [false, true] {
                        run(&db.outside, "DELETE FROM cuts").await;
                        if known {
                            Cut::get_or_create(&db.outside, named("known")).await.unwrap();
                        }
                        let before = dump(&db.outside, "cuts").await;
                        let rows = || {
                            let fits = (0..size).map(|n| named(&n.to_string()));
                            // The first is cut to what is there, and both to one.
                            ["known and more", "known too"].map(named).into_iter().chain(fits).collect()
                        };
                        let outcome = if in_transaction {
                            let mut tx = upsertable::begin(&pool).await.unwrap();
                            let outcome = call(name, &mut tx, rows()).await;
                            tx.commit().await.unwrap();
                            outcome
                        } else {
                            call(name, &pool, rows()).await
                        };
                        let when = format!("{mode:?}: {name}, {size} rows, in a transaction: {in_transaction}");
                        let error = outcome.expect_err(&when);
                        assert!(!error.is_retryable(), "{when}: {error}");
                        assert_eq!(dump(&db.outside, "cuts").await, before, "{when}: {error}");
                    }
                }
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "tallies")]
#[unique(count)]
struct Tally {
    count: i64,
    note: String,
}

/// A number is cut to the largest that fits.
#[tokio::test(flavor = "multi_thread")]
async fn r4_a_number_that_would_be_cut_finds_no_other_row() {
    let table = "CREATE TABLE tallies (count TINYINT NOT NULL PRIMARY KEY, note LONGTEXT NOT NULL)";
    let db = with_tables(1, &[table, "INSERT INTO tallies VALUES (127, 'there')"]).await;
    let pool = pool_set_to(&db.pool, "SET SESSION sql_mode = ''").await.unwrap();
    let rows = || [300, 1, 400].map(|count| Tally { count, note: "new".into() });
    for in_transaction in [false, true] {
        for name in ["get_or_create", "upsert"].into_iter().chain(BULK_CALLS) {
            let mut tx = upsertable::begin(&pool).await.unwrap();
            let error = if in_transaction {
                match name {
                    "get_or_create" => Tally::get_or_create(&mut tx, rows()[0].clone()).await.map(drop),
                    "upsert" => Tally::upsert(&mut tx, rows()[0].clone()).await.map(drop),
                    "bulk_create_new" => Tally::bulk_create_new(&mut tx, rows()).await.map(drop),
                    "bulk_get_or_create" => Tally::bulk_get_or_create(&mut tx, rows()).await.map(drop),
                    _ => Tally::bulk_upsert(&mut tx, rows()).await.map(drop),
                }
            } else {
                tx.rollback().await.unwrap();
                let outcome = match name {
                    "get_or_create" => Tally::get_or_create(&pool, rows()[0].clone()).await.map(drop),
                    "upsert" => Tally::upsert(&pool, rows()[0].clone()).await.map(drop),
                    "bulk_create_new" => Tally::bulk_create_new(&pool, rows()).await.map(drop),
                    "bulk_get_or_create" => Tally::bulk_get_or_create(&pool, rows()).await.map(drop),
                    _ => Tally::bulk_upsert(&pool, rows()).await.map(drop),
                };
                tx = upsertable::begin(&pool).await.unwrap();
                outcome
            };
            tx.commit().await.unwrap();
            let error = error.expect_err(name);
            assert!(!error.is_retryable(), "{name}: {error}");
            let kept = "SELECT count(*) FROM tallies WHERE count = 127 AND note = 'there'";
            assert_eq!(number(&db.outside, kept).await, 1, "{name}");
            assert_eq!(number(&db.outside, "SELECT count(*) FROM tallies").await, 1, "{name}: {error}");
        }
    }
}
