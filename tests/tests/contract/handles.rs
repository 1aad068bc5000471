//! Every call on every handle.
//!
//! In functions generic over database and model, and in tasks.

use futures_util::stream;
use sqlx::Pool;
use upsertable::{Backend, BoxError, Error, On, Outcome, Transaction, Upsertable};
use upsertable_tests::models::{NewRetweet, Retweet, RetweetKey, retweet};

use super::{Db, Fixture};

/// Makes all the calls on one handle.
///
/// The expression is evaluated anew for each.
macro_rules! every_call {
    ($handle:expr, $tweet:expr) => {{
        let tweet: i64 = $tweet;
        let key = || RetweetKey { tweet, retweeter: 1 };
        let none = Retweet::find($handle, key()).await?;
        let made = Retweet::get_or_create($handle, retweet(tweet, 1)).await?;
        let found = Retweet::find($handle, key()).await?;
        let with = Retweet::get_or_create_with($handle, key(), async || Ok::<_, Error>(retweet(tweet, 1))).await?;
        let bulk = Retweet::bulk_create_new($handle, (0..3).map(|number| retweet(tweet, number))).await?;
        let rows = stream::iter((0..5).map(|number| retweet(tweet, number)));
        let streamed = Retweet::bulk_create_new_stream($handle, rows).await?;
        assert_eq!((none, made.created, with.created), (None, true, false));
        assert_eq!(found, Some(made.row));
        assert_eq!((bulk.created, streamed.created), (2, 2));
    }};
}

async fn on_every_handle(pool: Pool<Db>) -> Result<(), Error> {
    every_call!(&pool, 1);
    let mut conn = pool.acquire().await?;
    every_call!(&mut *conn, 2);
    drop(conn);
    let mut theirs = pool.begin().await?;
    every_call!(&mut *theirs, 3);
    theirs.commit().await?;
    let mut tx = upsertable::begin(&pool).await?;
    every_call!(&mut tx, 4);
    every_call!(&mut *tx, 5);
    every_call!(tx.raw(), 6);
    tx.savepoint(async |tx| {
        every_call!(&mut *tx, 7);
        every_call!(&mut **tx, 8);
        Retweet::get_or_create(tx, retweet(9, 1)).await
    })
    .await?;
    let numbers: Vec<(i64,)> = sqlx::query_as("SELECT id FROM retweets WHERE tweet = 9").fetch_all(&mut *tx).await?;
    assert_eq!(numbers.len(), 1);
    tx.commit().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_works_on_every_handle() {
    let db = Fixture::new().await;
    tokio::spawn(on_every_handle(db.pool.clone())).await.unwrap().unwrap();
    assert_eq!(db.count("retweets").await, 8 * 5 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_works_on_every_handle_of_a_pool_of_one_connection() {
    let db = Fixture::with_connections(1).await;
    tokio::spawn(on_every_handle(db.pool.clone())).await.unwrap().unwrap();
    assert_eq!(db.count("retweets").await, 8 * 5 + 1);
    db.assert_pool_clean("after every call").await;
}

async fn generic<DB: Backend, M: On<DB, New = NewRetweet>>(
    pool: &Pool<DB>,
    tx: &mut Transaction<DB>,
    tweet: i64,
) -> Result<u64, Error> {
    let Outcome { row, created } = M::get_or_create(&mut *tx, retweet(tweet, 1)).await?;
    assert!(created);
    let key = row.key();
    let found = M::find(&mut *tx, key.clone()).await?;
    assert!(found.is_some());
    let with = M::get_or_create_with(&mut *tx, key.clone(), async || Ok::<_, Error>(retweet(tweet, 1))).await?;
    assert!(!with.created);
    assert!(M::find(pool, key).await?.is_none(), "another connection does not see it yet");
    let bulk = M::bulk_create_new(&mut **tx, (0..3).map(|number| retweet(tweet, number))).await?;
    let rows = stream::iter((0..5).map(|number| Ok::<_, Error>(retweet(tweet, number))));
    Ok(bulk.created + M::bulk_create_new_stream(tx, rows).await?.created)
}

async fn generic_transaction<DB: Backend, M: On<DB, New = NewRetweet>>(pool: &Pool<DB>) -> Result<u64, Error> {
    assert!(M::get_or_create(pool, retweet(0, 0)).await?.created);
    let mut tx = upsertable::begin(pool).await?;
    let mut created = generic::<DB, M>(pool, &mut tx, 1).await?;
    created += tx.savepoint(async |tx| generic::<DB, M>(pool, tx, 2).await).await?;
    tx.on_commit(async {});
    upsertable::on_commit(&mut tx, async { Ok::<_, Error>(()) }).await?;
    tx.commit().await?;
    upsertable::on_commit(pool, async {}).await?;
    Ok(created)
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_generic_over_database_and_model_work_in_tasks() {
    let db = Fixture::new().await;
    let pool = db.pool.clone();
    let created = tokio::spawn(async move { generic_transaction::<_, Retweet>(&pool).await }).await.unwrap().unwrap();
    assert_eq!(created, 8);
    assert_eq!(db.count("retweets").await, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn closures_that_borrow_work_in_tasks() {
    let db = Fixture::new().await;
    let pool = db.pool.clone();
    let task = tokio::spawn(async move {
        let name = String::from("borrowed");
        let mut tx = upsertable::begin(&pool).await?;
        let length: Result<i64, BoxError> = tx
            .savepoint(async |tx| {
                let length = i64::try_from(name.len())?;
                Retweet::get_or_create(&mut *tx, retweet(length, 1)).await?;
                sqlx::query("SELECT 1").execute(&mut **tx).await?;
                let owned = name.clone();
                tx.savepoint(async move |tx| {
                    Retweet::get_or_create(tx, retweet(i64::try_from(owned.len()).unwrap_or(0), 2)).await?;
                    Ok::<_, Error>(())
                })
                .await?;
                generic::<_, Retweet>(&pool, tx, 100).await?;
                Ok(length)
            })
            .await;
        tx.commit().await?;
        length
    });
    assert_eq!(task.await.unwrap().unwrap(), 8);
    assert_eq!(db.count("retweets").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn make_may_borrow_and_use_another_handle() {
    let db = Fixture::new().await;
    let pool = db.pool.clone();
    let task = tokio::spawn(async move {
        let api = String::from("answer");
        let mut tx = upsertable::begin(&pool).await?;
        let key = RetweetKey { tweet: 1, retweeter: 2 };
        let make = async || {
            Retweet::find(&pool, RetweetKey { tweet: 9, retweeter: 9 }).await?;
            Ok::<_, Error>(NewRetweet { original_author: i64::try_from(api.len()).unwrap_or(0), ..retweet(1, 2) })
        };
        let outcome = Retweet::get_or_create_with(&mut tx, key, make).await?;
        tx.commit().await?;
        Ok::<_, Error>(outcome.row.original_author)
    });
    assert_eq!(task.await.unwrap().unwrap(), 6);
}
