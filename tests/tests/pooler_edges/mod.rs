//! Tests of what only a pooler does to the calls.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use sqlx::PgPool;
use tokio::task::JoinSet;
use upsertable::{Error, Upsertable as _};
use upsertable_tests::{
    Fixture, OnNarrowPooler, TestDb as _,
    models::{NewRetweet, Retweet, retweet},
};

const TASKS: i64 = 8;
const CALLS: i64 = 12;

/// Checks that no session has left temporary tables behind.
async fn assert_nothing_is_left(db: &Fixture<OnNarrowPooler>) {
    let mut conn = db.outside.acquire().await.unwrap();
    assert_eq!(OnNarrowPooler::temporary_tables(&mut conn).await, Vec::<String>::new());
}

/// Makes one call over the keys of a number.
///
/// Gives how many rows it says that it has made.
async fn call(kind: i64, pool: &PgPool, number: i64, rows: i64) -> Result<i64, Error> {
    let rows = (0..rows).map(move |key| NewRetweet { original_author: number, ..retweet(number, key) });
    match kind % 3 {
        0 => Retweet::bulk_create_new(pool, rows).await.map(|done| done.created as i64),
        1 => Retweet::bulk_upsert(pool, rows).await.map(|done| done.created as i64),
        _ => {
            let given = Retweet::bulk_get_or_create(pool, rows).await?;
            assert!(given.iter().zip(0..).all(|(given, key)| (given.row.tweet, given.row.retweeter) == (number, key)));
            Ok(given.iter().filter(|given| given.created).count() as i64)
        }
    }
}

/// Bulk calls through three server connections all count exactly.
///
/// Eight tasks over three connections of the server, twelve calls each: of 500 rows and of 30,000, all three kinds, each over keys that
/// another task has too.
#[tokio::test(flavor = "multi_thread")]
async fn b1_of_96_bulk_calls_of_eight_tasks_all_are_done_and_count_exactly() {
    let db = Fixture::<OnNarrowPooler>::new().await;
    let created = Arc::new(AtomicI64::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (pool, created) = (db.pool.clone(), Arc::clone(&created));
        tasks.spawn(async move {
            let mut failed = Vec::new();
            for turn in 0..CALLS {
                // Tasks in pairs ask for the same keys, one of them in another kind of call.
                let (number, rows) = (task / 2 * CALLS + turn, if turn % 2 == 0 { 500 } else { 30_000 });
                match call(turn + task, &pool, number, rows).await {
                    Ok(made) => drop(created.fetch_add(made, Ordering::Relaxed)),
                    Err(error) => failed.push(format!("task {task}, call {turn} of {rows} rows: {error}")),
                }
            }
            failed
        });
    }
    let failed: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(failed, Vec::<String>::new());
    let wanted = TASKS / 2 * CALLS / 2 * (500 + 30_000);
    assert_eq!((db.count("retweets").await, created.load(Ordering::Relaxed)), (wanted, wanted));
    assert_nothing_is_left(&db).await;
}
