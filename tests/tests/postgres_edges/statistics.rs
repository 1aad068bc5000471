//! B6: no merge compares each staged row with each other row.
//!
//! Whatever the server's statistics say of the target.

use sqlx::{AssertSqlSafe, PgPool};
use upsertable::Upsertable;
use upsertable_tests::{
    Fixture, OnPostgres,
    models::{NewRetweet, Retweet, retweet},
};

use super::fixture;

const ROWS: i64 = 20_000;

/// Most rows that the server may read per staged row.
///
/// To compare each with each is 20,000, and other tests read beside this one.
const MOST_READ: i64 = 5_000;

/// Statistics that the server took before the table was full.
#[derive(Debug, Clone, Copy)]
enum Known {
    Nothing,
    /// ANALYZE came by while the rows were not committed.
    ///
    /// There are pages, and none of them has a row.
    NoRows,
    /// It was analysed with its first row.
    OneRow,
    /// It was analysed when five times as many rows were there.
    TooMany,
}

async fn filled(known: Known, there: i64) -> Fixture<OnPostgres> {
    let db = fixture(2, &["ALTER TABLE retweets SET (autovacuum_enabled = off)"]).await;
    let fill = format!(
        "INSERT INTO retweets (tweet, retweeter, original_author) SELECT n, n, 1 FROM generate_series(0, {}) AS n",
        there - 1
    );
    match known {
        Known::Nothing => drop(db.run(&fill).await),
        Known::NoRows => {
            let mut filling = db.pool.begin().await.unwrap();
            sqlx::query(AssertSqlSafe(fill)).execute(&mut *filling).await.unwrap();
            db.run("ANALYZE retweets").await;
            filling.commit().await.unwrap();
        }
        Known::OneRow => {
            db.run("INSERT INTO retweets (tweet, retweeter, original_author) VALUES (-1, -1, 1)").await;
            db.run("ANALYZE retweets").await;
            db.run(&fill).await;
        }
        Known::TooMany => {
            db.run(&fill.replace("n, n, 1", "-n - 1, n, 1").replace(&(there - 1).to_string(), "100000")).await;
            db.run("ANALYZE retweets").await;
            db.run("DELETE FROM retweets").await;
            db.run(&fill).await;
        }
    }
    db
}

fn rows() -> impl Iterator<Item = NewRetweet> {
    (0..ROWS).rev().map(|number| NewRetweet { original_author: 2, ..retweet(number, number) })
}

/// Number of rows that the server has read in this database.
async fn read(pool: &PgPool) -> i64 {
    let mut conn = pool.acquire().await.unwrap();
    sqlx::raw_sql("SELECT pg_stat_force_next_flush()").execute(&mut *conn).await.unwrap();
    sqlx::query_scalar("SELECT tup_returned FROM pg_stat_database WHERE datname = current_database()")
        .fetch_one(&mut *conn)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn b6_no_merge_is_quadratic_whatever_the_server_knows_of_the_table() {
    for known in [Known::NoRows, Known::OneRow, Known::Nothing, Known::TooMany] {
        for there in [ROWS, ROWS / 2] {
            for call in 0..3 {
                let db = filled(known, there).await;
                let pool = db.another_pool(1).await;
                let before = read(&pool).await;
                let new = (ROWS - there) as u64;
                match call {
                    0 => assert_eq!(Retweet::bulk_create_new(&pool, rows()).await.unwrap().created, new),
                    1 => {
                        let all = Retweet::bulk_get_or_create(&pool, rows()).await.unwrap();
                        assert_eq!(all.iter().filter(|outcome| outcome.created).count() as u64, new);
                    }
                    _ => assert_eq!(Retweet::bulk_upsert(&pool, rows()).await.unwrap().updated, there as u64),
                }
                let read = read(&pool).await - before;
                assert!(read < MOST_READ * ROWS, "{known:?}, {there} there, call {call}: {read} rows were read");
            }
        }
    }
}
