//! Transactions as closures: `transaction`, `TransactionOptions`.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use sqlx::Database as _;
use tokio::task::JoinSet;
use upsertable::{
    BoxError, Error, Hooks, Isolation, Transaction, TransactionOptions, Upsertable as _, testing::statements,
};
use upsertable_tests::{
    at_every_poll,
    models::{Account, Retweet, Word, account, retweet},
    panic_text,
};

use super::{
    CALLERS, Db, Fixture, ImportError, kind, plain,
    statements::{data, of_a_missing_row},
};

/// Options of a transaction that can lose, and is retried soon.
fn quick() -> TransactionOptions {
    let options = TransactionOptions::new().backoff(Duration::from_millis(1), Duration::from_millis(2));
    // SQLite's transactions begin with the write lock and never lose; one that says it will only read does not.
    if Db::NAME == "SQLite" { options.read_only() } else { options }
}

/// Runs a statement that loses against another transaction.
async fn lose(db: &Fixture, tx: &mut Transaction<Db>) -> sqlx::Error {
    let raise = match Db::NAME {
        "PostgreSQL" => "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure'; END $$",
        "MySQL" => "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'lost'",
        _ => {
            let _: i64 = sqlx::query_scalar("SELECT count(*) FROM counted").fetch_one(&mut **tx).await.unwrap();
            db.run("INSERT INTO counted (k) SELECT count(*) FROM counted").await;
            "INSERT INTO words (word) VALUES ('lost')"
        }
    };
    sqlx::raw_sql(raise).execute(&mut **tx).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_committed_when_its_closure_is_ok_and_rolled_back_when_it_is_not() {
    let db = Fixture::with_connections(1).await;
    let (value, seen) = statements(upsertable::transaction(&db.pool, async |tx| {
        Retweet::get_or_create(&mut *tx, retweet(1, 1)).await?;
        Ok::<_, Error>(7)
    }))
    .await;
    assert_eq!((value.unwrap(), db.count("retweets").await), (7, 1));
    assert_eq!(
        (
            data(&seen).len(),
            seen[0].starts_with("BEGIN") || seen[0].starts_with("START"),
            seen.last().unwrap().as_str()
        ),
        (of_a_missing_row(&db), true, "COMMIT"),
        "{seen:?}"
    );

    let failed = upsertable::transaction(&db.pool, async |tx| {
        Retweet::get_or_create(&mut *tx, retweet(2, 2)).await?;
        tx.on_commit(async { panic!("a callback of a transaction that failed") });
        Err::<(), _>(ImportError::Line(7))
    });
    assert!(matches!(failed.await, Err(ImportError::Line(7))));
    assert_eq!(db.count("retweets").await, 1);
    db.assert_pool_clean("after a closure that failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_is_no_conflict_is_given_back_at_once() {
    let db = Fixture::new().await;
    Account::get_or_create(&db.pool, account("a@x", "taken")).await.unwrap();
    let runs = AtomicU32::new(0);
    let failed = upsertable::transaction(&db.pool, async |tx| {
        runs.fetch_add(1, Ordering::SeqCst);
        Account::get_or_create(tx, account("b@x", "taken")).await.map(drop)
    });
    assert_eq!(kind(&failed.await.unwrap_err()), "OtherUnique");
    assert_eq!(runs.into_inner(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_a_transaction_that_lost_is_run_again_whatever_its_error_has_become() {
    let db = Fixture::new().await;
    for error_type in ["ours", "boxed", "own", "text"] {
        let runs = AtomicU32::new(0);
        let value = quick()
            .run(&db.pool, async |tx: &mut Transaction<Db>| -> Result<u32, BoxError> {
                let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
                if run < 3 {
                    let error = lose(&db, tx).await;
                    return Err(match error_type {
                        "ours" => Error::from(error).into(),
                        "boxed" => error.into(),
                        "own" => ImportError::Line(1).into(),
                        _ => "it did not work".into(),
                    });
                }
                Word::get_or_create(tx, Word { word: error_type.into() }).await?;
                Ok(run)
            })
            .await;
        assert_eq!(value.unwrap(), 3, "{error_type}");
        assert_eq!(runs.into_inner(), 3, "{error_type}");
    }
    assert_eq!(db.count("words").await, 4, "one row of each last try");
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_a_retried_transaction_runs_the_callbacks_and_hooks_of_its_last_try_only() {
    let db = Fixture::new().await;
    let (lines, runs) = (Arc::new(Mutex::new(Vec::new())), AtomicU32::new(0));
    let note = |line: String| lines.lock().unwrap().push(line);
    let mut hooks = Hooks::new();
    let told = Arc::clone(&lines);
    Retweet::after_commit(&mut hooks, async move |rows: Arc<[Retweet]>| {
        let rows: Vec<i64> = rows.iter().map(|row| row.retweeter).collect();
        told.lock().unwrap().push(format!("hook: {rows:?}"));
    });
    let work = async |tx: &mut Transaction<Db>| -> Result<(), Error> {
        let run = i64::from(runs.fetch_add(1, Ordering::SeqCst) + 1);
        note(format!("run {run}"));
        let told = Arc::clone(&lines);
        tx.on_commit(async move { told.lock().unwrap().push(format!("callback of run {run}")) });
        if run == 1 {
            return Err(lose(&db, tx).await.into());
        }
        Retweet::get_or_create(&mut *tx, retweet(1, run)).await?;
        if run == 2 {
            let told = Arc::clone(&lines);
            let undone = tx.savepoint(async move |tx| {
                tx.on_commit(async move { told.lock().unwrap().push("never".into()) });
                Retweet::bulk_create_new(&mut *tx, [retweet(1, 70), retweet(1, 71)]).await?;
                Err::<(), _>(Error::from(sqlx::Error::RowNotFound))
            });
            undone.await.unwrap_err();
        }
        Retweet::bulk_get_or_create(&mut *tx, [retweet(1, run), retweet(1, run + 10)]).await?;
        Ok(())
    };
    quick().hooks(&hooks).run(&db.pool, work).await.unwrap();
    assert_eq!(*lines.lock().unwrap(), ["run 1", "run 2", "hook: [2, 12]", "callback of run 2"]);
    assert_eq!(db.numbers("SELECT retweeter FROM retweets ORDER BY 1").await, [2, 12]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_always_loses_is_given_up_after_its_attempts() {
    let db = Fixture::with_connections(1).await;
    for attempts in [0, 1, 2, 5] {
        let runs = AtomicU32::new(0);
        let failed = quick().attempts(attempts).run(&db.pool, async |tx: &mut Transaction<Db>| {
            runs.fetch_add(1, Ordering::SeqCst);
            tx.on_commit(async { panic!("a callback of a transaction that failed") });
            Err::<(), _>(Error::from(lose(&db, tx).await))
        });
        let error = failed.await.unwrap_err();
        assert!(error.is_retryable(), "the last try's own error: {error}");
        assert_eq!(runs.into_inner(), attempts.max(1));
        db.assert_pool_clean("after the last try").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_the_closure_hides_is_no_reason_to_give_up_what_is_whole_and_none_to_keep_what_is_not() {
    let db = Fixture::with_connections(1).await;
    let runs = AtomicU32::new(0);
    let outcome = quick().run(&db.pool, async |tx: &mut Transaction<Db>| {
        runs.fetch_add(1, Ordering::SeqCst);
        if runs.load(Ordering::SeqCst) == 1 {
            lose(&db, tx).await;
        }
        Ok::<_, Error>(())
    });
    outcome.await.unwrap();
    // SQLite has refused the one statement only; the others have ended the transaction, so that COMMIT fails and all is done again.
    assert_eq!(runs.into_inner(), if Db::NAME == "SQLite" { 1 } else { 2 });
    db.assert_pool_clean("after a hidden conflict").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_read_and_then_write_lose_nothing() {
    const ROUNDS: i64 = 25;
    let db = Fixture::new().await;
    db.run("INSERT INTO accounts (email, handle, age) VALUES ('a@x', 'a', 0)").await;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let pool = db.pool.clone();
        callers.spawn(async move {
            let options = TransactionOptions::new().isolation(Isolation::Serializable).attempts(1_000);
            let options = options.backoff(Duration::from_millis(1), Duration::from_millis(20));
            for _ in 0..ROUNDS {
                let work = async |tx: &mut Transaction<Db>| {
                    let age: i64 = sqlx::query_scalar("SELECT age FROM accounts").fetch_one(&mut **tx).await?;
                    let update = format!("UPDATE accounts SET age = {}", age + 1);
                    sqlx::query(plain(&update)).execute(&mut **tx).await?;
                    Ok::<_, Error>(())
                };
                options.clone().run(&pool, work).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    assert_eq!(db.number("SELECT age FROM accounts").await, CALLERS * ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_closure_rolls_back_and_goes_on_as_a_panic() {
    let db = Fixture::with_connections(1).await;
    let panics = upsertable::transaction(&db.pool, async |tx| {
        let made = Retweet::get_or_create(&mut *tx, retweet(1, 1)).await?;
        tx.on_commit(async { panic!("a callback of a transaction that panicked") });
        assert!(!made.created, "in the closure");
        Ok::<_, Error>(())
    });
    let panic = AssertUnwindSafe(panics).catch_unwind().await.unwrap_err();
    assert_eq!(panic_text(&*panic), "in the closure");
    db.assert_pool_clean("after a panic in the closure").await;
    assert_eq!(db.count("retweets").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_transaction_closure_dropped_half_way_keeps_all_or_nothing_and_runs_its_callbacks_only_if_kept() {
    let db = Fixture::with_connections(1).await;
    at_every_poll(3, async |cut| {
        let when = format!("transaction {cut}");
        let (told, tells) = tokio::sync::oneshot::channel();
        let told = Mutex::new(Some(told));
        let work = async |tx: &mut Transaction<Db>| {
            let told = told.lock().unwrap().take().unwrap();
            tx.on_commit(async move { told.send(()).unwrap() });
            Account::get_or_create(&mut *tx, account("a@x", "a")).await?;
            tx.savepoint(async |tx| Retweet::bulk_get_or_create(tx, (0..3).map(|number| retweet(1, number))).await)
                .await?;
            Ok::<_, Error>(())
        };
        let done = cut.short(upsertable::transaction(&db.pool, work)).await;
        let done = done.map(Result::unwrap).is_some();
        drop(told);
        let called = tells.await.is_ok();
        db.assert_pool_clean(&when).await;
        let rows = (db.count("retweets").await, db.count("accounts").await);
        assert_eq!(rows, if called { (3, 1) } else { (0, 0) }, "{when}");
        assert!(called || !done);
        db.run("DELETE FROM retweets").await;
        db.run("DELETE FROM accounts").await;
        done
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_closure_may_capture_borrow_and_run_in_a_task() {
    let db = Fixture::new().await;
    let pool = db.pool.clone();
    let task = tokio::spawn(async move {
        let name = String::from("borrowed");
        let runs = AtomicU32::new(0);
        let length: Result<usize, BoxError> = upsertable::transaction(&pool, async |tx| {
            runs.fetch_add(1, Ordering::SeqCst);
            Word::get_or_create(&mut *tx, Word { word: name.clone() }).await?;
            let owned = name.clone();
            tx.savepoint(async move |tx| Word::get_or_create(tx, Word { word: owned + "!" }).await).await?;
            Ok(name.len())
        })
        .await;
        (length.unwrap(), runs.into_inner())
    });
    assert_eq!(task.await.unwrap(), (8, 1));
    assert_eq!(db.count("words").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pool_is_an_error_of_the_transaction() {
    let db = Fixture::new().await;
    db.pool.close().await;
    let failed =
        upsertable::transaction(&db.pool, async |_| -> Result<(), Error> { panic!("there is no transaction") });
    assert!(matches!(failed.await, Err(Error::Sql(sqlx::Error::PoolClosed))));
}
