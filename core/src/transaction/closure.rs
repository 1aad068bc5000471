//! A transaction as a closure, with retries.

use std::future::Future;

use sqlx::Pool;

use crate::{
    driver::Driver, error::Error, retry::backoff, trace::span::CallSpan, transaction::Transaction,
    transaction::conn::Conn, transaction::options::TransactionOptions,
};

/// Runs `work` in a transaction, commits, and runs the callbacks.
///
/// Where a deadlock or a serialization failure happens inside, or on PostgreSQL a statement was prepared before its table changed, the
/// closure is run again in a new transaction: up to five times, after a pause that doubles each time and is half chance. What counts is
/// what was seen on the transaction itself, so it does not matter what error type the closure turns it into. The callbacks of a try that
/// failed are dropped. What the closure does besides the database is done again too, so it should be in a
/// [callback](Transaction::on_commit).
///
/// With other tries, pauses, isolation or hooks: [`TransactionOptions`].
///
/// # Statements
///
/// For each try `BEGIN` (on SQLite `BEGIN IMMEDIATE`) and `COMMIT`, or `ROLLBACK` after an error.
///
/// # Errors
///
/// The closure's own; and those of [`begin`](crate::begin) and [`Transaction::commit`], turned into it.
///
/// # Cancel safety
///
/// Dropped half-way, the transaction is rolled back and its callbacks are dropped. Once COMMIT is on its way it runs to its end, and so do the
/// callbacks.
///
/// # Example
///
/// ```
/// # use upsertable::Upsertable;
/// # #[derive(Debug, sqlx::FromRow, Upsertable)]
/// # #[unique(name)]
/// # struct Song { #[upsertable(generated)] id: i64, name: String, score: i64 }
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
/// let id = upsertable::transaction(&pool, async |tx| {
///     let song = Song::get_or_create(&mut *tx, NewSong { name: "Naima".into(), score: 7 }).await?.into_row();
///     let id = song.id;
///     tx.on_commit(async move { println!("song {id} is saved") });
///     Ok::<_, upsertable::Error>(id)
/// })
/// .await?;
/// # Ok(())
/// # }
/// ```
pub fn transaction<'a, DB, R, E, F>(pool: &'a Pool<DB>, work: F) -> impl Future<Output = Result<R, E>> + Send + 'a
where
    DB: Driver,
    E: From<Error> + Send + 'a,
    R: Send + 'a,
    for<'t> F: AsyncFnMut(&'t mut Transaction<DB>) -> Result<R, E>
        + Call<&'t mut Transaction<DB>, Result<R, E>, Fut: Send>
        + Send
        + 'a,
{
    TransactionOptions::new().run(pool, work)
}

impl TransactionOptions {
    /// Runs `work` in a transaction with these options.
    ///
    /// All else is as for [`transaction`](fn@crate::transaction).
    #[allow(clippy::manual_async_fn, reason = "an `async fn` would not promise that its future is `Send`")]
    pub fn run<'a, DB, R, E, F>(self, pool: &'a Pool<DB>, mut work: F) -> impl Future<Output = Result<R, E>> + Send + 'a
    where
        DB: Driver,
        E: From<Error> + Send + 'a,
        R: Send + 'a,
        for<'t> F: AsyncFnMut(&'t mut Transaction<DB>) -> Result<R, E>
            + Call<&'t mut Transaction<DB>, Result<R, E>, Fut: Send>
            + Send
            + 'a,
    {
        async move {
            let watch = CallSpan::transaction();
            let running = async {
                let mut tries = 1;
                let mut outdated = false;
                loop {
                    watch.tries(tries);
                    let failed = match Conn::begin(pool, &self, &self.hooks, outdated).await.map(Transaction) {
                        Ok(mut tx) => {
                            let outcome = work(&mut tx).await;
                            match finish(tx, outcome).await {
                                Ok(value) => return Ok(value),
                                Err(failed) => failed,
                            }
                        }
                        Err(error) => Failed { conflict: error.is_retryable(), outdated, error: error.into() },
                    };
                    outdated |= failed.outdated;
                    if !failed.conflict || tries >= self.attempts {
                        return Err(failed.error);
                    }
                    tokio::time::sleep(backoff(tries, self.first_pause, self.longest_pause)).await;
                    tries += 1;
                }
            };
            watch.run(running).await
        }
    }
}

/// The error of a try, and whether another may succeed.
struct Failed<E> {
    error: E,
    conflict: bool,
    /// True if statements prepared on the pool's connections may be outdated.
    outdated: bool,
}

async fn finish<DB: Driver, R, E: From<Error>>(mut tx: Transaction<DB>, outcome: Result<R, E>) -> Result<R, Failed<E>> {
    let (conflict, outdated) = (tx.0.may_run_again().await, tx.0.state.outdated);
    match outcome {
        Ok(value) => match tx.commit().await {
            Ok(_) => Ok(value),
            Err(error) => {
                let conflict = error.is_retryable() || (conflict && error.is_ended());
                Err(Failed { conflict, outdated, error: error.into() })
            }
        },
        Err(error) => {
            // A failure here comes again for the connection's next user, and the closure's error is the one to tell.
            drop(tx.rollback().await);
            Err(Failed { error, conflict, outdated })
        }
    }
}

/// An async closure that may be called several times.
///
/// Its future is named so that it can be required to be `Send`.
pub trait Call<T, R>: AsyncFnMut(T) -> R + FnMut(T) -> <Self as Call<T, R>>::Fut {
    /// The closure's future.
    type Fut: Future<Output = R>;
}

impl<F, T, Fut, R> Call<T, R> for F
where
    F: AsyncFnMut(T) -> R + FnMut(T) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}
