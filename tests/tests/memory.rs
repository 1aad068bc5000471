//! Memory that a bulk call takes, in a process of its own.
//!
//! What the test measures is the memory of its process, so no other test may run there.

use std::time::Duration;

use futures_util::stream;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use upsertable::{BulkCreated, Upsertable as _};
use upsertable_tests::models::{Retweet, retweet};

const ROWS: u64 = 2_000_000;

/// Most growth, in kibibytes.
///
/// The rows alone would take 48 mebibytes, were they collected.
const MOST_GROWTH: u64 = 32 * 1_024;

/// A figure of this process, in kibibytes.
///
/// Only Linux tells it.
fn status(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_memory_stays_flat_whatever_the_number_of_rows() {
    let home = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(home.path().join("memory.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(30));
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    sqlx::query(
        "CREATE TABLE retweets (id INTEGER PRIMARY KEY, tweet BIGINT NOT NULL, retweeter BIGINT NOT NULL, original_author BIGINT NOT NULL, \
         UNIQUE (tweet, retweeter))",
    )
    .execute(&pool)
    .await
    .unwrap();
    // Memory that a call needs however few rows it has.
    Retweet::bulk_create_new(&pool, (0..100).map(|number| retweet(-1, number))).await.unwrap();

    let Some(before) = status("VmRSS:") else {
        println!("SKIPPED: this system does not tell how much memory a process takes");
        return;
    };
    let rows = stream::iter((0..ROWS.cast_signed()).map(|number| retweet(number % 1_000, number / 1_000)));
    let done = Retweet::bulk_create_new_stream(&pool, rows).await.unwrap();
    assert_eq!(done, BulkCreated { received: ROWS, created: ROWS });
    let grown = status("VmHWM:").unwrap().saturating_sub(before);
    println!("{grown} KiB more than the {before} KiB before, for {ROWS} rows");
    assert!(grown < MOST_GROWTH, "the process grew by {grown} KiB for {ROWS} rows");
}
