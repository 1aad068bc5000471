//! Every call, dropped at each of its polls, on every handle.
//!
//! Nothing half-done is left, and the connection's next transaction is a real one.

use futures_util::{StreamExt as _, future::BoxFuture, stream};
use sqlx::Connection as _;
use upsertable::{EndReason, Error, Handle, Upsertable as _};
use upsertable_tests::{Cut, TestDb as _, at_every_poll};

use super::{
    Db, Fixture, Subject, kind,
    tables::{self, NewSong, Song, song, song_key},
};

/// Number of times each call is cut at each poll.
///
/// Which of its steps a poll meets is up to the threads.
const SWEEPS: usize = 3;

/// A call to be cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Find,
    FindAll,
    GetOrCreate,
    GetOrCreateWith,
    GetOrCreateFound,
    UpsertNew,
    UpsertFound,
    BulkCreateNew,
    BulkGetOrCreate,
    BulkUpsert,
}

const EVERY: [Step; 10] = [
    Step::Find,
    Step::FindAll,
    Step::GetOrCreate,
    Step::GetOrCreateWith,
    Step::GetOrCreateFound,
    Step::UpsertNew,
    Step::UpsertFound,
    Step::BulkCreateNew,
    Step::BulkGetOrCreate,
    Step::BulkUpsert,
];

/// Scores of the songs before a call: one is there.
const BEFORE: [i64; 1] = [1];

impl Step {
    /// Makes the call.
    ///
    /// Between the rows of a bulk call the task gives way, so that it can be dropped there.
    fn call<'a>(self, db: impl Handle<'a, Db>) -> BoxFuture<'a, Result<(), Error>> {
        let rows = || {
            let rows = [song("known", 2, "x"), song("a", 3, "x"), song("b", 4, "x"), song("a", 5, "x")];
            Song::bulk_stream(stream::iter(rows).then(|row: NewSong| async {
                tokio::task::yield_now().await;
                row
            }))
        };
        Box::pin(async move {
            match self {
                Self::Find => Song::find(db, song_key("known")).await.map(drop),
                Self::FindAll => Song::find_all(db, ["known", "none"].map(song_key)).await.map(drop),
                Self::GetOrCreate => Song::get_or_create(db, song("a", 3, "x")).await.map(drop),
                Self::GetOrCreateWith => {
                    let make = async || {
                        tokio::task::yield_now().await;
                        Ok::<_, Error>(song("a", 3, "x"))
                    };
                    Song::get_or_create_with(db, song_key("a"), make).await.map(drop)
                }
                Self::GetOrCreateFound => Song::get_or_create(db, song("known", 3, "x")).await.map(drop),
                Self::UpsertNew => Song::upsert(db, song("a", 3, "x")).await.map(drop),
                Self::UpsertFound => Song::upsert(db, song("known", 2, "x")).await.map(drop),
                Self::BulkCreateNew => rows().create_new(db).await.map(drop),
                Self::BulkGetOrCreate => rows().get_or_create(db).await.map(drop),
                Self::BulkUpsert => rows().upsert(db).await.map(drop),
            }
        })
    }

    /// Scores of the songs after the call, in order of names.
    fn after(self) -> &'static [i64] {
        match self {
            Self::Find | Self::FindAll | Self::GetOrCreateFound => &BEFORE,
            Self::GetOrCreate | Self::GetOrCreateWith | Self::UpsertNew => &[3, 1],
            Self::UpsertFound => &[2],
            Self::BulkCreateNew | Self::BulkGetOrCreate => &[3, 4, 1],
            Self::BulkUpsert => &[5, 4, 2],
        }
    }

    fn writes(self) -> bool {
        self.after() != BEFORE
    }
}

async fn reset(db: &Fixture) {
    db.run("DELETE FROM songs").await;
    db.run("DELETE FROM words").await;
    db.run("INSERT INTO songs (name, score, added_by) VALUES ('known', 1, 'x')").await;
}

async fn scores(db: &Fixture) -> Vec<i64> {
    db.numbers("SELECT score FROM songs ORDER BY name").await
}

/// A row that shows whether a transaction was kept.
fn mark(number: i64) -> sqlx::query::Query<'static, Db, <Db as sqlx::Database>::Arguments> {
    sqlx::query(super::plain(&format!("INSERT INTO words (word) VALUES ('{number}')")))
}

/// Checks that all or nothing of the call is there.
///
/// What is done and has not been told of counts as done.
async fn assert_whole(db: &Fixture, step: Step, done: bool, when: &str) {
    let scores = scores(db).await;
    assert!(scores == step.after() || (!done && scores == BEFORE), "{when}: {scores:?}");
}

/// Checks that the pool's next user gets a real transaction.
///
/// They meet nothing of the call, and others see their work when it is committed and not before.
async fn assert_next_transaction_is_real(db: &Fixture, when: &str) {
    db.assert_pool_clean(when).await;
    let words = db.count("words").await;
    for commits in [false, true] {
        let mut theirs = db.pool.begin().await.unwrap_or_else(|error| panic!("{when}: {error}"));
        mark(90).execute(&mut *theirs).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(db.count("words").await, words, "{when}: a row is seen before its commit");
        if commits {
            theirs.commit().await.unwrap();
        } else {
            theirs.rollback().await.unwrap();
        }
        assert_eq!(db.count("words").await, words + i64::from(commits), "{when}: committed: {commits}");
    }
}

/// Makes each call and drops it at each of its polls, as `attempt` does it.
async fn drop_each(
    steps: impl IntoIterator<Item = Step>,
    sweeps: usize,
    attempt: impl AsyncFn(&Fixture, Step, Cut, &str) -> Outcome,
) {
    let db = tables::fixture_of(1).await;
    for step in steps {
        at_every_poll(sweeps, async |cut| {
            reset(&db).await;
            let done = attempt(&db, step, cut, &format!("{step:?} {cut}")).await;
            done.map(Result::unwrap).is_some()
        })
        .await;
    }
}

/// Result of a call, `None` if it was dropped.
type Outcome = Option<Result<(), Error>>;

/// Drops every call, after which all or nothing of it is there.
///
/// The pool's next user gets a real transaction.
async fn assert_each_is_whole(attempt: impl AsyncFn(&Fixture, Step, Cut, &str) -> Outcome) {
    drop_each(EVERY, SWEEPS, async |db, step, cut, when| {
        let done = attempt(db, step, cut, when).await;
        assert_next_transaction_is_real(db, when).await;
        assert_whole(db, step, done.is_some(), when).await;
        done
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_every_call_dropped_on_a_pool() {
    assert_each_is_whole(async |db, step, cut, _| cut.short(step.call(&db.pool)).await).await;
}

/// A pool's connection is clean for whoever is given it next.
///
/// Given to the call as the pool's, the connection is looked after.
#[tokio::test(flavor = "multi_thread")]
async fn b7_every_call_dropped_on_a_connection_of_a_pool() {
    assert_each_is_whole(async |db, step, cut, when| {
        let mut conn = db.pool.acquire().await.unwrap();
        let done = cut.short(step.call(&mut conn)).await;
        drop(conn);
        // Without a transaction, a row that is said to be stored is.
        let insert = mark(1).execute(&db.pool).await;
        insert.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(db.count("words").await, 1, "{when}");
        done
    })
    .await;
}

/// A connection that is closed after a drop keeps nothing of it.
///
/// Where the driver does not go on after what was given up, the docs say to close the connection: then nothing of it is met, bare or in a
/// transaction of sqlx or of plain SQL.
#[tokio::test(flavor = "multi_thread")]
async fn b7_every_call_dropped_on_a_connection_that_is_closed_then() {
    for around in ["nothing", "sqlx", "plain SQL"] {
        drop_each(EVERY, 1, async |db, step, cut, when| {
            let when = format!("in {around} {when}");
            let mut conn = db.pool.acquire().await.unwrap();
            let done = match around {
                "sqlx" => {
                    let mut theirs = conn.begin().await.unwrap();
                    mark(1).execute(&mut *theirs).await.unwrap();
                    cut.short(step.call(&mut *theirs)).await
                }
                "plain SQL" => {
                    sqlx::raw_sql("BEGIN").execute(&mut *conn).await.unwrap();
                    mark(1).execute(&mut *conn).await.unwrap();
                    cut.short(step.call(&mut *conn)).await
                }
                _ => cut.short(step.call(&mut *conn)).await,
            };
            conn.close_on_drop();
            drop(conn);
            db.assert_pool_clean(&when).await;
            assert_eq!(db.count("words").await, 0, "{when}");
            assert_next_transaction_is_real(db, &when).await;
            if around == "nothing" {
                assert_whole(db, step, done.is_some(), &when).await;
            } else {
                assert_eq!(scores(db).await, BEFORE, "{when}: nobody has committed it");
            }
            done
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_every_call_dropped_on_a_connection() {
    // There the connection is to be closed: see above.
    if !Subject::GIVEN_UP_GOES_ON {
        return;
    }
    assert_each_is_whole(async |db, step, cut, when| {
        let mut conn = db.pool.acquire().await.unwrap();
        let done = cut.short(step.call(&mut *conn)).await;
        // The connection has not been back to the pool, which would have looked after it.
        let mut theirs = conn.begin().await.unwrap_or_else(|error| panic!("{when}: {error}"));
        mark(1).execute(&mut *theirs).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(db.count("words").await, 0, "{when}: a row is seen before its commit");
        theirs.commit().await.unwrap();
        assert_eq!(db.count("words").await, 1, "{when}");
        Fixture::assert_clean(&mut conn, when).await;
        done
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_every_call_dropped_in_an_sqlx_transaction() {
    // There the connection is to be closed: see above.
    if !Subject::GIVEN_UP_GOES_ON {
        return;
    }
    assert_each_is_whole(async |db, step, cut, when| {
        let mut theirs = db.pool.begin().await.unwrap();
        mark(1).execute(&mut *theirs).await.unwrap();
        let done = cut.short(step.call(&mut *theirs)).await;
        assert_eq!(Subject::temporary_tables(&mut theirs).await, Vec::<String>::new(), "{when}");
        // A savepoint of sqlx's own goes by its count of what is open.
        let mut nested = theirs.begin().await.unwrap_or_else(|error| panic!("{when}: {error}"));
        mark(2).execute(&mut *nested).await.unwrap();
        nested.rollback().await.unwrap();
        mark(3).execute(&mut *theirs).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(db.count("words").await, 0, "{when}: it is still one transaction");
        theirs.commit().await.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(db.count("words").await, 2, "{when}: the work before and after is kept");
        done
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_every_call_dropped_in_a_transaction_of_plain_sql() {
    // There the connection is to be closed: see above.
    if !Subject::GIVEN_UP_GOES_ON {
        return;
    }
    assert_each_is_whole(async |db, step, cut, when| {
        let mut conn = db.pool.acquire().await.unwrap();
        sqlx::raw_sql("BEGIN").execute(&mut *conn).await.unwrap();
        mark(1).execute(&mut *conn).await.unwrap();
        let done = cut.short(step.call(&mut *conn)).await;
        mark(2).execute(&mut *conn).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(db.count("words").await, 0, "{when}: it is still one transaction");
        sqlx::raw_sql("COMMIT").execute(&mut *conn).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        Fixture::assert_clean(&mut conn, when).await;
        assert_eq!(db.count("words").await, 2, "{when}: the work before and after is kept");
        done
    })
    .await;
}

/// Checks the transaction in which a call was dropped.
///
/// It goes on as if the call had not been, or it has ended. `None` says that it was not dropped.
async fn assert_goes_on_or_ended(
    db: &Fixture,
    mut tx: upsertable::Transaction<Db>,
    step: Step,
    dropped: bool,
    when: &str,
) {
    let found = Song::find(&mut tx, song_key("known")).await;
    let kept = match found {
        Ok(found) => {
            assert!(found.is_some(), "{when}");
            mark(2).execute(&mut *tx).await.unwrap_or_else(|error| panic!("{when}: {error}"));
            assert_eq!(db.count("words").await, 0, "{when}: it is still one transaction");
            tx.commit().await.unwrap_or_else(|error| panic!("{when}: {error}"));
            true
        }
        Err(error) => {
            assert!(matches!(error, Error::Ended { reason: EndReason::Cancelled, .. }), "{when}: {error}");
            assert!(dropped && (step.writes() || !Subject::GIVEN_UP_GOES_ON), "{when}: what only reads ends nothing");
            mark(2).execute(&mut *tx).await.expect_err("plain sqlx is refused too");
            assert_eq!(kind(&tx.commit().await.unwrap_err()), "Ended", "{when}");
            false
        }
    };
    assert_next_transaction_is_real(db, when).await;
    let (words, scores) = (db.count("words").await, scores(db).await);
    // One word is that of the check before.
    assert_eq!(words, if kept { 3 } else { 1 }, "{when}");
    assert_eq!(
        scores,
        if kept && !dropped { step.after() } else { &BEFORE },
        "{when}: a call that was dropped keeps no row"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_every_call_dropped_in_our_transaction() {
    drop_each(EVERY, SWEEPS, async |db, step, cut, when| {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        mark(1).execute(&mut *tx).await.unwrap();
        let done = cut.short(step.call(&mut tx)).await;
        assert_goes_on_or_ended(db, tx, step, done.is_none(), when).await;
        done
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_every_call_dropped_in_a_savepoint_with_a_hook() {
    let steps = [Step::BulkCreateNew, Step::BulkGetOrCreate, Step::BulkUpsert, Step::UpsertNew];
    drop_each(steps, SWEEPS, async |db, step, cut, when| {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Song::after_commit(&mut tx, async |_| {});
        mark(1).execute(&mut *tx).await.unwrap();
        let done = cut.short(tx.savepoint(async move |tx| step.call(tx).await)).await;
        if done.is_some() {
            assert_goes_on_or_ended(db, tx, step, false, when).await;
            return done;
        }
        let error = Song::find(&mut tx, song_key("known")).await.unwrap_err();
        assert!(matches!(error, Error::Ended { reason: EndReason::Cancelled, .. }), "{when}: {error}");
        assert_eq!(kind(&tx.commit().await.unwrap_err()), "Ended", "{when}");
        assert_next_transaction_is_real(db, when).await;
        assert_eq!((scores(db).await, db.count("words").await), (BEFORE.to_vec(), 1), "{when}");
        done
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_begin_commit_and_rollback_dropped_leave_a_connection_whose_next_transaction_is_real() {
    let db = tables::fixture_of(1).await;
    for end in ["begin", "commit", "rollback", "drop"] {
        at_every_poll(SWEEPS, async |cut| {
            let when = format!("{end} {cut}");
            reset(&db).await;
            if end == "begin" {
                let done = cut.short(upsertable::begin(&db.pool)).await.map(Result::unwrap).is_some();
                assert_next_transaction_is_real(&db, &when).await;
                return done;
            }
            let mut tx = upsertable::begin(&db.pool).await.unwrap();
            Step::BulkUpsert.call(&mut tx).await.unwrap();
            let done = match end {
                "commit" => cut.short(tx.commit()).await.map(|outcome| drop(outcome.unwrap())),
                "rollback" => cut.short(tx.rollback()).await.map(Result::unwrap),
                _ => {
                    drop(tx);
                    Some(())
                }
            };
            assert_next_transaction_is_real(&db, &when).await;
            // A commit that has been asked for is not called back by dropping its future.
            assert_eq!(scores(&db).await, if end == "commit" { Step::BulkUpsert.after() } else { &BEFORE }, "{when}");
            done.is_some()
        })
        .await;
    }
}
