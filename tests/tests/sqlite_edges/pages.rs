//! Batches over keys of every form in which SQLite stores a value.

use std::{collections::BTreeMap, sync::Mutex};

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::{Sqlite, SqlitePool};
use upsertable::{On, Upsertable};

use crate::{in_memory, number, run};

macro_rules! keyed {
    ($($model:ident($kind:ty)),*) => {
        $(
            #[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
            #[upsertable(table = "things")]
            #[unique(k)]
            struct $model {
                k: $kind,
                row: i64,
            }

            impl Thing for $model {
                fn row(&self) -> i64 {
                    self.row
                }
            }
        )*
    };
}

trait Thing {
    fn row(&self) -> i64;
}

keyed!(
    ByText(String),
    ByBytes(Vec<u8>),
    ByNumber(i64),
    ByReal(f64),
    ByTime(DateTime<Utc>),
    ByLocal(NaiveDateTime),
    ByDate(chrono::NaiveDate),
    ByClock(chrono::NaiveTime),
    ByUuid(uuid::Uuid),
    ByHyphens(uuid::fmt::Hyphenated),
    ByFlag(bool)
);

/// Goes over a table in pages of every size.
///
/// It is filled by SQL: each row is done once, and none is left.
async fn go_over<M>(columns: &str, values: &str, count: i64)
where
    M: Thing + On<Sqlite> + Clone,
    M: Upsertable,
{
    let pool = in_memory(&[&format!(
        "CREATE TABLE things ({columns}, row INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0)"
    )])
    .await;
    run(&pool, &format!("INSERT INTO things (k, row) {values}")).await;
    assert_eq!(number(&pool, "SELECT count(*) FROM things").await, count, "{columns} {values}");
    go_over_pages::<M>(&pool, &format!("{columns} {values}")).await;
}

async fn go_over_pages<M: Thing + On<Sqlite> + Clone + Upsertable>(pool: &SqlitePool, when: &str) {
    let count = number(pool, "SELECT count(*) FROM things").await;
    for size in [1, 3, 1_000] {
        let seen = Mutex::new(BTreeMap::new());
        let report = M::batches(pool)
            .size(size)
            .run(async |tx, thing: M| {
                *seen.lock().unwrap().entry(thing.row()).or_insert(0) += 1;
                let update = sqlx::query("UPDATE things SET done = done + 1 WHERE row = ?").bind(thing.row());
                update.execute(&mut **tx).await.map(drop)
            })
            .await
            .unwrap_or_else(|error| panic!("{when}: {error}"));
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen.len() as i64, count, "{when}, {size}: rows seen");
        assert!(seen.values().all(|times| *times == 1), "{when}, {size}: {seen:?}");
        assert_eq!((report.done, report.failed), (count as u64, 0), "{when}, {size}");
        // A filter tells which rows are still to do.
        let report = M::batches(pool)
            .filter("done = ?")
            .bind(0)
            .size(size)
            .run(async |_, _: M| Ok::<_, upsertable::Error>(()))
            .await
            .unwrap();
        assert_eq!((report.done, report.left), (0, 0), "{when}, {size}");
        run(pool, "UPDATE things SET done = 0").await;
        let report = M::batches(pool)
            .filter("done = ?")
            .bind(0)
            .size(size)
            .concurrency(2)
            .run(async |tx, thing: M| {
                let update = sqlx::query("UPDATE things SET done = done + 1 WHERE row = ?").bind(thing.row());
                update.execute(&mut **tx).await.map(drop)
            })
            .await
            .unwrap();
        assert_eq!((report.done, report.left), (count as u64, 0), "{when}, {size}");
        assert_eq!(number(pool, "SELECT count(*) FROM things WHERE done <> 1").await, 0, "{when}, {size}");
        run(pool, "UPDATE things SET done = 0").await;
    }
}

/// Query for twenty rows of an expression of `n`.
fn twenty(key: &str) -> String {
    format!(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20) SELECT {key}, n FROM numbers"
    )
}

#[tokio::test]
async fn a1_times_that_are_stored_in_any_form_are_all_met() {
    for column in ["TEXT", "DATETIME", "TIMESTAMP", "", "NUMERIC", "BLOB"] {
        let column = format!("k {column} NOT NULL UNIQUE");
        for key in [
            "datetime('2026-01-01', n || ' hours')",
            "strftime('%Y-%m-%d %H:%M', '2026-01-01', n || ' hours')",
            "strftime('%Y-%m-%dT%H:%M:%S', '2026-01-01', n || ' hours')",
            "strftime('%Y-%m-%d %H:%M:%f', '2026-01-01', n || ' hours')",
        ] {
            go_over::<ByLocal>(&column, &twenty(key), 20).await;
        }
        for key in [
            "datetime('2026-01-01', n || ' hours')",
            "datetime('2026-01-01', n || ' hours') || '+00:00'",
            "strftime('%Y-%m-%dT%H:%M:%SZ', '2026-01-01', n || ' hours')",
            "strftime('%Y-%m-%d %H:%M:%S', '2026-01-01', n || ' hours') || '.' || n || '-05:00'",
            // In turns.
            "CASE n % 2 WHEN 0 THEN datetime('2026-01-01', n || ' hours') ELSE strftime('%Y-%m-%dT%H:%M:%SZ', '2026-01-01', n || ' hours') END",
        ] {
            go_over::<ByTime>(&column, &twenty(key), 20).await;
        }
        // A column of texts makes texts of numbers, which are no times.
        for key in [
            "CASE n % 3 WHEN 0 THEN datetime('2026-01-01', n || ' hours') WHEN 1 THEN strftime('%Y-%m-%dT%H:%M:%SZ', '2026-01-01', n || ' hours') \
             ELSE 1767225600 + n END",
        ] {
            if !column.contains("TEXT") {
                go_over::<ByTime>(&column, &twenty(key), 20).await;
            }
        }
        go_over::<ByDate>(&column, &twenty("date('2026-01-01', n || ' days')"), 20).await;
        go_over::<ByClock>(&column, &twenty("strftime('%H:%M', '2026-01-01', n || ' minutes')"), 20).await;
        go_over::<ByClock>(&column, &twenty("time('2026-01-01', n || ' minutes')"), 20).await;
    }
    go_over::<ByTime>("k INTEGER NOT NULL PRIMARY KEY", &twenty("1767225600 + n * 60"), 20).await;
}

/// Moments that the closure sets to now are done once.
///
/// Of a scope that the filter names, and of all.
#[tokio::test]
async fn a4_moments_that_the_closure_sets_to_now_are_done_once() {
    for key in ["datetime('2020-01-01', n || ' hours')", "strftime('%Y-%m-%dT%H:%M:%SZ', '2020-01-01', n || ' hours')"]
    {
        for size in [1, 3, 20, 1_000] {
            let pool = in_memory(&[
                "CREATE TABLE things (k DATETIME NOT NULL UNIQUE, row INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0)",
            ])
            .await;
            run(&pool, &format!("INSERT INTO things (k, row) {}", twenty(key))).await;
            let work = async |tx: &mut upsertable::Transaction<Sqlite>, thing: ByTime| {
                let update = "UPDATE things SET done = done + 1, k = datetime('now', row || ' seconds') WHERE row = ?";
                sqlx::query(update).bind(thing.row()).execute(&mut **tx).await.map(drop)
            };
            let running = ByTime::batches(&pool).filter("row > 0").size(size).run(work);
            let report =
                tokio::time::timeout(std::time::Duration::from_mins(1), running).await.expect("no end").unwrap();
            assert_eq!((report.done, report.failed, report.left), (20, 0, 20), "{key}, {size}");
            assert_eq!(number(&pool, "SELECT count(*) FROM things WHERE done <> 1").await, 0, "{key}, {size}");
        }
    }
}

#[tokio::test]
async fn a1_texts_and_numbers_that_are_stored_in_any_form_are_all_met() {
    for column in ["TEXT", "", "BLOB", "VARCHAR(9)", "STRING", "NUMERIC"] {
        let column = format!("k {column} NOT NULL UNIQUE");
        go_over::<ByText>(&column, &twenty("'x' || n || char(0) || 'ü'"), 20).await;
        // Others make numbers of them, which are no texts.
        if !["STRING", "NUMERIC"].iter().any(|kind| column.contains(kind)) {
            go_over::<ByText>(&column, &twenty("CAST(n AS TEXT)"), 20).await;
            go_over::<ByText>(&column, &twenty("CASE WHEN n % 2 THEN '1e' || n ELSE 'b' || n END"), 20).await;
        }
    }
    // Bytes in a column of texts, and texts in one of bytes.
    go_over::<ByBytes>(
        "k TEXT NOT NULL UNIQUE",
        &twenty("CASE WHEN n % 2 THEN CAST(n AS BLOB) ELSE CAST(n AS TEXT) END"),
        20,
    )
    .await;
    go_over::<ByBytes>(
        "k BLOB NOT NULL UNIQUE",
        &twenty("CASE WHEN n % 2 THEN CAST(n AS BLOB) ELSE CAST(n AS TEXT) END"),
        20,
    )
    .await;
    go_over::<ByNumber>("k NUMERIC NOT NULL UNIQUE", &twenty("n"), 20).await;
    go_over::<ByNumber>("k INTEGER NOT NULL UNIQUE", &twenty("n - 10"), 20).await;
    go_over::<ByReal>("k NOT NULL UNIQUE", &twenty("n / 8.0 - 1"), 20).await;
    go_over::<ByReal>("k REAL NOT NULL UNIQUE", &twenty("n * 1e300 - 1e301"), 20).await;
    go_over::<ByReal>(
        "k REAL NOT NULL UNIQUE",
        &twenty("CASE n WHEN 1 THEN -9e999 WHEN 2 THEN 9e999 ELSE n / 3.0 END"),
        20,
    )
    .await;
    go_over::<ByFlag>("k NOT NULL UNIQUE", "VALUES (0, 1), (1, 2)", 2).await;
    go_over::<ByFlag>("k NOT NULL UNIQUE", "VALUES (0, 1), (2, 2), (3, 3), (7, 4)", 4).await;
    go_over::<ByUuid>("k NOT NULL UNIQUE", &twenty("randomblob(16)"), 20).await;
    let hyphens = "lower(printf('%08x-0000-0000-0000-%012x', n, n))";
    go_over::<ByHyphens>("k TEXT NOT NULL UNIQUE", &twenty(hyphens), 20).await;
    go_over::<ByHyphens>("k TEXT NOT NULL UNIQUE", &twenty(&format!("upper({hyphens})")), 20).await;
}

#[tokio::test]
async fn a1_a_key_that_its_index_compares_otherwise_than_its_column_is_met_row_by_row() {
    // Up to five that the column takes for one.
    let cased = "substr('aaAAa', n % 5 + 1, 1) || substr('bBbBB', n % 5 + 1, 1) || iif(n % 5 = 4, 'c', 'C') || (n / 5)";
    let spaced = "'k' || (n / 5) || substr('     ', 1, n % 5)";
    for (column, index, keys) in [
        ("NOCASE", "BINARY", cased),
        ("BINARY", "NOCASE", "iif(n % 2, 'k', 'K') || n"),
        ("RTRIM", "BINARY", spaced),
        ("NOCASE", "RTRIM", cased),
    ] {
        let other = twenty(keys);
        let pool = in_memory(&[
            &format!("CREATE TABLE things (k TEXT NOT NULL COLLATE {column}, row INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0)"),
            &format!("CREATE UNIQUE INDEX things_k ON things (k COLLATE {index})"),
        ])
        .await;
        run(&pool, &format!("INSERT INTO things (k, row) {other}")).await;
        go_over_pages::<ByText>(&pool, &format!("{column} {index}")).await;
    }
}
