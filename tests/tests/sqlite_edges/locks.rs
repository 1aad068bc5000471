//! Transactions begun without the write lock, and locks not granted.

use std::{
    future::Future,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sqlx::Sqlite;
use upsertable::{Transaction, TransactionOptions, Upsertable as _, testing::statements};
use upsertable_tests::{OnSqlite, TestDb as _};

use crate::{PEOPLE, Person, READS, WRITES, assert_clean, by_email, call, in_file, number, person, run};

/// Waits for work within a limit that only a hang exceeds.
async fn in_time<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_mins(1), work).await.expect("it hangs")
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_a_deferred_transaction_that_has_read_gets_a_retryable_error_when_another_has_written() {
    for other_writes in [false, true] {
        for name in READS.into_iter().chain(WRITES) {
            let home = tempfile::tempdir().unwrap();
            let pool = in_file(&home, 2, Duration::from_mins(5)).await;
            run(&pool, PEOPLE).await;
            run(&pool, "INSERT INTO people (email, age) VALUES ('known', 1)").await;
            let mut theirs = pool.begin().await.unwrap();
            let read: i64 = sqlx::query_scalar("SELECT count(*) FROM people").fetch_one(&mut *theirs).await.unwrap();
            assert_eq!(read, 1);
            if other_writes {
                run(&pool, "INSERT INTO people (email, age) VALUES ('other', 1)").await;
            }
            let outcome = in_time(call(name, &mut *theirs)).await;
            if other_writes && WRITES.contains(&name) {
                let error = outcome.expect_err(name);
                assert!(error.is_retryable() && !error.is_unique_violation(), "{name}: {error}");
            } else {
                outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            // The transaction is still one, and reads on.
            let read: i64 = sqlx::query_scalar("SELECT count(*) FROM people WHERE email = 'known'")
                .fetch_one(&mut *theirs)
                .await
                .unwrap();
            assert_eq!(read, 1, "{name}");
            assert_eq!(OnSqlite::temporary_tables(&mut theirs).await, Vec::<String>::new(), "{name}");
            theirs.rollback().await.unwrap();
            assert_eq!(number(&pool, "SELECT count(*) FROM people").await, 1 + i64::from(other_writes), "{name}");
            // Begun anew it works.
            let mut theirs = pool.begin().await.unwrap();
            in_time(call(name, &mut *theirs)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            theirs.commit().await.unwrap();
            assert_clean(&pool, name).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_so_does_a_transaction_begun_with_plain_sql_and_one_of_ours_that_began_without_the_lock() {
    for name in WRITES {
        let home = tempfile::tempdir().unwrap();
        let pool = in_file(&home, 2, Duration::from_mins(5)).await;
        run(&pool, PEOPLE).await;
        run(&pool, "INSERT INTO people (email, age) VALUES ('known', 1)").await;

        let mut conn = pool.acquire().await.unwrap();
        sqlx::raw_sql("BEGIN; SELECT count(*) FROM people").execute(&mut *conn).await.unwrap();
        run(&pool, "INSERT INTO people (email, age) VALUES ('other', 1)").await;
        let error = in_time(call(name, &mut *conn)).await.expect_err(name);
        assert!(error.is_retryable(), "{name}: {error}");
        sqlx::raw_sql("ROLLBACK").execute(&mut *conn).await.unwrap();
        assert_eq!(OnSqlite::temporary_tables(&mut conn).await, Vec::<String>::new(), "{name}");
        drop(conn);

        let mut tx = TransactionOptions::new().read_only().begin(&pool).await.unwrap();
        Person::find(&mut tx, by_email("known")).await.unwrap();
        run(&pool, "INSERT INTO people (email, age) VALUES ('another', 1)").await;
        let error = in_time(call(name, &mut tx)).await.expect_err(name);
        assert!(error.is_retryable(), "{name}: {error}");
        // Nothing of it is written, and what is read is as it was.
        assert!(Person::find(&mut tx, by_email("another")).await.unwrap().is_none(), "{name}");
        tx.commit().await.unwrap();
        assert_eq!(number(&pool, "SELECT count(*) FROM people").await, 3, "{name}");
        assert_clean(&pool, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_a_transaction_whose_begin_is_not_let_in_is_tried_again() {
    let home = tempfile::tempdir().unwrap();
    let pool = in_file(&home, 3, Duration::ZERO).await;
    run(&pool, PEOPLE).await;
    let mut writer = upsertable::begin(&pool).await.unwrap();
    Person::upsert(&mut writer, person("known", 1)).await.unwrap();

    let runs = AtomicU32::new(0);
    let work = async |tx: &mut Transaction<Sqlite>| {
        runs.fetch_add(1, Ordering::SeqCst);
        Person::upsert(tx, person("known", 2)).await.map(|outcome| outcome.created)
    };
    let quick = || TransactionOptions::new().backoff(Duration::from_millis(1), Duration::from_millis(1));
    let (refused, seen) = statements(quick().attempts(3).run(&pool, work)).await;
    assert!(refused.unwrap_err().is_retryable());
    assert_eq!(
        (seen, runs.load(Ordering::SeqCst)),
        (vec!["BEGIN IMMEDIATE".to_owned(); 3], 0),
        "the closure has not been run"
    );

    let waiting = quick().attempts(1_000_000).run(&pool, work);
    let (created, ()) = tokio::join!(waiting, async { writer.commit().await.map(drop).unwrap() });
    assert!(!created.unwrap());
    assert_eq!((runs.into_inner(), number(&pool, "SELECT age FROM people").await), (1, 2));
}
