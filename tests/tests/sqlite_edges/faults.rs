//! A database that cannot be written, and a full disk.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use upsertable::{EndReason, Error, TransactionOptions, Upsertable as _};

use crate::{PEOPLE, Person, READS, WRITES, assert_clean, by_email, call, in_file, number, person, run};

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
