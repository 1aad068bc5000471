//! Cases known from Django's `transaction.on_commit`, one by one.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use upsertable::{Error, Transaction, Upsertable as _};
use upsertable_tests::{
    TestDb as _,
    models::{Pledge, Retweet, retweet},
};

use super::{Db, Fixture, ImportError, Subject, kind, plain};

/// Rows and callbacks that come in pairs.
///
/// Whatever becomes of a transaction, both are there or neither.
struct Pairs {
    db: Fixture,
    told: Told,
}

/// The numbers that callbacks have told, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<i64>>>);

impl Told {
    /// Creates the row of this number, with a callback that tells it.
    async fn save(&self, tx: &mut Transaction<Db>, number: i64) -> Result<(), Error> {
        assert!(Retweet::get_or_create(&mut *tx, retweet(number, 0)).await?.created);
        let told = self.clone();
        tx.on_commit(async move { told.push(number) });
        Ok(())
    }

    fn push(&self, number: i64) {
        self.0.lock().unwrap().push(number);
    }
}

impl Pairs {
    /// Makes a database with a pool of one connection.
    ///
    /// So each transaction has the connection of the one before.
    async fn new() -> Self {
        Self { db: Fixture::with_connections(1).await, told: Told::default() }
    }

    async fn begin(&self) -> Transaction<Db> {
        upsertable::begin(&self.db.pool).await.unwrap()
    }

    async fn save(&self, tx: &mut Transaction<Db>, number: i64) {
        self.told.save(tx, number).await.unwrap();
    }

    /// Checks that exactly these rows are committed and told.
    ///
    /// Their callbacks have run in this order.
    async fn assert_done(&self, numbers: &[i64]) {
        assert_eq!(*self.told.0.lock().unwrap(), numbers);
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable();
        assert_eq!(self.db.numbers("SELECT tweet FROM retweets ORDER BY 1").await, sorted);
    }
}

/// An error that rolls a savepoint back where nothing is wrong.
fn change_of_mind() -> Error {
    sqlx::Error::RowNotFound.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_transaction_a_callback_runs_at_once() {
    let pairs = Pairs::new().await;
    Retweet::get_or_create(&pairs.db.pool, retweet(1, 0)).await.unwrap();
    let told = pairs.told.clone();
    upsertable::on_commit(&pairs.db.pool, async move { told.push(1) }).await.unwrap();
    pairs.assert_done(&[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_transaction_an_error_in_a_callback_is_told_and_concerns_no_other() {
    let pairs = Pairs::new().await;
    let failed = upsertable::on_commit(&pairs.db.pool, async { Err::<(), _>(ImportError::Line(1)) }).await.unwrap();
    assert_eq!(failed.failures().len(), 1);
    let mut tx = pairs.begin().await;
    pairs.save(&mut tx, 1).await;
    assert!(tx.commit().await.unwrap().failures().is_empty());
    pairs.assert_done(&[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_callback_waits_for_the_commit() {
    let pairs = Pairs::new().await;
    let mut tx = pairs.begin().await;
    pairs.save(&mut tx, 1).await;
    pairs.assert_done(&[]).await;
    tx.commit().await.unwrap();
    pairs.assert_done(&[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_callback_of_a_transaction_that_failed_never_runs() {
    let pairs = Pairs::new().await;
    let failed = upsertable::transaction(&pairs.db.pool, async |tx| {
        pairs.told.save(tx, 1).await?;
        Err::<(), _>(ImportError::Line(1))
    });
    assert!(matches!(failed.await, Err(ImportError::Line(1))));
    pairs.assert_done(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_callback_of_a_savepoint_waits_for_the_outermost_commit() {
    let pairs = Pairs::new().await;
    let mut tx = pairs.begin().await;
    let outer = tx.savepoint(async |tx| {
        tx.savepoint(async |tx| pairs.told.save(tx, 1).await).await?;
        pairs.assert_done(&[]).await;
        Ok::<_, Error>(())
    });
    outer.await.unwrap();
    pairs.assert_done(&[]).await;
    tx.commit().await.unwrap();
    pairs.assert_done(&[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_savepoint_that_is_rolled_back_drops_its_own_callbacks_only() {
    let pairs = Pairs::new().await;
    let mut tx = pairs.begin().await;
    let kept = tx.savepoint(async |tx| pairs.told.save(tx, 1).await).await;
    kept.unwrap();
    let undone = tx.savepoint(async |tx| {
        pairs.told.save(tx, 2).await?;
        Err::<(), _>(change_of_mind())
    });
    undone.await.unwrap_err();
    let kept = tx.savepoint(async |tx| pairs.told.save(tx, 3).await).await;
    kept.unwrap();
    tx.commit().await.unwrap();
    pairs.assert_done(&[1, 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_savepoint_rolled_back_at_once_leaves_the_outer_callbacks_alone() {
    let pairs = Pairs::new().await;
    let mut tx = pairs.begin().await;
    let outer = tx.savepoint(async |tx| {
        pairs.told.save(tx, 1).await?;
        let inner: Result<(), Error> = tx.savepoint(async |_| Err(change_of_mind())).await;
        inner.unwrap_err();
        pairs.told.save(tx, 2).await
    });
    outer.await.unwrap();
    tx.commit().await.unwrap();
    pairs.assert_done(&[1, 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_released_savepoint_goes_with_the_savepoint_around_it() {
    let pairs = Pairs::new().await;
    let mut tx = pairs.begin().await;
    let outer = tx.savepoint(async |tx| {
        tx.savepoint(async |tx| pairs.told.save(tx, 1).await).await?;
        Err::<(), _>(change_of_mind())
    });
    outer.await.unwrap_err();
    pairs.save(&mut tx, 2).await;
    tx.commit().await.unwrap();
    pairs.assert_done(&[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_released_savepoint_goes_with_the_transaction() {
    let pairs = Pairs::new().await;
    for dropped in [false, true] {
        let mut tx = pairs.begin().await;
        tx.savepoint(async |tx| pairs.told.save(tx, 1).await).await.unwrap();
        if dropped {
            drop(tx);
        } else {
            tx.rollback().await.unwrap();
        }
        pairs.assert_done(&[]).await;
    }
}

/// Nests savepoints in the transaction, of which some fail.
///
/// The transaction is level 0, each savepoint one more; a level fails where its bit is set, after the levels inside it are done.
fn descend<'t>(
    told: &'t Told,
    tx: &'t mut Transaction<Db>,
    level: i64,
    failing: i64,
) -> BoxFuture<'t, Result<(), Error>> {
    Box::pin(async move {
        told.save(tx, failing * 100 + level).await?;
        if level < 5 {
            let inner = tx.savepoint(async |tx| descend(told, tx, level + 1, failing).await).await;
            assert_eq!(inner.is_err(), failing >> (level + 1) & 1 == 1);
        }
        told.save(tx, failing * 100 + 50 - level).await?;
        if failing >> level & 1 == 1 { Err(change_of_mind()) } else { Ok(()) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_five_savepoints_deep_exactly_the_callbacks_of_what_is_kept_run_whichever_levels_fail() {
    let pairs = Pairs::new().await;
    let mut expected = Vec::new();
    for failing in 0..64_i64 {
        let outcome =
            upsertable::transaction(&pairs.db.pool, async |tx| descend(&pairs.told, tx, 0, failing).await).await;
        assert_eq!(outcome.is_err(), failing & 1 == 1);
        // Only the levels above the first that fails are kept.
        let kept = i64::from(failing.trailing_zeros().min(6));
        expected.extend((0..kept).map(|level| failing * 100 + level));
        expected.extend((0..kept).rev().map(|level| failing * 100 + 50 - level));
        pairs.assert_done(&expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_callbacks_run_in_the_order_registered_inside_and_outside_of_savepoints() {
    let pairs = Pairs::new().await;
    let mut tx = pairs.begin().await;
    pairs.save(&mut tx, 3).await;
    let savepoint = tx.savepoint(async |tx| {
        pairs.told.save(tx, 1).await?;
        tx.savepoint(async |tx| pairs.told.save(tx, 5).await).await?;
        pairs.told.save(tx, 4).await
    });
    savepoint.await.unwrap();
    pairs.save(&mut tx, 2).await;
    tx.commit().await.unwrap();
    pairs.assert_done(&[3, 1, 5, 4, 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_the_callbacks_of_one_transaction_are_not_those_of_the_next() {
    let pairs = Pairs::new().await;
    for number in [1, 2] {
        let mut tx = pairs.begin().await;
        pairs.save(&mut tx, number).await;
        tx.commit().await.unwrap();
    }
    let mut tx = pairs.begin().await;
    pairs.save(&mut tx, 3).await;
    tx.rollback().await.unwrap();
    let mut tx = pairs.begin().await;
    pairs.save(&mut tx, 4).await;
    tx.commit().await.unwrap();
    pairs.assert_done(&[1, 2, 4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c3_an_error_in_a_callback_stops_no_other_and_stays_with_its_transaction() {
    let pairs = Pairs::new().await;
    let mut tx = pairs.begin().await;
    pairs.save(&mut tx, 1).await;
    tx.on_commit(async { Err::<(), _>(ImportError::Line(1)) });
    let inside = tx.savepoint(async |tx| {
        tx.on_commit(async { panic!("in a callback") });
        pairs.told.save(tx, 2).await
    });
    inside.await.unwrap();
    let committed = tx.commit().await.expect("the data is saved");
    assert_eq!(committed.failures().len(), 2);
    pairs.assert_done(&[1, 2]).await;

    let mut tx = pairs.begin().await;
    pairs.save(&mut tx, 3).await;
    assert!(tx.commit().await.unwrap().failures().is_empty());
    pairs.assert_done(&[1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_a_callback_may_query() {
    let pairs = Pairs::new().await;
    let mut tx = pairs.begin().await;
    pairs.save(&mut tx, 7).await;
    let (pool, told) = (pairs.db.pool.clone(), Told::default());
    let seen = told.clone();
    tx.on_commit(async move {
        let tweets: Vec<i64> = sqlx::query_scalar("SELECT tweet FROM retweets").fetch_all(&pool).await?;
        for tweet in tweets {
            seen.push(tweet);
        }
        Ok::<_, sqlx::Error>(())
    });
    assert!(tx.commit().await.unwrap().failures().is_empty());
    assert_eq!(*told.0.lock().unwrap(), [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_a_callback_may_register_callbacks_in_transactions_of_its_own() {
    let pairs = Pairs::new().await;
    let mut tx = pairs.begin().await;
    let (pool, told) = (pairs.db.pool.clone(), pairs.told.clone());
    tx.on_commit(async move {
        let mut tx = upsertable::begin(&pool).await?;
        told.save(&mut tx, 1).await?;
        let (pool, inner) = (pool.clone(), told.clone());
        tx.on_commit(async move {
            upsertable::transaction(&pool, async |tx| inner.save(tx, 2).await).await?;
            // There is no transaction here any more, so this runs at once.
            Retweet::get_or_create(&pool, retweet(3, 0)).await?;
            upsertable::on_commit(&pool, async move { inner.push(3) }).await.map(drop)
        });
        told.save(&mut tx, 4).await?;
        assert!(tx.commit().await?.failures().is_empty());
        Ok::<_, Error>(())
    });
    pairs.save(&mut tx, 5).await;
    assert!(tx.commit().await.unwrap().failures().is_empty());
    pairs.assert_done(&[1, 2, 3, 4, 5]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_a_rollback_in_a_callback_is_of_the_callbacks_own_transaction() {
    let pairs = Pairs::new().await;
    let mut tx = pairs.begin().await;
    pairs.save(&mut tx, 1).await;
    let (pool, told) = (pairs.db.pool.clone(), pairs.told.clone());
    tx.on_commit(async move {
        let mut tx = upsertable::begin(&pool).await?;
        told.save(&mut tx, 2).await?;
        tx.rollback().await
    });
    pairs.save(&mut tx, 3).await;
    assert!(tx.commit().await.unwrap().failures().is_empty());
    pairs.assert_done(&[1, 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_commit_that_fails_runs_none() {
    let pairs = Pairs::new().await;
    let failed = upsertable::transaction(&pairs.db.pool, async |tx| {
        pairs.told.save(tx, 1).await?;
        tx.savepoint(async |tx| pairs.told.save(tx, 2).await).await?;
        if Subject::DEFERRED_CONSTRAINTS {
            Pledge::get_or_create(tx, Pledge { code: "a".into(), account: 404 }).await?;
        } else {
            Subject::spoil(tx, &pairs.db.outside).await;
        }
        Ok::<_, ImportError>(())
    });
    let Err(ImportError::Database(error)) = failed.await else { panic!("the commit did not fail") };
    let expected = if Subject::DEFERRED_CONSTRAINTS { "Sql" } else { "Ended" };
    assert_eq!(kind(&error), expected, "{error}");
    pairs.assert_done(&[]).await;

    let mut tx = pairs.begin().await;
    pairs.save(&mut tx, 3).await;
    tx.commit().await.unwrap();
    pairs.assert_done(&[3]).await;
}

/// Ends the connection of a transaction, and the transaction with it.
async fn lose_connection(db: &Fixture, tx: &mut Transaction<Db>) {
    let (own_id, end) = match <Db as sqlx::Database>::NAME {
        // With a time to wait for its end, as the server's process might do what is asked of it meanwhile.
        "PostgreSQL" => ("SELECT CAST(pg_backend_pid() AS BIGINT)", "SELECT pg_terminate_backend({}, 60000)"),
        "MySQL" => ("SELECT CAST(connection_id() AS SIGNED)", "KILL {}"),
        // A file is never out of reach, so the connection is closed, and another is put in its place.
        _ => {
            let another = db.another_pool(1).await.acquire().await.unwrap().detach();
            let lost = std::mem::replace(tx.raw(), another);
            return sqlx::Connection::close(lost).await.unwrap();
        }
    };
    let id: i64 = sqlx::query_scalar(own_id).fetch_one(&mut **tx).await.unwrap();
    sqlx::raw_sql(plain(&end.replace("{}", &id.to_string()))).execute(&db.outside).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_lost_connection_takes_its_callbacks_along() {
    let pairs = Pairs::new().await;
    for (number, notices) in [(1, false), (2, true)] {
        let mut tx = pairs.begin().await;
        pairs.save(&mut tx, 10 * number).await;
        lose_connection(&pairs.db, &mut tx).await;
        if notices {
            Retweet::get_or_create(&mut tx, retweet(10 * number + 1, 0)).await.unwrap_err();
        }
        let error = tx.commit().await.unwrap_err();
        assert!(
            matches!(kind(&error), "Ended" | "RolledBack" | "CommitUnknown") || error.is_connection_lost(),
            "{error}"
        );

        let mut tx = pairs.begin().await;
        pairs.save(&mut tx, number).await;
        tx.commit().await.unwrap();
        pairs.assert_done(&(1..=number).collect::<Vec<_>>()).await;
    }
}
