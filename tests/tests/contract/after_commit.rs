//! Callbacks that run after the commit.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use upsertable::{Committed, Error, Transaction, Upsertable as _};
use upsertable_tests::{
    Cut, TestDb as _, at_every_poll, keep_log, logged,
    models::{Account, Pledge, Retweet, account, retweet},
};

use super::{Db, Fixture, Subject, kind};

/// Lines that callbacks have told, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Registers a callback that tells this line.
    fn on_commit(&self, tx: &mut Transaction<Db>, line: &'static str) {
        let log = self.clone();
        tx.on_commit(async move { log.push(line) });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_callbacks_run_once_the_commit_is_seen_by_others() {
    let db = Fixture::new().await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    let (seen_by, outside) = (log.clone(), db.outside.clone());
    tx.on_commit(async move {
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM retweets").fetch_one(&outside).await?;
        seen_by.push(format!("{rows} row"));
        Ok::<_, sqlx::Error>(())
    });
    assert_eq!((db.count("retweets").await, log.lines().len()), (0, 0));
    let committed = tx.commit().await.unwrap();
    assert!(committed.failures().is_empty());
    assert_eq!(log.lines(), ["1 row"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_callbacks_run_in_the_order_registered_one_after_the_other() {
    let db = Fixture::new().await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    for number in 0..50 {
        let log = log.clone();
        tx.on_commit(async move {
            log.push(format!("{number} begins"));
            tokio::task::yield_now().await;
            log.push(format!("{number} ends"));
        });
    }
    tx.commit().await.unwrap();
    let expected: Vec<String> =
        (0..50).flat_map(|number| [format!("{number} begins"), format!("{number} ends")]).collect();
    assert_eq!(log.lines(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_the_connection_is_back_in_the_pool_before_the_first_callback() {
    let db = Fixture::with_connections(1).await;
    let pool = db.pool.clone();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    tx.on_commit(async move { pool.acquire().await.map(drop) });
    assert!(tx.commit().await.unwrap().failures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_transaction_without_callbacks_commits() {
    let db = Fixture::new().await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    let committed: Committed = tx.commit().await.unwrap();
    assert!(committed.failures().is_empty());
    assert_eq!(db.count("retweets").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_transaction_that_the_database_ended_runs_none() {
    let db = Fixture::with_connections(1).await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    log.on_commit(&mut tx, "never");
    Subject::spoil(&mut tx, &db.outside).await;
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(kind(&error), "Ended" | "RolledBack"), "{error}");
    assert_eq!(log.lines(), Vec::<String>::new());
    db.assert_pool_clean("after a commit that failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_constraint_that_fails_at_commit_runs_none() {
    let db = Fixture::with_connections(1).await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    log.on_commit(&mut tx, "never");
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    let early = Pledge::get_or_create(&mut tx, Pledge { code: "a".into(), account: 404 }).await;
    if Subject::DEFERRED_CONSTRAINTS {
        assert!(early.unwrap().created);
        let error = tx.commit().await.unwrap_err();
        assert_eq!(kind(&error), "Sql", "{error}");
        assert!(!error.is_retryable() && !error.is_connection_lost());
    } else {
        assert_eq!(kind(&early.unwrap_err()), "Sql");
        tx.rollback().await.unwrap();
    }
    assert_eq!(log.lines(), Vec::<String>::new());
    db.assert_pool_clean("after a commit that failed").await;
    assert_eq!((db.count("retweets").await, db.count("pledges").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_rollback_drops_the_callbacks() {
    let db = Fixture::with_connections(1).await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    log.on_commit(&mut tx, "never");
    tx.rollback().await.unwrap();
    // The callbacks of one transaction are not those of the connection's next.
    upsertable::begin(&db.pool).await.unwrap().commit().await.unwrap();
    assert_eq!((log.lines().len(), db.count("retweets").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_dropping_the_transaction_drops_the_callbacks() {
    let db = Fixture::with_connections(1).await;
    let log = Log::default();
    for nested in [false, true] {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
        log.on_commit(&mut tx, "never");
        if nested {
            tx.savepoint(async |tx| Retweet::get_or_create(tx, retweet(1, 2)).await).await.unwrap();
        }
        drop(tx);
        db.assert_pool_clean("after a dropped transaction").await;
        upsertable::begin(&db.pool).await.unwrap().commit().await.unwrap();
    }
    assert_eq!((log.lines().len(), db.count("retweets").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_rolling_back_to_a_savepoint_drops_exactly_the_callbacks_inside() {
    let db = Fixture::new().await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    log.on_commit(&mut tx, "before");
    let kept = tx.savepoint(async |tx| {
        log.on_commit(tx, "in the first");
        Retweet::get_or_create(tx, retweet(1, 1)).await
    });
    kept.await.unwrap();
    let undone = tx.savepoint(async |tx| {
        log.on_commit(tx, "never");
        Retweet::get_or_create(&mut *tx, retweet(2, 2)).await?;
        Retweet::bulk_create_new(&mut *tx, (0..10).map(|number| retweet(3, number))).await?;
        Err::<(), _>(super::ImportError::Line(3))
    });
    assert!(matches!(undone.await, Err(super::ImportError::Line(3))));
    log.on_commit(&mut tx, "after");
    tx.commit().await.unwrap();
    assert_eq!(log.lines(), ["before", "in the first", "after"]);
    assert_eq!(db.count("retweets").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_released_savepoint_inside_one_that_is_undone_goes_with_it() {
    let db = Fixture::new().await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    log.on_commit(&mut tx, "outermost");
    let outer = tx.savepoint(async |tx| {
        log.on_commit(tx, "never: outer");
        let inner = tx.savepoint(async |tx| {
            log.on_commit(tx, "never: inner");
            tx.savepoint(async |tx| {
                log.on_commit(tx, "never: innermost");
                Retweet::get_or_create(tx, retweet(1, 1)).await
            })
            .await
        });
        inner.await?;
        assert_eq!(log.lines(), Vec::<String>::new(), "a release is no commit");
        Err::<(), _>(Error::from(sqlx::Error::RowNotFound))
    });
    outer.await.unwrap_err();
    tx.commit().await.unwrap();
    assert_eq!(log.lines(), ["outermost"]);
    assert_eq!(db.count("retweets").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_an_undone_savepoint_inside_a_released_one_goes_alone() {
    let db = Fixture::new().await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let outer = tx.savepoint(async |tx| {
        log.on_commit(tx, "outer, before");
        let inner = tx.savepoint(async |tx| {
            log.on_commit(tx, "never");
            Retweet::get_or_create(&mut *tx, retweet(1, 1)).await?;
            Err::<(), _>(Error::from(sqlx::Error::RowNotFound))
        });
        inner.await.unwrap_err();
        log.on_commit(tx, "outer, after");
        Retweet::get_or_create(tx, retweet(2, 2)).await
    });
    outer.await.unwrap();
    assert_eq!(log.lines(), Vec::<String>::new(), "callbacks wait for the outermost commit");
    tx.commit().await.unwrap();
    assert_eq!(log.lines(), ["outer, before", "outer, after"]);
    assert_eq!(db.numbers("SELECT tweet FROM retweets").await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_panic_in_a_savepoint_undoes_it_and_goes_on_as_a_panic() {
    use futures_util::FutureExt as _;
    let db = Fixture::new().await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    log.on_commit(&mut tx, "before");
    let panics = tx.savepoint(async |tx| {
        log.on_commit(tx, "never");
        let made = Retweet::get_or_create(tx, retweet(1, 1)).await?;
        assert!(!made.created, "in the savepoint");
        Ok::<_, Error>(())
    });
    let panic = std::panic::AssertUnwindSafe(panics).catch_unwind().await.unwrap_err();
    assert_eq!(upsertable_tests::panic_text(&*panic), "in the savepoint");
    Retweet::get_or_create(&mut tx, retweet(2, 2)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(log.lines(), ["before"]);
    assert_eq!(db.numbers("SELECT tweet FROM retweets").await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_savepoints_go_to_any_depth() {
    fn deeper(tx: &mut Transaction<Db>, depth: i64) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            Retweet::get_or_create(&mut *tx, retweet(depth, 0)).await?;
            if depth == 30 {
                return Err(sqlx::Error::RowNotFound.into());
            }
            // Every tenth takes its error for an answer.
            let outcome = tx.savepoint(async move |tx| deeper(tx, depth + 1).await).await;
            if depth % 10 == 5 { Ok(()) } else { outcome }
        })
    }
    let db = Fixture::new().await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    deeper(&mut tx, 0).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.numbers("SELECT tweet FROM retweets ORDER BY 1").await, (0..=25).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_all_callbacks_run_and_the_failures_are_told_in_order() {
    let db = Fixture::new().await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    log.on_commit(&mut tx, "first");
    tx.on_commit(async { Err::<(), _>(std::io::Error::other("the queue is full")) });
    log.on_commit(&mut tx, "second");
    tx.on_commit(async { panic!("no {}", "luck") });
    tx.on_commit(async { Err::<(), _>("a plain text") });
    log.on_commit(&mut tx, "third");
    let committed = tx.commit().await.expect("the data is saved");
    assert_eq!(log.lines(), ["first", "second", "third"]);
    let failures: Vec<String> = committed.failures().iter().map(ToString::to_string).collect();
    assert_eq!(failures.len(), 3, "{failures:?}");
    assert_eq!(failures[0], "the queue is full");
    assert!(failures[1].contains("no luck"), "{failures:?}");
    assert_eq!(failures[2], "a plain text");
    assert!(committed.failures()[0].downcast_ref::<std::io::Error>().is_some(), "an error keeps its type");
    assert_eq!(db.count("retweets").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_a_failure_is_logged_with_the_place_where_the_callback_was_registered() {
    keep_log();
    let db = Fixture::new().await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let first = line!() + 1;
    tx.on_commit(async { Err::<(), _>("failure of the method") });
    upsertable::on_commit(&mut tx, async { Err::<(), _>("failure of the function") }).await.unwrap();
    tx.savepoint(async |tx| {
        tx.on_commit(async { panic!("failure in a savepoint") });
        Ok::<_, Error>(())
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    upsertable::on_commit(&db.pool, async { Err::<(), _>("failure on a pool") }).await.unwrap();

    for (failure, line) in [("of the method", 0), ("of the function", 1), ("in a savepoint", 3), ("on a pool", 9)] {
        let lines = logged(&format!("failure {failure}"));
        assert_eq!(lines.len(), 1, "{failure}: {lines:?}");
        let place = format!("{}:{}:", file!(), first + line);
        assert!(lines[0].contains(&place), "{failure}: {place} in {}", lines[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_a_commit_dropped_while_a_callback_waits_loses_none() {
    let db = Fixture::with_connections(1).await;
    let ((told, tells), (open, gate)) = (oneshot::channel(), oneshot::channel::<()>());
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    tx.on_commit(async move { gate.await.unwrap() });
    tx.on_commit(async move { told.send(()).unwrap() });
    // The first callback waits, so the commit cannot be done when it is dropped.
    assert!(Cut::AT_FIRST.short(tx.commit()).await.is_none());
    open.send(()).unwrap();
    tells.await.expect("the second callback ran");
    assert_eq!(db.count("retweets").await, 1);
    db.assert_pool_clean("after a commit that was dropped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_a_commit_dropped_at_any_poll_loses_no_callback() {
    let db = Fixture::with_connections(1).await;
    let mut number = 0;
    at_every_poll(10, async |cut| {
        let when = format!("commit {cut}");
        number += 1;
        let (told, tells) = oneshot::channel();
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Retweet::get_or_create(&mut tx, retweet(1, number)).await.unwrap();
        tx.on_commit(async move { told.send(()).unwrap() });
        let done = cut.short(tx.commit()).await;
        tells.await.unwrap_or_else(|_| panic!("{when}: the callback was lost"));
        assert_eq!(db.count("retweets").await, number, "{when}");
        db.assert_pool_clean(&when).await;
        done.map(|done| assert!(done.unwrap().failures().is_empty())).is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_a_commit_future_that_is_never_polled_is_a_rollback() {
    let db = Fixture::with_connections(1).await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    log.on_commit(&mut tx, "never");
    drop(tx.commit());
    db.assert_pool_clean("after a commit that was never polled").await;
    assert_eq!((log.lines().len(), db.count("retweets").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_a_callback_may_open_transactions_with_callbacks_on_a_pool_of_one_connection() {
    let db = Fixture::with_connections(1).await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    let (pool, inner_log) = (db.pool.clone(), log.clone());
    tx.on_commit(async move {
        inner_log.push("outer begins");
        let mut tx = upsertable::begin(&pool).await?;
        Retweet::bulk_create_new(&mut tx, (0..5).map(|number| retweet(2, number))).await?;
        let (pool, innermost) = (pool.clone(), inner_log.clone());
        tx.on_commit(async move {
            let row = Retweet::get_or_create(&pool, retweet(3, 3)).await?.row;
            innermost.push(format!("inner: tweet {}", row.tweet));
            Ok::<_, Error>(())
        });
        let committed = tx.commit().await?;
        inner_log.push(format!("outer ends, {} failures", committed.failures().len()));
        Ok::<_, Error>(())
    });
    log.on_commit(&mut tx, "next");
    assert!(tx.commit().await.unwrap().failures().is_empty());
    assert_eq!(log.lines(), ["outer begins", "inner: tweet 3", "outer ends, 0 failures", "next"]);
    assert_eq!(db.count("retweets").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_commit_of_a_pool_runs_at_once_and_is_awaited() {
    let db = Fixture::new().await;
    let log = Log::default();
    let told = log.clone();
    let committed = upsertable::on_commit(&db.pool, async move { told.push("now") }).await.unwrap();
    assert!(committed.failures().is_empty());
    assert_eq!(log.lines(), ["now"]);
    let failed = upsertable::on_commit(&db.pool, async { Err::<(), _>("no") }).await.unwrap();
    assert_eq!(failed.failures().len(), 1);
    let panicked = upsertable::on_commit(&db.pool, async { panic!("no") }).await.unwrap();
    assert_eq!(panicked.failures().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_commit_of_a_pool_is_not_lost_when_its_future_is_dropped() {
    let db = Fixture::new().await;
    let ((told, tells), (open, gate)) = (oneshot::channel(), oneshot::channel::<()>());
    let callback = async move {
        gate.await.unwrap();
        told.send(()).unwrap();
    };
    assert!(Cut::AT_FIRST.short(upsertable::on_commit(&db.pool, callback)).await.is_none());
    open.send(()).unwrap();
    tells.await.expect("the callback ran to its end");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_commit_of_a_transaction_is_queued() {
    let db = Fixture::new().await;
    let log = Log::default();
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let (first, second, third) = (log.clone(), log.clone(), log.clone());
    upsertable::on_commit(&mut tx, async move { first.push("first") }).await.unwrap();
    upsertable::on_commit(&mut *tx, async move { second.push("second") }).await.unwrap();
    // It is queued by the call, whether its future is awaited or not.
    drop(upsertable::on_commit(&mut tx, async move { third.push("third") }));
    assert_eq!(log.lines(), Vec::<String>::new());
    let rolled_back: Result<(), Error> = tx
        .savepoint(async |tx| {
            let log = log.clone();
            upsertable::on_commit(&mut *tx, async move { log.push("never") }).await?;
            Account::get_or_create(tx, account("a@x", "a")).await?;
            Err(sqlx::Error::RowNotFound.into())
        })
        .await;
    rolled_back.unwrap_err();
    tx.commit().await.unwrap();
    assert_eq!(log.lines(), ["first", "second", "third"]);
}
