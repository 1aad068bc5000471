//! Transactions and statements that SQLite ends by itself.

use std::time::Duration;

use upsertable::{EndReason, Error, Upsertable as _};
use upsertable_tests::models::{NewRetweet, Retweet, Word, retweet};

use crate::{Fixture, in_file, retweets, run};

#[tokio::test(flavor = "multi_thread")]
async fn each_way_in_which_sqlite_ends_a_transaction_is_noticed() {
    for (way, ends) in [
        ("a conflict clause of the statement", "INSERT OR ROLLBACK INTO words VALUES ('twice')"),
        ("a trigger", "INSERT INTO words VALUES ('forbidden')"),
    ] {
        let db = Fixture::with_connections(1).await;
        db.run("INSERT INTO words VALUES ('twice')").await;
        db.run("CREATE TRIGGER no BEFORE INSERT ON words WHEN NEW.word = 'forbidden' BEGIN SELECT RAISE(ROLLBACK, 'no'); END").await;
        for through_us in [false, true] {
            let mut tx = upsertable::begin(&db.pool).await.unwrap();
            Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
            if through_us && way == "a trigger" {
                Word::get_or_create(&mut tx, Word { word: "forbidden".into() }).await.unwrap_err();
            } else {
                sqlx::query(ends).execute(&mut *tx).await.unwrap_err();
            }
            // A statement of plain sqlx is the first to come after: it must not run outside any transaction.
            let refused = sqlx::query("INSERT INTO words VALUES ('outside')").execute(&mut *tx).await.unwrap_err();
            assert!(refused.to_string().contains("ended"), "{way}: {refused}");
            let error = tx.commit().await.unwrap_err();
            assert!(matches!(error, Error::Ended { reason: EndReason::Server, .. }), "{way}: {error}");
            db.assert_pool_clean(way).await;
            assert_eq!((db.count("retweets").await, db.count("words").await), (0, 1), "{way}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_call_whose_trigger_ends_the_transaction_ends_it() {
    let db = Fixture::with_connections(1).await;
    db.run(
        "CREATE TRIGGER no BEFORE INSERT ON words WHEN NEW.word = 'forbidden' BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
    )
    .await;
    let words = || ["good", "forbidden"].map(|word| Word { word: word.into() });
    Word::bulk_create_new(&db.pool, words()).await.unwrap_err();
    db.assert_pool_clean("on a pool").await;

    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    Word::bulk_create_new(&mut tx, words()).await.unwrap_err();
    let error = Retweet::get_or_create(&mut tx, retweet(2, 2)).await.unwrap_err();
    assert!(matches!(error, Error::Ended { .. }), "{error}");
    drop(tx);
    db.assert_pool_clean("in a transaction").await;

    let mut conn = db.pool.acquire().await.unwrap();
    Word::bulk_create_new(&mut *conn, words()).await.unwrap_err();
    Fixture::assert_clean(&mut conn, "on a connection").await;
    drop(conn);
    assert_eq!((db.count("retweets").await, db.count("words").await), (0, 0));
}

/// Nothing is kept of a call that fails half-way.
///
/// FAIL keeps what the statement has done before.
#[tokio::test(flavor = "multi_thread")]
async fn b1_of_a_call_that_fails_half_way_nothing_is_kept() {
    const TABLE: &str = "id INTEGER PRIMARY KEY, tweet BIGINT NOT NULL, retweeter BIGINT NOT NULL";
    const FAIL: &str = "AFTER INSERT ON retweets WHEN NEW.retweeter = 3 BEGIN SELECT RAISE(FAIL, 'no third'); END";
    let table =
        |author: &str| format!("CREATE TABLE retweets ({TABLE}, original_author {author}, UNIQUE (tweet, retweeter))");
    let cases = [
        (table("BIGINT NOT NULL"), format!("CREATE TRIGGER no_third {FAIL}")),
        (table("BIGINT NOT NULL"), format!("CREATE TEMP TRIGGER no_third {FAIL}")),
        (table("BIGINT UNIQUE ON CONFLICT FAIL"), "SELECT 1".to_owned()),
        (table("BIGINT CHECK (original_author < 3)"), "SELECT 1".to_owned()),
    ];
    for (table, trigger) in cases {
        let home = tempfile::tempdir().unwrap();
        let pool = in_file(&home, 1, Duration::ZERO).await;
        for sql in [&table, &trigger] {
            run(&pool, sql).await;
        }
        for count in [5, 3_000] {
            let rows = || (0..count).map(|number| NewRetweet { original_author: number.min(3), ..retweet(1, number) });
            Retweet::bulk_create_new(&pool, rows()).await.unwrap_err();
            Retweet::bulk_create_new(&mut *pool.acquire().await.unwrap(), rows()).await.unwrap_err();
            let mut tx = upsertable::begin(&pool).await.unwrap();
            Retweet::bulk_create_new(&mut tx, rows()).await.unwrap_err();
            tx.commit().await.unwrap();
            assert_eq!(retweets(&pool).await, 0, "{table}; {trigger}; {count}");
        }
    }
}
