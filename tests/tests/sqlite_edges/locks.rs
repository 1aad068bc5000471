//! Transactions begun without the write lock, and locks not granted.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::Sqlite;
use upsertable::{Transaction, TransactionOptions, Upsertable as _, testing::statements};
use upsertable_tests::{
    OnSqlite, TestDb as _,
    models::{Retweet, RetweetKey, retweet},
};

use crate::{
    Fixture, PEOPLE, Person, READS, WRITES, assert_clean, by_email, call, in_file, number, person, retweets, run,
    with_rollback_journal, with_schema,
};

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
    let pool = in_file(&home, 2, Duration::ZERO).await;
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
    let pool = in_file(&home, 2, Duration::ZERO).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_commit_that_a_reader_stands_in_the_way_of_runs_no_callback() {
    let home = tempfile::tempdir().unwrap();
    // With a rollback journal COMMIT waits for readers.
    let pool = with_rollback_journal(&home, 2).await;
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
