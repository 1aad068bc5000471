//! An open savepoint.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, resume_unwind},
};

use futures_util::FutureExt as _;

use crate::{driver::Driver, error::Error, transaction::Transaction, transaction::queue::Mark};

/// An open savepoint.
///
/// Dropped before it is done, it leaves the transaction marked as ended.
pub(super) struct Savepoint<'t, DB: Driver> {
    pub(super) tx: &'t mut Transaction<DB>,
    pub(super) mark: Mark,
    pub(super) done: bool,
}

impl<DB: Driver> Savepoint<'_, DB> {
    pub(super) async fn release(mut self) -> Result<(), Error> {
        if let Err(error) = self.tx.0.check().await {
            self.rollback().await;
            return Err(error);
        }
        match self.tx.0.release_savepoint().await {
            Ok(()) => {
                self.done = true;
                Ok(())
            }
            Err(error) => {
                self.rollback().await;
                Err(error.into())
            }
        }
    }

    /// Rolls back to the savepoint.
    ///
    /// The error that led here is the one to tell; where the rollback fails too, the transaction is over.
    pub(super) async fn rollback(mut self) {
        self.tx.0.queue.return_to(&self.mark);
        self.done = self.tx.0.check().await.is_err() || self.tx.0.rollback_savepoint().await.is_ok();
    }
}

impl<DB: Driver> Drop for Savepoint<'_, DB> {
    fn drop(&mut self) {
        if !self.done {
            self.tx.0.queue.return_to(&self.mark);
            self.tx.0.set_unfinished(true);
        }
    }
}

impl<DB: Driver> Transaction<DB> {
    /// Runs `work` inside a savepoint.
    ///
    /// Where `work` fails or panics, what it did is undone, its callbacks are dropped, and the transaction goes on.
    ///
    /// Callbacks registered in a savepoint that succeeds wait for the outermost commit. Savepoints can be nested to any depth.
    ///
    /// # Statements
    ///
    /// Two: `SAVEPOINT` and `RELEASE SAVEPOINT`, or `ROLLBACK TO SAVEPOINT` after an error.
    ///
    /// # Errors
    ///
    /// The error of `work`, or [`Error::Ended`] and [`Error::Sql`] where the savepoint itself fails.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it ends the whole transaction: every later use gives [`Error::Ended`], the commit included.
    ///
    /// # Example
    ///
    /// ```
    /// # async fn example(mut tx: upsertable::Transaction<sqlx::Sqlite>) -> Result<(), upsertable::Error> {
    /// let tried: Result<(), upsertable::Error> = tx
    ///     .savepoint(async |tx| {
    ///         sqlx::query("DELETE FROM songs").execute(&mut **tx).await?;
    ///         Ok(())
    ///     })
    ///     .await;
    /// # drop(tried);
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[allow(clippy::manual_async_fn, reason = "an `async fn` would not promise that its future is `Send`")]
    pub fn savepoint<'a, R, E, F>(&'a mut self, work: F) -> impl Future<Output = Result<R, E>> + Send + 'a
    where
        E: From<Error> + Send + 'a,
        R: Send + 'a,
        for<'t> F: AsyncFnOnce(&'t mut Transaction<DB>) -> Result<R, E>
            + CallOnce<&'t mut Transaction<DB>, Result<R, E>, Fut: Send>
            + Send
            + 'a,
    {
        async move {
            self.0.check().await?;
            let mut guard = Savepoint { mark: self.0.queue.mark(), tx: self, done: false };
            if let Err(error) = guard.tx.0.begin_savepoint().await {
                guard.done = true;
                return Err(Error::from(error).into());
            }
            let outcome = AssertUnwindSafe(work(&mut *guard.tx)).catch_unwind().await;
            match outcome {
                Ok(Ok(value)) => {
                    guard.release().await?;
                    Ok(value)
                }
                Ok(Err(error)) => {
                    guard.rollback().await;
                    Err(error)
                }
                Err(panic) => {
                    guard.rollback().await;
                    resume_unwind(panic)
                }
            }
        }
    }
}

/// An async closure that is called once.
///
/// Its future is named so that it can be required to be `Send`.
pub trait CallOnce<T, R>: AsyncFnOnce(T) -> R + FnOnce(T) -> <Self as CallOnce<T, R>>::Fut {
    /// The closure's future.
    type Fut: Future<Output = R>;
}

impl<F, T, Fut, R> CallOnce<T, R> for F
where
    F: AsyncFnOnce(T) -> R + FnOnce(T) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}
