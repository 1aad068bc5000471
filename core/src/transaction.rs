//! A transaction that knows what to do after its commit, and whether it is still one.

use std::{
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
    panic::{AssertUnwindSafe, resume_unwind},
};

use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{FutureExt as _, TryFutureExt as _, TryStreamExt as _};
use sqlx::{Describe, Either, Execute, Executor, Pool, SqlSafeStr as _, SqlStr, pool::PoolConnection};
use sqlx_core::transaction::TransactionManager as _;

use crate::{
    Error,
    after_commit::{Callback, Committed, Output, run_callbacks},
    backend::{self, Aftermath, Backend},
    error::Ending,
    hooks::{CreatedRows, Hook, Hooks},
    testing,
};

/// The connection of a [`Transaction`]: an sqlx `Executor` that sees every statement, whichever way it is run.
///
/// It refuses statements once the transaction has ended, where plain sqlx would run them outside any transaction.
pub struct Conn<DB: Backend> {
    inner: PoolConnection<DB>,
    /// How many BEGINs and SAVEPOINTs of sqlx's counting are open.
    levels: usize,
    state: State,
    queue: Vec<Queued>,
    created: CreatedRows,
}

/// Work that waits for the commit, in the order registered.
enum Queued {
    Callback(Callback),
    Hook(Hook),
}

/// How far the queue was when a savepoint was set.
struct QueueMark {
    queued: usize,
    created: Vec<usize>,
}

/// What is known of whether the transaction is still one.
#[derive(Debug, Default)]
struct State {
    ended: Option<Ending>,
    /// The database may have ended it; the reason to give if it says so.
    ask: Option<Ending>,
    /// A call is in the middle of its work. Found so by the next one, it was dropped there.
    unfinished: bool,
}

impl State {
    fn observe<DB: Backend>(&mut self, error: &sqlx::Error) {
        let reason = if backend::is_retryable(error) { Ending::Conflict } else { Ending::Server };
        match DB::aftermath(error) {
            Aftermath::Alive => {}
            Aftermath::Ask => self.ask = Some(reason),
            Aftermath::Ended(reason) => self.ended = self.ended.or(Some(reason)),
        }
    }

    fn is_doubtful(&self) -> bool {
        self.unfinished || self.ended.is_some() || self.ask.is_some()
    }
}

impl<DB: Backend> Conn<DB> {
    pub(crate) fn connection(&mut self) -> &mut DB::Connection {
        &mut self.inner
    }

    /// Whether statements may still run here.
    pub(crate) async fn check(&mut self) -> Result<(), Error> {
        if self.state.unfinished {
            self.state.ended = self.state.ended.or(Some(Ending::Cancelled));
        }
        if let (None, Some(reason)) = (self.state.ended, self.state.ask) {
            if DB::is_open(&mut self.inner).await? {
                self.state.ask = None;
            } else {
                self.state.ended = Some(reason);
            }
        }
        match self.state.ended {
            Some(reason) => Err(Error::Ended { reason }),
            None => Ok(()),
        }
    }

    /// Draws the conclusions from an error of a statement that ran here.
    pub(crate) fn observe(&mut self, error: &sqlx::Error) {
        self.state.observe::<DB>(error);
    }

    /// Marks the time in which a call that is dropped leaves the transaction half-way.
    pub(crate) fn set_unfinished(&mut self, unfinished: bool) {
        self.state.unfinished = unfinished;
    }

    pub(crate) async fn begin_savepoint(&mut self) -> Result<(), sqlx::Error> {
        testing::record("SAVEPOINT");
        DB::TransactionManager::begin(&mut self.inner, None).await?;
        self.levels += 1;
        Ok(())
    }

    pub(crate) async fn release_savepoint(&mut self) -> Result<(), sqlx::Error> {
        testing::record("RELEASE SAVEPOINT");
        let released = DB::TransactionManager::commit(&mut self.inner).await;
        self.level_ended(released)
    }

    pub(crate) async fn rollback_savepoint(&mut self) -> Result<(), sqlx::Error> {
        testing::record("ROLLBACK TO SAVEPOINT");
        let undone = DB::TransactionManager::rollback(&mut self.inner).await;
        self.level_ended(undone)
    }

    fn level_ended(&mut self, outcome: Result<(), sqlx::Error>) -> Result<(), sqlx::Error> {
        match &outcome {
            Ok(()) => self.levels -= 1,
            Err(error) => self.observe(error),
        }
        outcome
    }

    pub(crate) fn queue(&mut self, callback: Callback) {
        self.queue.push(Queued::Callback(callback));
    }

    pub(crate) fn queue_hook(&mut self, hook: Hook) {
        self.queue.push(Queued::Hook(hook));
    }

    /// Whether somebody wants to know of created rows of this model.
    pub(crate) fn wants_created<M: 'static>(&self) -> bool {
        self.queue.iter().any(|queued| matches!(queued, Queued::Hook(hook) if hook.is_for::<M>()))
    }

    pub(crate) fn created<M: Send + Sync + 'static>(&mut self, row: M) {
        self.created.push(row);
    }

    /// What is to run now that the transaction is committed.
    fn take_callbacks(&mut self) -> Vec<Callback> {
        let mut created = std::mem::take(&mut self.created);
        let callback = |queued| match queued {
            Queued::Callback(callback) => Some(callback),
            Queued::Hook(hook) => hook.callback(&mut created),
        };
        std::mem::take(&mut self.queue).into_iter().filter_map(callback).collect()
    }

    fn mark(&self) -> QueueMark {
        QueueMark { queued: self.queue.len(), created: self.created.lengths() }
    }

    fn return_to(&mut self, mark: &QueueMark) {
        self.queue.truncate(mark.queued);
        self.created.truncate(&mark.created);
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.check().await?;
        DB::before_commit(&mut self.inner).await.map_err(|source| Error::RolledBack { source: Some(source) })?;
        testing::record("COMMIT");
        match DB::TransactionManager::commit(&mut self.inner).await {
            Ok(()) => {
                self.levels = 0;
                Ok(())
            }
            Err(source) if backend::is_connection_lost(&source) => Err(Error::CommitUnknown { source }),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is still open is rolled back; the driver does it before the connection's next use.
impl<DB: Backend> Drop for Conn<DB> {
    fn drop(&mut self) {
        if self.state.is_doubtful() && DB::CLOSE_UNFINISHED {
            self.inner.close_on_drop();
        } else if self.levels > 0 {
            DB::queue_rollback(&mut self.inner, self.levels);
        }
    }
}

impl<DB: Backend> fmt::Debug for Conn<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("levels", &self.levels).field("state", &self.state).finish_non_exhaustive()
    }
}

/// Notes the statement for [`testing::statements`] when the driver asks for its text.
struct Noted<E>(E);

impl<'q, DB: Backend, E: Execute<'q, DB>> Execute<'q, DB> for Noted<E> {
    fn sql(self) -> SqlStr {
        let sql = self.0.sql();
        testing::record(sql.as_str());
        sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, sqlx::error::BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.0.persistent()
    }
}

/// What plain sqlx is told when the transaction is over: its calls give `sqlx::Error`.
fn refused(error: Error) -> sqlx::Error {
    match error {
        Error::Sql(error) => error,
        other => sqlx::Error::AnyDriverError(Box::new(other)),
    }
}

impl<'c, DB: Backend> Executor<'c> for &'c mut Conn<DB>
where
    for<'x> &'x mut DB::Connection: Executor<'x, Database = DB>,
{
    type Database = DB;

    fn fetch_many<'e, 'q, E>(self, query: E) -> BoxStream<'e, Result<Either<DB::QueryResult, DB::Row>, sqlx::Error>>
    where
        'c: 'e,
        'q: 'e,
        E: Execute<'q, DB> + 'q,
    {
        let stream = async move {
            self.check().await.map_err(refused)?;
            let Conn { inner, state, .. } = self;
            let rows = (&mut **inner).fetch_many(Noted(query));
            Ok(rows.inspect_err(move |error| state.observe::<DB>(error)))
        };
        Box::pin(stream.try_flatten_stream())
    }

    fn fetch_optional<'e, 'q, E>(self, query: E) -> BoxFuture<'e, Result<Option<DB::Row>, sqlx::Error>>
    where
        'c: 'e,
        'q: 'e,
        E: Execute<'q, DB> + 'q,
    {
        Box::pin(async move {
            self.check().await.map_err(refused)?;
            let outcome = (&mut *self.inner).fetch_optional(Noted(query)).await;
            outcome.inspect_err(|error| self.observe(error))
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.check().await.map_err(refused)?;
            let outcome = (&mut *self.inner).prepare_with(sql, parameters).await;
            outcome.inspect_err(|error| self.observe(error))
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<DB>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.check().await.map_err(refused)?;
            let outcome = (&mut *self.inner).describe(sql).await;
            outcome.inspect_err(|error| self.observe(error))
        })
    }
}

/// An open transaction. It owns its connection and has no lifetime, so that a closure which borrows it is `Send`.
///
/// It derefs to [`Conn`], which is an sqlx `Executor`: `&mut tx` and `&mut *tx` are handles of this crate's calls, and
/// `sqlx::query(..).execute(&mut *tx)` goes on working. Dropped without [`commit`](Self::commit), it is rolled back and its callbacks are
/// dropped.
///
/// # Statements
///
/// [`begin`] runs one (`BEGIN IMMEDIATE` on SQLite), [`commit`](Self::commit) and [`rollback`](Self::rollback) one each.
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
pub struct Transaction<DB: Backend>(Conn<DB>);

impl<DB: Backend> Deref for Transaction<DB> {
    type Target = Conn<DB>;

    fn deref(&self) -> &Conn<DB> {
        &self.0
    }
}

impl<DB: Backend> DerefMut for Transaction<DB> {
    fn deref_mut(&mut self) -> &mut Conn<DB> {
        &mut self.0
    }
}

impl<DB: Backend> fmt::Debug for Transaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transaction").field(&self.0).finish()
    }
}

/// Begins a transaction on a connection of the pool.
///
/// On SQLite it begins IMMEDIATE: a deferred transaction that reads and then writes fails at once, whatever the busy timeout, when another
/// has written meanwhile.
///
/// # Statements
///
/// One: `BEGIN`, on SQLite `BEGIN IMMEDIATE`.
///
/// # Errors
///
/// [`Error::Sql`]: no connection could be had, or the database refused.
///
/// # Cancel safety
///
/// Dropped half-way, no transaction stays open.
///
/// # Example
///
/// ```
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
/// let tx = upsertable::begin(&pool).await?;
/// tx.rollback().await?;
/// # Ok(())
/// # }
/// ```
pub async fn begin<DB: Backend>(pool: &Pool<DB>) -> Result<Transaction<DB>, Error> {
    begin_with(pool, &Hooks::default()).await
}

/// The same, with hooks on the rows that the transaction creates.
///
/// # Statements
///
/// One: `BEGIN`, on SQLite `BEGIN IMMEDIATE`.
///
/// # Errors
///
/// [`Error::Sql`]: no connection could be had, or the database refused.
///
/// # Cancel safety
///
/// Dropped half-way, no transaction stays open.
///
/// # Example
///
/// See [`Hooks`].
pub async fn begin_with<DB: Backend>(pool: &Pool<DB>, hooks: &Hooks) -> Result<Transaction<DB>, Error> {
    let mut conn = Conn {
        inner: pool.acquire().await?,
        levels: 0,
        // Marked as unfinished until BEGIN is answered.
        state: State { unfinished: true, ..State::default() },
        queue: hooks.iter().cloned().map(Queued::Hook).collect(),
        created: CreatedRows::default(),
    };
    testing::record(DB::BEGIN);
    DB::TransactionManager::begin(&mut conn.inner, Some(DB::BEGIN.into_sql_str())).await?;
    conn.levels = 1;
    conn.state.unfinished = false;
    Ok(Transaction(conn))
}

impl<DB: Backend> Transaction<DB> {
    /// sqlx's own connection, for what needs it.
    ///
    /// What runs on it bypasses this crate: its statements and errors are not seen, so a transaction that the database ends there is
    /// noticed only by the next statement or by [`commit`](Self::commit), and statements that follow on it run outside any transaction.
    pub fn raw(&mut self) -> &mut DB::Connection {
        self.0.state.ask = self.0.state.ask.or(Some(Ending::Server));
        self.0.connection()
    }

    /// Runs `callback` once this transaction has really been committed, and never otherwise.
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
        self.0.queue(Callback::new(callback));
    }

    /// Commits, gives the connection back to the pool, and runs the callbacks.
    ///
    /// # Statements
    ///
    /// One: `COMMIT`.
    ///
    /// # Errors
    ///
    /// * [`Error::Ended`]: the server or a cancelled call has ended the transaction; nothing is kept.
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
        let task = tokio::spawn(testing::inherit(async move {
            conn.commit().await?;
            let callbacks = conn.take_callbacks();
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
        testing::record("ROLLBACK");
        while self.0.levels > 0 {
            DB::TransactionManager::rollback(&mut self.0.inner).await?;
            self.0.levels -= 1;
        }
        Ok(())
    }

    /// Runs `work` inside a savepoint: where it fails or panics, what it did is undone, its callbacks are dropped, and the transaction goes on.
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
            let guard = Savepoint { mark: self.0.mark(), tx: self, done: false };
            guard.tx.0.begin_savepoint().await.map_err(Error::from)?;
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

/// An open savepoint. Dropped before it is done, it leaves the transaction marked as ended.
struct Savepoint<'t, DB: Backend> {
    tx: &'t mut Transaction<DB>,
    mark: QueueMark,
    done: bool,
}

impl<DB: Backend> Savepoint<'_, DB> {
    async fn release(mut self) -> Result<(), Error> {
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

    /// The error that led here is the one to tell; where the rollback fails too, the transaction is over.
    async fn rollback(mut self) {
        self.tx.0.return_to(&self.mark);
        self.done = self.tx.0.check().await.is_err() || self.tx.0.rollback_savepoint().await.is_ok();
    }
}

impl<DB: Backend> Drop for Savepoint<'_, DB> {
    fn drop(&mut self) {
        if !self.done {
            self.tx.0.return_to(&self.mark);
            self.tx.0.state.unfinished = true;
        }
    }
}

/// An async closure that is called once, with its future named so that it can be required to be `Send`.
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
