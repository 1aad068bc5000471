//! Calls that are dropped half-way or that panic.
//!
//! Also calls that meet a transaction which is no longer one.

use std::{future::pending, panic::AssertUnwindSafe};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use sqlx::Database as _;
use tokio::sync::oneshot;
use upsertable::{BulkCreated, EndReason, Error, Transaction, Upsertable as _};
use upsertable_tests::{
    Cut, TestDb as _, at_every_poll,
    models::{Account, NewRetweet, Retweet, RetweetKey, Wide, account, by_email, retweet, wide},
    panic_text,
};

use super::{Connection, Db, Fixture, Subject, kind, plain};

/// Number of times each call is cut at each poll.
const SWEEPS: usize = 5;

/// Table of the rows of most calls, and their number.
const RETWEETS: (&str, i64) = ("retweets", 1_200);

fn rows() -> impl Iterator<Item = NewRetweet> + Send {
    (0..1_200).map(|number| retweet(1, number))
}

/// Checks that every use of a transaction is refused.
async fn assert_ended(mut tx: Transaction<Db>, reason: EndReason, when: &str) {
    let is_ended = |error: &Error| matches!(error, Error::Ended { reason: seen, .. } if *seen == reason);
    let refused = [
        Retweet::get_or_create(&mut tx, retweet(1, 1)).await.map(drop),
        Retweet::get_or_create_with(&mut tx, RetweetKey { tweet: 1, retweeter: 1 }, async || Ok(retweet(1, 1)))
            .await
            .map(drop),
        Retweet::find(&mut *tx, RetweetKey { tweet: 1, retweeter: 1 }).await.map(drop),
        Retweet::bulk_create_new(&mut tx, rows()).await.map(drop),
        Retweet::bulk_create_new_stream(&mut *tx, stream::iter(rows())).await.map(drop),
        tx.savepoint(async |_| Ok::<_, Error>(())).await,
    ];
    for (number, refused) in refused.into_iter().enumerate() {
        let error = refused.expect_err(when);
        assert!(is_ended(&error), "{when}: call {number}: {error}");
    }
    let insert = "INSERT INTO retweets (tweet, retweeter, original_author) VALUES (66, 66, 66)";
    let plainly = [
        sqlx::query(insert).execute(&mut *tx).await.map(drop),
        sqlx::query(insert).fetch_optional(&mut *tx).await.map(drop),
        sqlx::query(insert).fetch_all(&mut *tx).await.map(drop),
        sqlx::raw_sql(insert).execute(&mut *tx).await.map(drop),
    ];
    for (number, refused) in plainly.into_iter().enumerate() {
        let sqlx::Error::AnyDriverError(error) = refused.expect_err(when) else { panic!("{when}: plain {number}") };
        let error = error.downcast::<Error>().unwrap_or_else(|error| panic!("{when}: plain {number}: {error}"));
        assert!(is_ended(&error), "{when}: plain {number}: {error}");
    }
    tx.on_commit(async { panic!("a callback of a transaction that has ended") });
    let error = tx.commit().await.expect_err(when);
    assert!(is_ended(&error), "{when}: commit: {error}");
}

/// Checks that all or nothing of the call is in the table, and empties it.
///
/// What was done and has not been told of counts too. Says if the call was done.
async fn assert_whole(
    db: &Fixture,
    (table, all): (&str, i64),
    done: Option<Result<BulkCreated, Error>>,
    when: &str,
) -> bool {
    let rows = db.count(table).await;
    assert!(rows == all || (rows == 0 && done.is_none()), "{when}: {rows} rows");
    db.run(&format!("DELETE FROM {table}")).await;
    done.map(|done| assert_eq!(done.unwrap().created as i64, all, "{when}")).is_some()
}

/// A transaction that has made an account.
async fn begun(db: &Fixture) -> Transaction<Db> {
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Account::get_or_create(&mut tx, account("before@x", "before")).await.unwrap();
    tx
}

/// Checks that a transaction in which something was dropped has ended.
///
/// Where it was done before, the transaction is undone. Says if it was.
async fn assert_undone_or_ended(db: &Fixture, tx: Transaction<Db>, done: Option<()>, when: &str) -> bool {
    if done.is_some() {
        tx.rollback().await.unwrap();
    } else {
        assert_ended(tx, EndReason::Cancelled, when).await;
    }
    db.assert_pool_clean(when).await;
    assert_eq!((db.count("retweets").await, db.count("accounts").await), (0, 0), "{when}");
    done.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_bulk_call_dropped_on_a_pool_leaves_nothing() {
    let db = Fixture::with_connections(1).await;
    at_every_poll(SWEEPS, async |cut| {
        let when = cut.to_string();
        let done = cut.short(Retweet::bulk_create_new(&db.pool, rows())).await;
        db.assert_pool_clean(&when).await;
        assert_whole(&db, RETWEETS, done, &when).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_bulk_call_of_many_chunks_dropped_leaves_nothing() {
    let db = Fixture::with_connections(1).await;
    at_every_poll(SWEEPS, async |cut| {
        let when = cut.to_string();
        let done = cut.short(Wide::bulk_create_new(&db.pool, (0..3_000).map(wide))).await;
        db.assert_pool_clean(&when).await;
        assert_whole(&db, ("wide", 3_000), done, &when).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_bulk_call_dropped_in_a_transaction_ends_it() {
    let db = Fixture::with_connections(1).await;
    at_every_poll(SWEEPS, async |cut| {
        let mut tx = begun(&db).await;
        let done = cut.short(Retweet::bulk_create_new(&mut tx, rows())).await;
        let done = done.map(|done| assert_eq!(done.unwrap().created, 1_200, "{cut}"));
        assert_undone_or_ended(&db, tx, done, &cut.to_string()).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_bulk_call_dropped_in_an_sqlx_transaction_leaves_the_work_before_it() {
    // A borrowed connection cannot be closed.
    if !Subject::GIVEN_UP_GOES_ON {
        return;
    }
    let db = Fixture::with_connections(1).await;
    at_every_poll(SWEEPS, async |cut| {
        let when = cut.to_string();
        let mut theirs = db.pool.begin().await.unwrap();
        Account::get_or_create(&mut *theirs, account("before@x", "before")).await.unwrap();
        let done = cut.short(Retweet::bulk_create_new(&mut *theirs, rows())).await;
        assert_eq!(Subject::temporary_tables(&mut theirs).await, Vec::<String>::new(), "{when}");
        Account::get_or_create(&mut *theirs, account("after@x", "after"))
            .await
            .unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(db.count("accounts").await, 0, "{when}: the transaction is still the user's own");
        theirs.commit().await.unwrap();
        db.assert_pool_clean(&when).await;
        assert_eq!(db.run("DELETE FROM accounts").await, 2, "{when}");
        assert_whole(&db, RETWEETS, done, &when).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_bulk_call_dropped_on_a_connection_leaves_nothing() {
    // A borrowed connection cannot be closed.
    if !Subject::GIVEN_UP_GOES_ON {
        return;
    }
    let db = Fixture::with_connections(1).await;
    at_every_poll(SWEEPS, async |cut| {
        let when = cut.to_string();
        let mut conn = db.pool.acquire().await.unwrap();
        let done = cut.short(Retweet::bulk_create_new(&mut *conn, rows())).await;
        Fixture::assert_clean(&mut conn, &when).await;
        drop(conn);
        db.assert_pool_clean(&when).await;
        assert_whole(&db, RETWEETS, done, &when).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_bulk_call_dropped_in_a_transaction_of_plain_sql_leaves_nothing_half_done() {
    // A borrowed connection cannot be closed.
    if !Subject::GIVEN_UP_GOES_ON {
        return;
    }
    let db = Fixture::with_connections(1).await;
    at_every_poll(SWEEPS, async |cut| {
        let when = cut.to_string();
        let mut conn = db.pool.acquire().await.unwrap();
        sqlx::raw_sql("BEGIN").execute(&mut *conn).await.unwrap();
        sqlx::query("INSERT INTO accounts (email, handle, age) VALUES ('before@x', 'before', 1)")
            .execute(&mut *conn)
            .await
            .unwrap();
        let done = cut.short(Retweet::bulk_create_new(&mut *conn, rows())).await;
        sqlx::raw_sql("COMMIT").execute(&mut *conn).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        Fixture::assert_clean(&mut conn, &when).await;
        drop(conn);
        assert_eq!(db.run("DELETE FROM accounts").await, 1, "{when}");
        assert_whole(&db, RETWEETS, done, &when).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_transaction_begun_with_plain_sql_is_never_committed_for_the_caller() {
    let db = Fixture::with_connections(1).await;
    let mut conn = db.pool.acquire().await.unwrap();
    let insert = "INSERT INTO accounts (email, handle, age) VALUES ('a@x', 'a', 1)";

    sqlx::raw_sql("BEGIN").execute(&mut *conn).await.unwrap();
    sqlx::query(insert).execute(&mut *conn).await.unwrap();
    assert_eq!(Retweet::bulk_create_new(&mut *conn, rows()).await.unwrap().created, 1_200);
    assert!(Retweet::get_or_create(&mut *conn, retweet(2, 2)).await.unwrap().created);
    assert_eq!((db.count("retweets").await, db.count("accounts").await), (0, 0), "nothing is seen outside");
    sqlx::raw_sql("ROLLBACK").execute(&mut *conn).await.unwrap();
    Fixture::assert_clean(&mut conn, "rolled back").await;
    assert_eq!((db.count("retweets").await, db.count("accounts").await), (0, 0));

    sqlx::raw_sql("BEGIN").execute(&mut *conn).await.unwrap();
    sqlx::query(insert).execute(&mut *conn).await.unwrap();
    let bad = [account("b@x", "b"), account("c@x", "a")];
    assert_eq!(kind(&Account::bulk_create_new(&mut *conn, bad).await.unwrap_err()), "OtherUnique");
    assert_eq!(Retweet::bulk_create_new(&mut *conn, rows()).await.unwrap().created, 1_200);
    sqlx::raw_sql("COMMIT").execute(&mut *conn).await.unwrap();
    Fixture::assert_clean(&mut conn, "committed").await;
    assert_eq!((db.count("retweets").await, db.count("accounts").await), (1_200, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_pool_given_back_in_a_transaction_of_plain_sql_is_not_committed_by_the_next_call() {
    let db = Fixture::with_connections(1).await;
    let mut conn = db.pool.acquire().await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut *conn).await.unwrap();
    sqlx::query("INSERT INTO accounts (email, handle, age) VALUES ('a@x', 'a', 1)").execute(&mut *conn).await.unwrap();
    // The user has forgotten to end it.
    drop(conn);
    let outcome = Retweet::bulk_create_new(&db.pool, rows()).await;
    assert_eq!(db.count("accounts").await, 0, "rows of somebody else's transaction were committed: {outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_call_that_waits_for_its_first_row_has_done_nothing() {
    let db = Fixture::with_connections(1).await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let never = stream::once(pending::<NewRetweet>());
    assert!(Cut::AT_FIRST.short(Retweet::bulk_create_new_stream(&mut tx, never)).await.is_none());
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.count("retweets").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_call_dropped_while_the_stream_waits_leaves_nothing() {
    let db = Fixture::with_connections(1).await;
    for sent in [1, 10, 1_200, 40_000] {
        let when = format!("dropped after {sent} rows");
        let (waits, is_waiting) = oneshot::channel();
        let stalls = stream::once(async move {
            waits.send(()).unwrap();
            pending::<NewRetweet>().await
        });
        let rows = stream::iter((0..sent).map(|number| retweet(1, number))).chain(stalls);
        let pool = db.pool.clone();
        let call = tokio::spawn(async move { Retweet::bulk_create_new_stream(&pool, rows).await });
        is_waiting.await.unwrap();
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled(), "{when}");
        db.assert_pool_clean(&when).await;
        assert_eq!(db.count("retweets").await, 0, "{when}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_panic_in_the_rows_leaves_nothing() {
    let db = Fixture::with_connections(1).await;
    for good in [0, 1, 1_500] {
        let when = format!("a panic after {good} rows");
        let rows =
            || (0..=good).map(move |number| if number < good { retweet(1, number) } else { panic!("no row {number}") });
        let panic = AssertUnwindSafe(Retweet::bulk_create_new(&db.pool, rows())).catch_unwind().await.unwrap_err();
        assert_eq!(panic_text(&*panic), format!("no row {good}"));
        db.assert_pool_clean(&when).await;

        let mut conn = db.pool.acquire().await.unwrap();
        AssertUnwindSafe(Retweet::bulk_create_new(&mut *conn, rows())).catch_unwind().await.unwrap_err();
        Fixture::assert_clean(&mut conn, &when).await;
        drop(conn);

        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        AssertUnwindSafe(Retweet::bulk_create_new(&mut tx, rows())).catch_unwind().await.unwrap_err();
        if good > 0 {
            assert_ended(tx, EndReason::Cancelled, &when).await;
        } else {
            tx.commit().await.unwrap();
        }
        db.assert_pool_clean(&when).await;
    }
    assert_eq!(db.count("retweets").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_get_or_create_dropped_on_a_pool_leaves_a_row_or_none_and_a_clean_connection() {
    let db = Fixture::with_connections(1).await;
    let mut number = 0;
    at_every_poll(SWEEPS, async |cut| {
        let when = cut.to_string();
        number += 1;
        let new = || retweet(1, number);
        let done = cut.short(Retweet::get_or_create(&db.pool, new())).await;
        db.assert_pool_clean(&when).await;
        let again = Retweet::get_or_create(&db.pool, new()).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        done.map(|done| assert!(done.unwrap().created && !again.created, "{when}")).is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_get_or_create_dropped_in_a_transaction_goes_on_or_ends_it() {
    let db = Fixture::with_connections(1).await;
    let (mut went_on, mut ended) = (0, 0);
    // So many that it is dropped while it reads and while it writes, whatever the threads do.
    at_every_poll(20 * SWEEPS, async |cut| {
        let when = cut.to_string();
        let mut tx = begun(&db).await;
        let done = cut.short(Retweet::get_or_create(&mut tx, retweet(1, 1))).await;
        let done = done.map(|done| assert!(done.unwrap().created, "{when}"));
        if done.is_none()
            && let Ok(found) = Account::find(&mut tx, by_email("before@x")).await
        {
            // It was dropped while it read.
            assert!(found.is_some(), "{when}");
            went_on += 1;
            tx.rollback().await.unwrap();
            db.assert_pool_clean(&when).await;
            assert_eq!((db.count("retweets").await, db.count("accounts").await), (0, 0), "{when}");
            return false;
        }
        ended += u32::from(done.is_none());
        assert_undone_or_ended(&db, tx, done, &when).await
    })
    .await;
    assert!(
        (went_on > 0 || !Subject::GIVEN_UP_GOES_ON) && ended > 0,
        "it was dropped while it read and while it wrote: {went_on} {ended}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_begin_dropped_half_way_leaves_no_transaction_open() {
    let db = Fixture::with_connections(1).await;
    at_every_poll(SWEEPS, async |cut| {
        let done = cut.short(upsertable::begin(&db.pool)).await.is_some();
        db.assert_pool_clean(&format!("begin {cut}")).await;
        done
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_rollback_dropped_half_way_rolls_back() {
    let db = Fixture::with_connections(1).await;
    at_every_poll(SWEEPS, async |cut| {
        let when = format!("rollback {cut}");
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
        let done = cut.short(tx.rollback()).await;
        db.assert_pool_clean(&when).await;
        assert_eq!(db.count("retweets").await, 0, "{when}");
        done.map(Result::unwrap).is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_savepoint_dropped_half_way_ends_the_transaction() {
    let db = Fixture::with_connections(1).await;
    at_every_poll(SWEEPS, async |cut| {
        let mut tx = begun(&db).await;
        let savepoint = tx.savepoint(async |tx| {
            tx.on_commit(async { panic!("a callback of a savepoint that was dropped") });
            Retweet::get_or_create(&mut *tx, retweet(1, 1)).await?;
            tx.savepoint(async |tx| Retweet::get_or_create(tx, retweet(2, 2)).await).await
        });
        let done = cut.short(savepoint).await.map(|done| assert!(done.unwrap().created, "{cut}"));
        assert_undone_or_ended(&db, tx, done, &format!("savepoint {cut}")).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_database_ended_is_refused_and_its_connection_is_clean_afterwards() {
    let db = Fixture::with_connections(1).await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    tx.on_commit(async { panic!("a callback of a transaction that has ended") });
    let spoilt = Subject::spoil(&mut tx, &db.outside).await;
    let reason = if Error::from(spoilt).is_retryable() { EndReason::Conflict } else { EndReason::Server };
    assert_ended(tx, reason, "ended by the database").await;
    db.assert_pool_clean("ended by the database").await;
    assert_eq!(db.count("retweets").await, 0);

    // The connection's next transaction is a real one.
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(2, 2)).await.unwrap();
    assert_eq!(db.count("retweets").await, 0, "it is not committed yet");
    tx.commit().await.unwrap();
    assert_eq!(db.count("retweets").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_in_which_the_database_ended_the_transaction_gives_the_error_and_the_rest_is_refused() {
    let db = Fixture::with_connections(1).await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    let outside = db.outside.clone();
    let swallowed = tx.savepoint(async move |tx| {
        Subject::spoil(tx, &outside).await;
        // The error goes unheeded; the savepoint cannot be released all the same.
        Ok::<_, Error>(())
    });
    let error = swallowed.await.unwrap_err();
    if Subject::SURVIVES_FAILED_STATEMENTS {
        assert_eq!(kind(&error), "Ended", "{error}");
        // SQLite has no deadlocks, and PostgreSQL lets a transaction outlive one.
        let reason = if Db::NAME == "MySQL" { EndReason::Conflict } else { EndReason::Server };
        assert_ended(tx, reason, "ended in a savepoint").await;
    } else {
        tx.rollback().await.unwrap();
    }
    db.assert_pool_clean("ended in a savepoint").await;
    assert_eq!(db.count("retweets").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_ended_through_raw_is_noticed_at_commit() {
    let db = Fixture::with_connections(1).await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    tx.on_commit(async { panic!("a callback of a transaction that has ended") });
    let conn: &mut Connection = tx.raw();
    sqlx::raw_sql("ROLLBACK").execute(&mut *conn).await.unwrap();
    assert_eq!(kind(&tx.commit().await.unwrap_err()), "Ended");
    db.assert_pool_clean("ended through raw").await;
    assert_eq!(db.count("retweets").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_is_the_connection_of_the_transaction() {
    let db = Fixture::with_connections(1).await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    sqlx::query("INSERT INTO words (word) VALUES ('raw')").execute(tx.raw()).await.unwrap();
    Retweet::get_or_create(tx.raw(), retweet(1, 1)).await.unwrap();
    Retweet::bulk_create_new(tx.raw(), rows()).await.unwrap();
    let inside: i64 = sqlx::query_scalar(plain("SELECT count(*) FROM words")).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(inside, 1);
    tx.commit().await.unwrap();
    assert_eq!((db.count("words").await, db.count("retweets").await), (1, 1_200));
}
