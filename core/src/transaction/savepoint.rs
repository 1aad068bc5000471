//! An open savepoint.

use std::future::Future;

use super::{Transaction, queue::Mark};
use crate::{Error, backend::Backend};

/// An open savepoint.
///
/// Dropped before it is done, it leaves the transaction marked as ended.
pub(super) struct Savepoint<'t, DB: Backend> {
    pub(super) tx: &'t mut Transaction<DB>,
    pub(super) mark: Mark,
    pub(super) done: bool,
}

impl<DB: Backend> Savepoint<'_, DB> {
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

impl<DB: Backend> Drop for Savepoint<'_, DB> {
    fn drop(&mut self) {
        if !self.done {
            self.tx.0.queue.return_to(&self.mark);
            self.tx.0.set_unfinished(true);
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
