//! Calls that are dropped, or disconnected, in the middle of many rows.

use futures_util::{StreamExt as _, stream};
use upsertable::{EndReason, Error, Upsertable as _};
use upsertable_tests::{
    Fixture, OnPostgres, TestDb as _, at_every_poll,
    models::{NewRetweet, Retweet, retweet},
};

use crate::{MANY, fixture};

fn rows() -> impl Iterator<Item = NewRetweet> + Send + Clone {
    (0..MANY).map(|number| retweet(1, number))
}

/// Checks that others see all rows or none.
///
/// They look once the server is done with the call.
async fn assert_whole(db: &Fixture<OnPostgres>, when: &str) {
    // The server may still be at it.
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid() \
                AND query LIKE '%\"retweets\"%'";
    while db.number(idle).await > 0 {
        tokio::task::yield_now().await;
    }
    let count = db.count("retweets").await;
    assert!(count == 0 || count == MANY, "{when}: {count} rows");
    db.run("DELETE FROM retweets").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_many_rows_dropped_on_a_pool_a_connection_and_in_transactions() {
    let db = fixture(1, &[]).await;
    for upsert in [false, true] {
        for handle in ["pool", "connection", "sqlx", "plain", "transaction"] {
            at_every_poll(2, async |cut| {
                let when = format!("{handle}, upsert: {upsert}, {cut}");
                let done = match handle {
                    "pool" if upsert => {
                        cut.short(Retweet::bulk_upsert(&db.pool, rows())).await.map(|done| done.map(drop))
                    }
                    "pool" => cut.short(Retweet::bulk_create_new(&db.pool, rows())).await.map(|done| done.map(drop)),
                    "connection" => {
                        let mut conn = db.pool.acquire().await.unwrap();
                        let done = cut.short(Retweet::bulk_create_new(&mut *conn, rows())).await;
                        Fixture::<OnPostgres>::assert_clean(&mut conn, &when).await;
                        done.map(|done| done.map(drop))
                    }
                    "sqlx" => {
                        let mut theirs = db.pool.begin().await.unwrap();
                        sqlx::query("INSERT INTO words VALUES ('theirs')").execute(&mut *theirs).await.unwrap();
                        let done = cut.short(Retweet::bulk_create_new(&mut *theirs, rows())).await;
                        assert_eq!(OnPostgres::temporary_tables(&mut theirs).await, Vec::<String>::new(), "{when}");
                        assert_eq!(db.count("words").await, 0, "{when}");
                        theirs.commit().await.unwrap_or_else(|error| panic!("{when}: {error}"));
                        assert_eq!(db.run("DELETE FROM words").await, 1, "{when}");
                        done.map(|done| done.map(drop))
                    }
                    "plain" => {
                        let mut conn = db.pool.acquire().await.unwrap();
                        sqlx::raw_sql("BEGIN; INSERT INTO words VALUES ('theirs')").execute(&mut *conn).await.unwrap();
                        let done = cut.short(Retweet::bulk_create_new(&mut *conn, rows())).await;
                        assert_eq!(OnPostgres::temporary_tables(&mut conn).await, Vec::<String>::new(), "{when}");
                        assert_eq!(db.count("words").await, 0, "{when}");
                        sqlx::raw_sql("COMMIT").execute(&mut *conn).await.unwrap();
                        assert_eq!(db.run("DELETE FROM words").await, 1, "{when}");
                        done.map(|done| done.map(drop))
                    }
                    _ => {
                        let mut tx = upsertable::begin(&db.pool).await.unwrap();
                        let done = cut.short(Retweet::bulk_create_new(&mut tx, rows())).await;
                        if done.is_some() {
                            tx.commit().await.unwrap();
                        } else {
                            let error = Retweet::bulk_create_new(&mut tx, rows()).await.unwrap_err();
                            assert!(
                                matches!(error, Error::Ended { reason: EndReason::Cancelled, .. }),
                                "{when}: {error}"
                            );
                            assert!(matches!(tx.commit().await, Err(Error::Ended { .. })), "{when}");
                        }
                        done.map(|done| done.map(drop))
                    }
                };
                db.assert_pool_clean(&when).await;
                assert_whole(&db, &when).await;
                done.map(Result::unwrap).is_some()
            })
            .await;
        }
    }
}

#[derive(Debug)]
struct Broken;

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        panic!("{error}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_stream_that_breaks_in_the_middle_of_a_copy() {
    let db = fixture(1, &[]).await;
    let broken = || stream::iter(rows().map(Ok).chain([Err(Broken)]));
    assert!(Retweet::bulk_create_new_stream(&db.pool, broken()).await.is_err());
    db.assert_pool_clean("on a pool").await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(2, 2)).await.unwrap();
    for _ in 0..2 {
        assert!(Retweet::bulk_create_new_stream(&mut tx, broken()).await.is_err());
    }
    assert_eq!(Retweet::bulk_create_new(&mut tx, rows()).await.unwrap().created, MANY as u64);
    tx.commit().await.unwrap();
    assert_eq!(db.count("retweets").await, MANY + 1);
    db.assert_pool_clean("after a transaction").await;
}

/// The connection is lost at each step in turn.
#[tokio::test(flavor = "multi_thread")]
async fn b7_the_connection_is_lost_at_any_step() {
    let db = fixture(1, &[]).await;
    let second = db.another_pool(1).await;
    for count in [100, MANY] {
        for at in (0..=count).step_by(count as usize / 4) {
            for in_transaction in [false, true] {
                let when = format!("row {at} of {count}, in a transaction: {in_transaction}");
                let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&db.pool).await.unwrap();
                let killer = second.clone();
                let kill = async move || {
                    sqlx::query("SELECT pg_terminate_backend($1, 5000)").bind(pid).execute(&killer).await.unwrap();
                };
                let rows = stream::iter(0..count).then(move |number| {
                    let kill = kill.clone();
                    async move {
                        if number == at {
                            kill().await;
                        }
                        retweet(1, number)
                    }
                });
                if in_transaction {
                    let mut tx = upsertable::begin(&db.pool).await.unwrap();
                    let outcome = Retweet::bulk_create_new_stream(&mut tx, rows).await;
                    if at < count {
                        assert!(outcome.unwrap_err().is_connection_lost(), "{when}");
                        assert!(matches!(tx.commit().await, Err(Error::Ended { .. })), "{when}");
                    }
                } else if at > 0 && at < count {
                    let error = Retweet::bulk_create_new_stream(&db.pool, rows).await.unwrap_err();
                    assert!(error.is_connection_lost(), "{when}: {error}");
                } else {
                    // An idle connection that the server has closed does not reach the caller.
                    let outcome = Retweet::bulk_create_new_stream(&db.pool, rows).await;
                    assert_eq!(outcome.unwrap_or_else(|error| panic!("{when}: {error}")).created, count as u64);
                }
                db.assert_pool_clean(&when).await;
                let there = db.count("retweets").await;
                assert!(there == 0 || there == count, "{when}: {there} rows");
                db.run("DELETE FROM retweets").await;
            }
        }
    }
}

/// A call that failed on a pool keeps its connection.
///
/// The server refuses to go on: the connection is given back and used again.
#[tokio::test(flavor = "multi_thread")]
async fn r3_a_call_that_failed_on_a_pool_keeps_its_connection() {
    let db = fixture(1, &[]).await;
    let pid = async || -> i32 { sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&db.pool).await.unwrap() };
    let before = pid().await;
    db.run("ALTER TABLE retweets ADD CHECK (original_author <> 1005)").await;
    for many in [10, MANY] {
        assert!(Retweet::bulk_create_new(&db.pool, rows().take(many as usize)).await.is_err());
        assert!(Retweet::bulk_upsert(&db.pool, rows().take(many as usize)).await.is_err());
        assert_eq!((pid().await, db.count("retweets").await), (before, 0));
        db.assert_pool_clean("after a failed call").await;
    }
}

/// A slow stream locks nothing of the table and blocks nobody.
#[tokio::test(flavor = "multi_thread")]
async fn b4_a_slow_stream_blocks_nobody() {
    let db = fixture(1, &[]).await;
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let (started, mut seen) = tokio::sync::mpsc::unbounded_channel::<()>();
    let mut receiver = Some(receiver);
    let gated = stream::iter(rows()).then(move |row| {
        let gate = if row.retweeter == MANY - 1 { receiver.take() } else { None };
        let started = started.clone();
        async move {
            if let Some(gate) = gate {
                started.send(()).unwrap();
                gate.await.unwrap();
            }
            row
        }
    });
    let pool = db.pool.clone();
    let call = tokio::spawn(async move { Retweet::bulk_create_new_stream(&pool, gated).await });
    seen.recv().await.unwrap();
    db.run("SET lock_timeout = '5s'; LOCK TABLE retweets IN SHARE ROW EXCLUSIVE MODE; RESET lock_timeout").await;
    db.run("INSERT INTO retweets (tweet, retweeter, original_author) VALUES (1, 5, 5)").await;
    sender.send(()).unwrap();
    assert_eq!(call.await.unwrap().unwrap().created, MANY as u64 - 1);
}
