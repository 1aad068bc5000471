//! Faults: a full disk, locks not granted, an unwritable database.
//!
//! Also transactions that SQLite ends by itself.

use std::{sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tempfile::TempDir;
use upsertable::{EndReason, Error, Upsertable as _, testing::statements};
use upsertable_tests::{
    TestDb as _,
    models::{NewRetweet, Retweet, RetweetKey, Word, retweet},
    schema,
};

use super::Fixture;
use crate::Subject;

/// A pool to a file where nobody waits for a lock.
async fn impatient(home: &TempDir, journal: SqliteJournalMode, connections: u32) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(home.path().join("impatient.db"))
        .create_if_missing(true)
        .journal_mode(journal)
        .busy_timeout(Duration::ZERO);
    let pool = SqlitePoolOptions::new().max_connections(connections).idle_timeout(None).max_lifetime(None);
    pool.connect_with(options).await.unwrap()
}

async fn with_schema(pool: &SqlitePool) {
    for table in schema::<Subject>() {
        sqlx::query(sqlx::AssertSqlSafe(table)).execute(pool).await.unwrap();
    }
}

async fn retweets(pool: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM retweets").fetch_one(pool).await.unwrap()
}

/// Words of a kilobyte each.
fn long_words(count: usize) -> impl Iterator<Item = Word> + Send {
    (0..count).map(|number| Word { word: format!("{number:01000}") })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_undoes_the_call_and_nothing_else() {
    let db = Fixture::with_connections(1).await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&db.pool).await.unwrap();
    let limit = |more| sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + more));
    sqlx::query(limit(50)).execute(&db.pool).await.unwrap();

    let error = Word::bulk_create_new(&db.pool, long_words(2_000)).await.unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
    assert!(!error.is_retryable());
    db.assert_pool_clean("after a full disk").await;
    assert_eq!(db.count("words").await, 0);

    // SQLite may end the whole transaction for it; either way nothing is kept that was not committed.
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    tx.on_commit(async { panic!("never, if the transaction has ended") });
    Word::bulk_create_new(&mut tx, long_words(2_000)).await.unwrap_err();
    let goes_on = match Retweet::get_or_create(&mut tx, retweet(2, 2)).await {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(error, Error::Ended { reason: EndReason::Server, .. }), "{error}");
            false
        }
    };
    match tx.commit().await {
        Ok(committed) => assert!(goes_on && committed.failures().len() == 1),
        Err(error) => assert!(!goes_on && matches!(error, Error::Ended { .. }), "{error}"),
    }
    db.assert_pool_clean("after a full disk in a transaction").await;
    assert_eq!((db.count("retweets").await, db.count("words").await), (if goes_on { 2 } else { 0 }, 0));

    // With room again, the same connection does what it could not do.
    sqlx::query(limit(100_000)).execute(&db.pool).await.unwrap();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    assert_eq!(Word::bulk_create_new(&mut tx, long_words(2_000)).await.unwrap().created, 2_000);
    assert_eq!(db.count("words").await, 0, "the transaction is a real one");
    tx.commit().await.unwrap();
    assert_eq!(db.count("words").await, 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_plain_sqlx_that_fills_the_disk_is_noticed() {
    let db = Fixture::with_connections(1).await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&db.pool).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 20)))
        .execute(&db.pool)
        .await
        .unwrap();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO words SELECT hex(zeroblob(500)) || i FROM n";
    sqlx::query(fill).execute(&mut *tx).await.unwrap_err();
    let goes_on = sqlx::query("INSERT INTO words VALUES ('after')").execute(&mut *tx).await.is_ok();
    assert_eq!(db.count("words").await, 0, "no statement ran outside the transaction");
    assert_eq!(tx.commit().await.is_ok(), goes_on);
    assert_eq!(db.count("words").await, i64::from(goes_on));
    db.assert_pool_clean("after a full disk").await;
}

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

#[tokio::test(flavor = "multi_thread")]
async fn begin_takes_the_write_lock_so_that_reading_first_is_safe() {
    const ROUNDS: i64 = 50;
    let db = Fixture::new().await;
    db.run("INSERT INTO accounts (email, handle, age) VALUES ('a@x', 'a', 0)").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let pool = db.pool.clone();
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                let mut tx = upsertable::begin(&pool).await.unwrap();
                let age: i64 = sqlx::query_scalar("SELECT age FROM accounts").fetch_one(&mut *tx).await.unwrap();
                sqlx::query("UPDATE accounts SET age = ?").bind(age + 1).execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(db.number("SELECT age FROM accounts").await, 8 * ROUNDS);
    let (tx, seen) = statements(upsertable::begin(&db.pool)).await;
    tx.unwrap().rollback().await.unwrap();
    assert_eq!(seen, ["BEGIN IMMEDIATE"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_never_granted_is_a_retryable_error() {
    let home = tempfile::tempdir().unwrap();
    let pool = impatient(&home, SqliteJournalMode::Wal, 2).await;
    with_schema(&pool).await;
    let mut writer = upsertable::begin(&pool).await.unwrap();
    Retweet::get_or_create(&mut writer, retweet(1, 1)).await.unwrap();

    let (single, seen) = statements(Retweet::get_or_create(&pool, retweet(2, 2))).await;
    let single = single.unwrap_err();
    assert_eq!(seen.iter().filter(|sql| sql.starts_with("INSERT")).count(), 5, "five tries: {seen:?}");
    let bulk = Retweet::bulk_create_new(&pool, [retweet(2, 2)]).await.unwrap_err();
    let begun = upsertable::begin(&pool).await.map(drop).unwrap_err();
    for error in [single, bulk, begun] {
        assert!(error.is_retryable(), "{error}");
    }
    // On a connection of the caller's the work is the caller's to do again.
    let mut conn = pool.acquire().await.unwrap();
    let (single, seen) = statements(Retweet::get_or_create(&mut *conn, retweet(2, 2))).await;
    assert!(single.unwrap_err().is_retryable());
    assert_eq!(seen.iter().filter(|sql| sql.starts_with("INSERT")).count(), 1, "{seen:?}");
    drop(conn);
    // Reading needs no lock that a writer holds.
    let found = Retweet::find(&pool, RetweetKey { tweet: 1, retweeter: 1 }).await.unwrap();
    assert_eq!(found, None);
    writer.commit().await.unwrap();
    assert!(Retweet::get_or_create(&pool, retweet(2, 2)).await.unwrap().created);
    assert_eq!(Retweet::bulk_create_new(&pool, [retweet(2, 2), retweet(3, 3)]).await.unwrap().created, 1);
    assert_eq!(retweets(&pool).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_a_merge_that_is_not_let_in_is_tried_again_without_staging_anew() {
    let home = tempfile::tempdir().unwrap();
    let pool = impatient(&home, SqliteJournalMode::Wal, 2).await;
    with_schema(&pool).await;
    let writer = upsertable::begin(&pool).await.unwrap();
    // More than one statement carries.
    let rows = || (0..12_000).map(|number| retweet(1, number));
    let (done, seen) = statements(Retweet::bulk_create_new(&pool, rows())).await;
    assert!(done.unwrap_err().is_retryable());
    let count = |word: &str| seen.iter().filter(|sql| sql.starts_with(word)).count();
    assert_eq!((count("CREATE"), count("INSERT OR ABORT INTO `retweets`")), (1, 5), "{:?}", short(&seen));
    writer.rollback().await.unwrap();
    assert_eq!(Retweet::bulk_create_new(&pool, rows()).await.unwrap().created, 12_000);
}

fn short(statements: &[String]) -> Vec<&str> {
    statements.iter().map(|sql| sql.split(" VALUES ").next().unwrap_or_default()).collect()
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
        let pool = impatient(&home, SqliteJournalMode::Wal, 1).await;
        for sql in [&table, &trigger] {
            sqlx::raw_sql(AssertSqlSafe(sql.as_str())).execute(&pool).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn b2_of_rows_with_one_key_a_short_call_keeps_the_first_and_uses_up_no_id() {
    let home = tempfile::tempdir().unwrap();
    let pool = impatient(&home, SqliteJournalMode::Wal, 2).await;
    sqlx::query(
        "CREATE TABLE retweets (id INTEGER PRIMARY KEY AUTOINCREMENT, tweet BIGINT NOT NULL, retweeter BIGINT NOT NULL, \
         original_author BIGINT NOT NULL, UNIQUE (tweet, retweeter))",
    )
    .execute(&pool)
    .await
    .unwrap();
    for last in [2, 4] {
        let rows = (1..=last).flat_map(|number| [retweet(1, number), retweet(1, number), retweet(1, 1)]);
        assert_eq!(Retweet::bulk_create_new(&pool, rows).await.unwrap().created, 2);
    }
    let last: i64 = sqlx::query_scalar("SELECT max(id) FROM retweets").fetch_one(&pool).await.unwrap();
    assert_eq!(last, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_commit_that_a_reader_stands_in_the_way_of_runs_no_callback() {
    let home = tempfile::tempdir().unwrap();
    // With a rollback journal COMMIT waits for readers.
    let pool = impatient(&home, SqliteJournalMode::Delete, 2).await;
    with_schema(&pool).await;
    Retweet::get_or_create(&pool, retweet(1, 1)).await.unwrap();
    let mut reader = pool.begin().await.unwrap();
    let _: i64 = sqlx::query_scalar("SELECT count(*) FROM retweets").fetch_one(&mut *reader).await.unwrap();

    let ran = Arc::new(());
    let mut tx = upsertable::begin(&pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(2, 2)).await.unwrap();
    let held = Arc::clone(&ran);
    tx.on_commit(async move {
        std::mem::forget(held);
    });
    let error = tx.commit().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    reader.rollback().await.unwrap();
    // With both connections in hand, what was begun on them before is over.
    let both = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    drop(both);
    assert_eq!(Arc::strong_count(&ran), 1, "the callback was dropped and did not run");
    assert_eq!(retweets(&pool).await, 1, "what was not committed is rolled back");

    // Both connections can be used as if nothing had been.
    for tweet in 3..7 {
        let mut tx = upsertable::begin(&pool).await.unwrap();
        assert!(Retweet::get_or_create(&mut tx, retweet(tweet, 1)).await.unwrap().created);
        tx.commit().await.unwrap();
    }
    assert_eq!(Retweet::bulk_create_new(&pool, [retweet(9, 9)]).await.unwrap().created, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_written_finds_and_refuses() {
    let home = tempfile::tempdir().unwrap();
    let pool = impatient(&home, SqliteJournalMode::Delete, 1).await;
    with_schema(&pool).await;
    Retweet::get_or_create(&pool, retweet(1, 1)).await.unwrap();
    pool.close().await;

    let options = SqliteConnectOptions::new().filename(home.path().join("impatient.db")).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    assert!(!Retweet::get_or_create(&pool, retweet(1, 1)).await.unwrap().created);
    let refused = [
        Retweet::get_or_create(&pool, retweet(2, 2)).await.map(drop),
        Retweet::bulk_create_new(&pool, [retweet(2, 2)]).await.map(drop),
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Sql(_) | Error::Unsupported { .. }) && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains("readonly"), "{error}");
    }
    let mut conn = pool.acquire().await.unwrap();
    assert_eq!(Subject::temporary_tables(&mut conn).await, Vec::<String>::new());
}
