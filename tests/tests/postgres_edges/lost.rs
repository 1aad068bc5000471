//! Loss of the connection at each step of each call.
//!
//! In each way that it can be lost.

use sqlx::PgPool;
use upsertable::{Error, Handle, Upsertable as _};
use upsertable_tests::{
    Fixture, OnPostgres,
    models::{NewRetweet, Retweet, RetweetKey, retweet},
};

use crate::{
    MANY, fixture,
    proxy::{Loss, Proxy},
};

const LOSSES: [Loss; 3] = [Loss::Request, Loss::Answer, Loss::Terminated];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Find,
    FindAll,
    GetOrCreate,
    GetOrCreateFound,
    Upsert,
    UpsertFound,
    CreateFew,
    GetOrCreateFew,
    UpsertFew,
    CreateMany,
    UpsertMany,
}

const CALLS: [Call; 9] = [
    Call::Find,
    Call::FindAll,
    Call::GetOrCreate,
    Call::GetOrCreateFound,
    Call::Upsert,
    Call::UpsertFound,
    Call::CreateFew,
    Call::GetOrCreateFew,
    Call::UpsertFew,
];

/// Row that is there before the call.
fn known() -> NewRetweet {
    retweet(0, 0)
}

fn key(number: i64) -> RetweetKey {
    RetweetKey { tweet: 0, retweeter: number }
}

impl Call {
    async fn make<'a>(self, db: impl Handle<'a, sqlx::Postgres>) -> Result<(), Error> {
        let rows = |count: i64| (0..count).map(|number| retweet(0, number));
        match self {
            Self::Find => Retweet::find(db, key(0)).await.map(drop),
            Self::FindAll => Retweet::find_all(db, [0, 1, 2].map(key)).await.map(drop),
            Self::GetOrCreate => Retweet::get_or_create(db, retweet(0, 1)).await.map(drop),
            Self::GetOrCreateFound => Retweet::get_or_create(db, known()).await.map(drop),
            Self::Upsert => Retweet::upsert(db, retweet(0, 1)).await.map(drop),
            Self::UpsertFound => Retweet::upsert(db, known()).await.map(drop),
            Self::CreateFew => Retweet::bulk_create_new(db, rows(5)).await.map(drop),
            Self::GetOrCreateFew => Retweet::bulk_get_or_create(db, rows(5)).await.map(drop),
            Self::UpsertFew => Retweet::bulk_upsert(db, rows(5)).await.map(drop),
            Self::CreateMany => Retweet::bulk_create_new(db, rows(MANY)).await.map(drop),
            Self::UpsertMany => Retweet::bulk_upsert(db, rows(MANY)).await.map(drop),
        }
    }

    /// Number of rows that the call adds to the known one.
    fn adds(self) -> i64 {
        match self {
            Self::Find | Self::FindAll | Self::GetOrCreateFound | Self::UpsertFound => 0,
            Self::GetOrCreate | Self::Upsert => 1,
            Self::CreateFew | Self::GetOrCreateFew | Self::UpsertFew => 4,
            Self::CreateMany | Self::UpsertMany => MANY - 1,
        }
    }
}

/// Outcome of the work, as its caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Done,
    Failed,
    Unknown,
}

/// Does the call and the word in one transaction.
///
/// Only where the handle is one.
async fn work(pool: &PgPool, handle: &str, call: Call) -> Result<(), Error> {
    let word = || sqlx::query("INSERT INTO words VALUES ('w')");
    match handle {
        "pool" => call.make(pool).await,
        "connection" => call.make(&mut *pool.acquire().await?).await,
        "sqlx" => {
            let mut tx = pool.begin().await?;
            word().execute(&mut *tx).await?;
            call.make(&mut *tx).await?;
            Ok(tx.commit().await?)
        }
        "savepoint" => {
            let mut tx = upsertable::begin(pool).await?;
            word().execute(&mut *tx).await?;
            // The transaction does not go by the savepoint's error.
            drop(tx.savepoint(async |tx| call.make(tx).await).await);
            tx.commit().await.map(drop)
        }
        _ => {
            let mut tx = upsertable::begin(pool).await?;
            tx.on_commit(async {});
            word().execute(&mut *tx).await?;
            call.make(&mut tx).await?;
            tx.commit().await.map(drop)
        }
    }
}

/// Sorts an outcome by what its error says.
///
/// Every error says what it is: a loss, an end of the transaction because of one, or a commit that nobody knows of.
fn told(outcome: Result<(), Error>, handle: &str, when: &str) -> Told {
    match outcome {
        Ok(()) => Told::Done,
        Err(Error::CommitUnknown { .. }) => Told::Unknown,
        // A call on a pool or a connection commits within; so does sqlx, which has no word for it.
        Err(Error::Sql(error)) if ["pool", "connection", "sqlx"].contains(&handle) => {
            assert!(Error::from(error).is_connection_lost(), "{when}");
            Told::Unknown
        }
        Err(Error::Ended { .. }) => Told::Failed,
        Err(error) => {
            assert!(error.is_connection_lost(), "{when}: {error}");
            Told::Failed
        }
    }
}

async fn assert_whole(db: &Fixture<OnPostgres>, handle: &str, call: Call, told: Told, when: &str) {
    let (rows, words) = (db.count("retweets").await - 1, db.count("words").await);
    let all = (call.adds(), i64::from(handle != "pool" && handle != "connection"));
    let expected: &[(i64, i64)] = match told {
        Told::Done => &[all],
        Told::Failed => &[(0, 0)],
        Told::Unknown => &[all, (0, 0)],
    };
    assert!(expected.contains(&(rows, words)), "{when}, {told:?}: {rows} rows, {words} words");
    db.run("DELETE FROM words").await;
    db.run("DELETE FROM retweets WHERE retweeter <> 0").await;
}

async fn lose_everywhere(db: &Fixture<OnPostgres>, call: Call, handles: &[&str], stride: usize) {
    let Some((proxy, pool)) = Proxy::start(db).await else { return };
    for handle in handles {
        for loss in LOSSES {
            let mut losses = 0;
            for at in (1..).step_by(stride) {
                let when = format!("{call:?} on {handle}, {loss:?} lost at {at}");
                proxy.lose(at, loss);
                let outcome = work(&pool, handle, call).await;
                let lost = proxy.end();
                if let Some(pid) = lost {
                    // The server may still be at it.
                    let there = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
                    while db.number(&there).await > 0 {
                        tokio::task::yield_now().await;
                    }
                }
                let told = told(outcome, handle, &when);
                assert!(lost.is_some() || told == Told::Done, "{when}: {told:?} without a loss");
                assert_whole(db, handle, call, told, &when).await;
                let mut next = pool.acquire().await.unwrap_or_else(|error| panic!("{when}: {error}"));
                Fixture::<OnPostgres>::assert_clean(&mut next, &when).await;
                if lost.is_none() {
                    break;
                }
                losses += 1;
            }
            assert!(losses >= 2, "{call:?} on {handle}: lost {losses} times only");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_every_call_whose_connection_is_lost_at_any_step() {
    let db = fixture(1, &[]).await;
    Retweet::get_or_create(&db.pool, known()).await.unwrap();
    for call in CALLS {
        lose_everywhere(&db, call, &["pool", "connection", "sqlx", "savepoint", "transaction"], 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_many_rows_whose_connection_is_lost_at_any_step() {
    let db = fixture(1, &[]).await;
    Retweet::get_or_create(&db.pool, known()).await.unwrap();
    for call in [Call::CreateMany, Call::UpsertMany] {
        lose_everywhere(&db, call, &["pool", "connection", "transaction"], 4).await;
    }
}
