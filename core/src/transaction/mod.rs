//! Transactions that know their state and what follows their commit.

pub(crate) mod begin;
pub(crate) mod callback;
pub(crate) mod closure;
pub(crate) mod conn;
mod control;
mod executor;
pub(crate) mod hooks;
pub(crate) mod on_commit;
pub(crate) mod options;
mod queue;
pub(crate) mod savepoint;
mod state;

use std::{
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
};

use crate::{
    driver::Driver,
    error::Error,
    trace::statement_log,
    transaction::callback::{Callback, Committed, Output, run_callbacks},
    transaction::conn::Conn,
    transaction::hooks::{PendingHook, Registry},
};

/// An open transaction.
///
/// It owns its connection and has no lifetime, so that a closure which borrows it is `Send`.
///
/// It derefs to [`Conn`], which is an sqlx `Executor`: `&mut tx` and `&mut *tx` are handles of this crate's calls, and
/// `sqlx::query(..).execute(&mut *tx)` goes on working. Dropped without [`commit`](Self::commit), it is rolled back and its callbacks are
/// dropped.
///
/// # Statements
///
/// [`begin`](crate::begin) runs one (`BEGIN IMMEDIATE` on SQLite), [`commit`](Self::commit) and [`rollback`](Self::rollback) one each.
///
/// # Example
///
/// ```
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
/// let mut tx = upsertable::begin(&pool).await?;
/// sqlx::query("UPDATE songs SET score = score + 1").execute(&mut *tx).await?;
/// tx.on_commit(async { println!("the new scores are saved") });
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
pub struct Transaction<DB: Driver>(Conn<DB>);

impl<DB: Driver> Deref for Transaction<DB> {
    type Target = Conn<DB>;

    fn deref(&self) -> &Conn<DB> {
        &self.0
    }
}

impl<DB: Driver> DerefMut for Transaction<DB> {
    fn deref_mut(&mut self) -> &mut Conn<DB> {
        &mut self.0
    }
}

impl<DB: Driver> fmt::Debug for Transaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transaction").field(&self.0).finish()
    }
}

impl<DB: Driver> Transaction<DB> {
    /// sqlx's own connection, for what needs it.
    ///
    /// What runs on it bypasses this crate: its statements and errors are not seen, so a transaction that the database ends there is
    /// noticed only by the next statement or by [`commit`](Self::commit), and statements that follow on it run outside any transaction.
    /// A rollback to a savepoint there drops no callback.
    pub fn raw(&mut self) -> &mut DB::Connection {
        self.0.doubt();
        self.0.connection()
    }

    /// Runs `callback` once this transaction is committed, and never otherwise.
    ///
    /// Callbacks run one after the other in the order registered, on a task of their own, after the connection has gone back to the pool;
    /// so a callback may begin transactions of its own, on a pool of one connection too. A callback that fails or panics does not stop the
    /// others: see [`Committed`]. A callback that is registered inside a [`savepoint`](Self::savepoint) is dropped when that is rolled back.
    ///
    /// When the process dies between the commit and the callback, the callback is lost, as it is nowhere but in memory. Work that must not
    /// be lost belongs into the database: write it as a row in the same transaction, and let the callback only announce it.
    ///
    /// # Statements
    ///
    /// None.
    ///
    /// # Cancel safety
    ///
    /// Once COMMIT is on its way, dropping the future of [`commit`](Self::commit) does not stop the callbacks.
    ///
    /// # Example
    ///
    /// ```
    /// # async fn push(_: i64) -> std::io::Result<()> { Ok(()) }
    /// # async fn example(mut tx: upsertable::Transaction<sqlx::Sqlite>, id: i64) {
    /// tx.on_commit(async move { push(id).await });
    /// # }
    /// ```
    #[track_caller]
    pub fn on_commit<F>(&mut self, callback: F)
    where
        F: Future + Send + 'static,
        F::Output: Output,
    {
        self.0.queue.callback(Callback::new(callback));
    }

    /// Commits, returns the connection to the pool, and runs the callbacks.
    ///
    /// # Statements
    ///
    /// One: `COMMIT`. After a second and more without a statement the connection is pinged first, which tells whether the server has ended the
    /// transaction meanwhile.
    ///
    /// # Errors
    ///
    /// * [`Error::Ended`]: the server, a statement of yours or a cancelled call has ended the transaction: see [`EndReason`](crate::EndReason).
    /// * [`Error::RolledBack`]: COMMIT was answered with a rollback; nothing is kept.
    /// * [`Error::CommitUnknown`]: the connection was lost while COMMIT ran.
    /// * [`Error::Sql`]: COMMIT failed, as a deferred constraint can make it; nothing is kept.
    ///
    /// In all of these no callback runs. A callback that fails is not an error of the commit: see [`Committed::failures`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is first polled, the transaction is rolled back. After that, COMMIT and the callbacks run to their end on a task
    /// of their own, whether this future is kept or not.
    ///
    /// # Example
    ///
    /// ```
    /// # async fn example(tx: upsertable::Transaction<sqlx::Sqlite>) -> Result<(), upsertable::Error> {
    /// let committed = tx.commit().await?;
    /// for failure in committed.failures() {
    ///     eprintln!("saved, but a callback failed: {failure}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn commit(self) -> Result<Committed, Error> {
        let mut conn = self.0;
        let task = tokio::spawn(statement_log::inherit(async move {
            conn.commit().await?;
            let callbacks = conn.queue.take();
            drop(conn);
            Ok(run_callbacks(callbacks).await)
        }));
        match task.await {
            Ok(outcome) => outcome,
            // The callbacks' panics are caught, so this is the runtime shutting down.
            Err(stopped) => Err(Error::CommitUnknown { source: sqlx::Error::Io(std::io::Error::other(stopped)) }),
        }
    }

    /// Rolls back, and drops the callbacks.
    ///
    /// # Statements
    ///
    /// One: `ROLLBACK`.
    ///
    /// # Errors
    ///
    /// [`Error::Sql`]: the connection was lost; nothing is kept then either.
    ///
    /// # Cancel safety
    ///
    /// Dropped at any time, the transaction is rolled back all the same.
    ///
    /// # Example
    ///
    /// ```
    /// # async fn example(tx: upsertable::Transaction<sqlx::Sqlite>) -> Result<(), upsertable::Error> {
    /// tx.rollback().await
    /// # }
    /// ```
    pub async fn rollback(mut self) -> Result<(), Error> {
        if self.0.check().await.is_err() {
            return Ok(());
        }
        Ok(self.0.rollback().await?)
    }
}

impl<DB: Driver> Registry for Transaction<DB> {
    fn register(&mut self, hook: PendingHook) {
        self.queue.hook(hook.0);
    }
}

impl<DB: Driver> Registry for Conn<DB> {
    fn register(&mut self, hook: PendingHook) {
        self.queue.hook(hook.0);
    }
}
