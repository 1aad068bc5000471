//! A database in memory, which is gone when its one connection is closed.

use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};
use upsertable::{Error, Upsertable as _};
use upsertable_tests::{
    at_every_poll,
    models::{Loose, NewRetweet, Retweet, loose, retweet},
};

use crate::{Fixture, retweets, with_schema};

async fn in_memory() -> SqlitePool {
    // sqlx closes a connection when `acquire` is dropped while it tests it, whoever calls it.
    let options =
        SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).test_before_acquire(false);
    let pool = options.connect("sqlite::memory:").await.unwrap();
    with_schema(&pool).await;
    pool
}

fn rows() -> impl Iterator<Item = NewRetweet> + Send {
    (0..1_200).map(|number| retweet(1, number))
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_cancelled_call_does_not_lose_the_database() {
    let pool = in_memory().await;
    Retweet::get_or_create(&pool, retweet(9, 9)).await.unwrap();
    at_every_poll(5, async |cut| {
        let when = cut.to_string();
        let done = cut.short(Retweet::bulk_create_new(&pool, rows())).await;
        let mut conn = pool.acquire().await.unwrap();
        Fixture::assert_clean(&mut conn, &when).await;
        drop(conn);
        let count = retweets(&pool).await;
        assert!(count == 1_201 || (count == 1 && done.is_none()), "{when}: {count} rows");
        sqlx::query("DELETE FROM retweets WHERE tweet = 1").execute(&pool).await.unwrap();
        done.map(|done| assert_eq!(done.unwrap().created, 1_200, "{when}")).is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_a_cancelled_transaction_does_not_lose_the_database() {
    let pool = in_memory().await;
    at_every_poll(5, async |cut| {
        let when = cut.to_string();
        let work = async {
            let mut tx = upsertable::begin(&pool).await?;
            Retweet::get_or_create(&mut tx, retweet(9, 9)).await?;
            tx.savepoint(async |tx| Retweet::bulk_create_new(tx, rows()).await).await?;
            tx.rollback().await
        };
        let done = cut.short(work).await;
        let mut conn = pool.acquire().await.unwrap();
        Fixture::assert_clean(&mut conn, &when).await;
        drop(conn);
        assert_eq!(retweets(&pool).await, 0, "{when}");
        done.map(Result::unwrap).is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_does_not_lose_the_database() {
    let pool = in_memory().await;
    Loose::bulk_create_new(&pool, [loose(1, 1)]).await.unwrap_err();
    let mut tx = upsertable::begin(&pool).await.unwrap();
    Loose::bulk_create_new(&mut tx, [loose(1, 1)]).await.unwrap_err();
    drop(tx);
    assert_eq!(Retweet::bulk_create_new(&pool, rows()).await.unwrap().created, 1_200);
    assert_eq!(retweets(&pool).await, 1_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_callbacks_open_transactions() {
    let pool = in_memory().await;
    let mut tx = upsertable::begin(&pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
    let again = pool.clone();
    tx.on_commit(async move {
        let mut tx = upsertable::begin(&again).await?;
        Retweet::get_or_create(&mut tx, retweet(2, 2)).await?;
        let innermost = again.clone();
        tx.on_commit(async move { Retweet::get_or_create(&innermost, retweet(3, 3)).await.map(drop) });
        tx.commit().await.map(drop)
    });
    assert!(tx.commit().await.unwrap().failures().is_empty());
    assert_eq!(retweets(&pool).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_callers_that_share_the_one_connection() {
    let pool = in_memory().await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let pool = pool.clone();
        callers.spawn(async move {
            let mut created = 0;
            for round in 0..100 {
                created += u64::from(Retweet::get_or_create(&pool, retweet(1, round)).await?.created);
                let rows = (0..5).map(|number| retweet(2 + round, (number + caller) % 5));
                created += Retweet::bulk_create_new(&pool, rows).await?.created;
            }
            Ok::<_, Error>(created)
        });
    }
    let created: u64 = callers.join_all().await.into_iter().map(Result::unwrap).sum();
    // One row of the single calls is one of the bulk calls' too: (1, _) and (2.., _) never meet.
    assert_eq!(created, 100 + 100 * 5);
    assert_eq!(retweets(&pool).await, 600);
}
