//! Callbacks after a commit, and what became of them.

use std::future::Future;

use sqlx::Pool;

use crate::{
    driver::Driver,
    error::Error,
    outcome::CallFuture,
    trace::statement_log,
    transaction::Transaction,
    transaction::callback::{Callback, Committed, Output, run_callbacks},
    transaction::conn::Conn,
};

/// A target of [`on_commit`]: a transaction, or a pool.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run a callback after the commit",
    label = "expected `&mut Transaction` or `&Pool`",
    note = "a bare connection cannot tell whether its transaction will be committed: begin it with `upsertable::begin`"
)]
pub trait AfterCommit<'c>: Send + 'c {
    /// Takes the callback.
    #[doc(hidden)]
    fn take(self, callback: PendingCallback) -> CallFuture<'c, Committed>;
}

/// A callback on its way to its transaction.
#[doc(hidden)]
pub struct PendingCallback(Callback);

impl<'c, DB: Driver> AfterCommit<'c> for &'c mut Transaction<DB> {
    fn take(self, callback: PendingCallback) -> CallFuture<'c, Committed> {
        self.queue.callback(callback.0);
        Box::pin(std::future::ready(Ok(Committed::default())))
    }
}

impl<'c, DB: Driver> AfterCommit<'c> for &'c mut Conn<DB> {
    fn take(self, callback: PendingCallback) -> CallFuture<'c, Committed> {
        self.queue.callback(callback.0);
        Box::pin(std::future::ready(Ok(Committed::default())))
    }
}

impl<'c, DB: Driver> AfterCommit<'c> for &'c Pool<DB> {
    fn take(self, callback: PendingCallback) -> CallFuture<'c, Committed> {
        Box::pin(async move {
            let task = tokio::spawn(statement_log::inherit(run_callbacks(vec![callback.0])));
            task.await.map_err(|stopped| Error::Sql(sqlx::Error::Io(std::io::Error::other(stopped))))
        })
    }
}

/// Runs `callback` after the commit of `db`.
///
/// On a [`Transaction`] it is queued, as by [`Transaction::on_commit`]; on a pool, where every statement is committed already, it is run
/// now and awaited.
///
/// So a function that is given either can say what is to happen once its data is saved. A bare connection does not compile: it cannot
/// tell whether its transaction will be committed.
///
/// # Statements
///
/// None.
///
/// # Errors
///
/// [`Error::Sql`]: the runtime shut down before the callback was done (on a pool). A callback's own failure is in the [`Committed`] that is
/// returned on a pool, and in that of the commit on a transaction.
///
/// # Cancel safety
///
/// On a transaction the callback is queued as soon as this function is called. On a pool it runs to its end on a task of its own once the
/// future has been polled.
///
/// # Example
///
/// ```
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
/// let mut tx = upsertable::begin(&pool).await?;
/// upsertable::on_commit(&mut tx, async { println!("once it is saved") }).await?;
/// tx.commit().await?;
/// upsertable::on_commit(&pool, async { println!("at once") }).await?;
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn on_commit<'c, D, F>(db: D, callback: F) -> CallFuture<'c, Committed>
where
    D: AfterCommit<'c>,
    F: Future + Send + 'static,
    F::Output: Output,
{
    db.take(PendingCallback(Callback::new(callback)))
}
