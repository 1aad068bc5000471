//! A database that cannot be written, and a full disk.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use upsertable::{EndReason, Error, TransactionOptions, Upsertable as _};
use upsertable_tests::{
    OnSqlite, TestDb as _,
    models::{Retweet, Word, retweet},
};

use crate::{
    Fixture, PEOPLE, Person, READS, WRITES, assert_clean, by_email, call, in_file, number, person, run,
    with_rollback_journal, with_schema,
};

#[tokio::test]
async fn every_call_on_a_database_that_cannot_be_written() {
    let home = tempfile::tempdir().unwrap();
    let pool = in_file(&home, 1, Duration::ZERO).await;
    run(&pool, PEOPLE).await;
    run(&pool, "INSERT INTO people (email, age) VALUES ('known', 1)").await;
    run(&pool, "PRAGMA journal_mode = DELETE").await;
    pool.close().await;
    let options = SqliteConnectOptions::new().filename(home.path().join("edges.db")).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();

    assert!(!Person::get_or_create(&pool, person("known", 2)).await.unwrap().created);
    for name in READS {
        call(name, &pool).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in WRITES {
        let mut errors = vec![call(name, &pool).await.expect_err(name)];
        let mut theirs = pool.begin().await.unwrap();
        errors.push(call(name, &mut *theirs).await.expect_err(name));
        theirs.rollback().await.unwrap();
        let mut tx = TransactionOptions::new().read_only().begin(&pool).await.unwrap();
        errors.push(call(name, &mut tx).await.expect_err(name));
        assert!(Person::find(&mut tx, by_email("known")).await.unwrap().is_some(), "{name}: the transaction goes on");
        tx.commit().await.unwrap();
        for error in errors {
            assert!(
                matches!(error, Error::Sql(_) | Error::Unsupported { .. }) && !error.is_retryable(),
                "{name}: {error}"
            );
            assert!(error.to_string().contains("readonly"), "{name}: {error}");
        }
        assert_clean(&pool, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bulk_call_on_a_full_disk() {
    let home = tempfile::tempdir().unwrap();
    let pool = in_file(&home, 1, Duration::from_secs(30)).await;
    run(&pool, PEOPLE).await;
    run(&pool, "INSERT INTO people (email, age) VALUES ('known', 1)").await;
    run(&pool, &format!("PRAGMA max_page_count = {}", number(&pool, "PRAGMA page_count").await + 20)).await;
    let rows = || (0..500).map(|number| person(&format!("{number:01000}"), number));
    for name in ["bulk_create_new", "bulk_get_or_create", "bulk_upsert"] {
        macro_rules! fill {
            ($handle:expr) => {
                match name {
                    "bulk_create_new" => Person::bulk_create_new($handle, rows()).await.map(drop),
                    "bulk_get_or_create" => Person::bulk_get_or_create($handle, rows()).await.map(drop),
                    _ => Person::bulk_upsert($handle, rows()).await.map(drop),
                }
            };
        }
        let is_full = |outcome: Result<(), Error>| {
            let error = outcome.expect_err(name);
            assert!(error.to_string().contains("full") && !error.is_retryable(), "{name}: {error}");
        };
        is_full(fill!(&pool));
        assert_clean(&pool, name).await;

        let mut conn = pool.acquire().await.unwrap();
        is_full(fill!(&mut *conn));
        drop(conn);
        assert_clean(&pool, name).await;

        let mut tx = upsertable::begin(&pool).await.unwrap();
        Person::upsert(&mut tx, person("known", 7)).await.unwrap();
        is_full(fill!(&mut tx));
        // SQLite may have ended the transaction for it. Then that is told, and else it goes on.
        let goes_on = match Person::upsert(&mut tx, person("known", 8)).await {
            Ok(_) => true,
            Err(Error::Ended { reason: EndReason::Server, .. }) => false,
            Err(error) => panic!("{name}: {error}"),
        };
        assert_eq!(tx.commit().await.is_ok(), goes_on, "{name}");
        assert_clean(&pool, name).await;
        assert_eq!(number(&pool, "SELECT age FROM people").await, if goes_on { 8 } else { 1 }, "{name}");
        run(&pool, "UPDATE people SET age = 1").await;
    }
    run(&pool, "PRAGMA max_page_count = 100000").await;
    assert_eq!(Person::bulk_upsert(&pool, rows()).await.unwrap().created, 500);
}

/// Words of a kilobyte each.
fn long_words(count: usize) -> impl Iterator<Item = Word> + Send {
    (0..count).map(|number| Word { word: format!("{number:01000}") })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_undoes_the_call_and_nothing_else() {
    let db = Fixture::with_connections(1).await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&db.pool).await.unwrap();
    let limit = |more| AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + more));
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
    sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 20))).execute(&db.pool).await.unwrap();
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
async fn a_database_that_cannot_be_written_finds_and_refuses() {
    let home = tempfile::tempdir().unwrap();
    let pool = with_rollback_journal(&home, 1).await;
    with_schema(&pool).await;
    Retweet::get_or_create(&pool, retweet(1, 1)).await.unwrap();
    pool.close().await;

    let options = SqliteConnectOptions::new().filename(home.path().join("edges.db")).read_only(true);
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
    assert_eq!(OnSqlite::temporary_tables(&mut conn).await, Vec::<String>::new());
}
