//! The handles that calls accept, and the connections behind them.

use std::ops::{Deref, DerefMut};

use futures_core::future::BoxFuture;
use futures_util::TryStreamExt as _;
use sqlx::{Connection as _, Either, Pool, pool::PoolConnection};

use crate::{
    Error,
    backend::{self, Backend},
    model::ModelVTable,
    sql::{Sql, Statement},
    testing,
    transaction::{Conn, Transaction},
};

/// A database handle: a pool, a connection or a transaction.
///
/// A pool is `&Pool<DB>`, a connection `&mut DB::Connection` or `&mut PoolConnection<DB>`, a transaction this crate's own
/// `&mut Transaction<DB>` (`&mut tx` or `&mut *tx`). The trait cannot be implemented elsewhere. Of an sqlx transaction, give its
/// connection: `&mut *tx`.
///
/// * On a **pool**, a call takes one connection and does its work in a transaction of its own where it needs one. It does the work again
///   when it lost against another transaction, or when a statement of it was prepared before its table changed.
/// * On a **connection**, a call that needs a transaction begins one, or sets a savepoint in the one that is open, also in one begun with
///   plain SQL.
/// * In a **[`Transaction`]**, a call that needs to be undone as a whole sets a savepoint. A call that writes and is dropped half-way ends
///   the transaction.
///
/// # Dropped calls
///
/// A call that is dropped half-way leaves nothing on a pool, and ends a [`Transaction`]. On a connection that you lent it is undone before the
/// connection's next statement, but on MySQL and MariaDB: there sqlx does not know of a `BEGIN` that was given up before its answer, so the
/// connection can be left in a transaction that nobody commits.
///
/// * Give the pool's connection as `&mut conn`, and it is closed when it goes back.
/// * Where you gave `&mut *conn`, or an sqlx transaction on it, close it yourself: `conn.close_on_drop()`.
///
/// ```
/// # use upsertable::Upsertable;
/// # #[derive(Debug, sqlx::FromRow, Upsertable)]
/// # #[unique(name)]
/// # struct Song { #[upsertable(generated)] id: i64, name: String, score: i64 }
/// # #[cfg(feature = "mysql")]
/// # async fn example(pool: sqlx::MySqlPool, songs: Vec<NewSong>) -> Result<(), upsertable::Error> {
/// # use std::time::Duration;
/// let mut conn = pool.acquire().await?;
/// let done = tokio::time::timeout(Duration::from_secs(5), Song::bulk_upsert(&mut conn, songs)).await;
/// drop(conn); // closed if the time was up
/// # drop(done);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database handle",
    label = "expected `&Pool<DB>`, a `&mut` connection, or `&mut` of upsertable's `Transaction`",
    note = "of an sqlx transaction or a pool's connection, give the connection inside: `&mut *tx`"
)]
pub trait Handle<'c, DB: Backend>: Send + 'c {
    /// Opens the session in which the statements run.
    #[doc(hidden)]
    fn session(self) -> Session<'c, DB>;
}

impl<'c, DB: Backend> Handle<'c, DB> for &'c Pool<DB> {
    fn session(self) -> Session<'c, DB> {
        Session::pool(self)
    }
}

impl<'c, DB: Backend> Handle<'c, DB> for &'c mut Transaction<DB> {
    fn session(self) -> Session<'c, DB> {
        Session::Inside(self)
    }
}

impl<'c, DB: Backend> Handle<'c, DB> for &'c mut Conn<DB> {
    fn session(self) -> Session<'c, DB> {
        Session::Inside(self)
    }
}

impl<'c, DB: Backend> Handle<'c, DB> for &'c mut PoolConnection<DB> {
    fn session(self) -> Session<'c, DB> {
        Session::Bare(Borrowed::Pooled(self))
    }
}

#[cfg(feature = "mysql")]
impl<'c> Handle<'c, sqlx::MySql> for &'c mut sqlx::MySqlConnection {
    fn session(self) -> Session<'c, sqlx::MySql> {
        Session::Bare(Borrowed::Connection(self))
    }
}

#[cfg(feature = "sqlite")]
impl<'c> Handle<'c, sqlx::Sqlite> for &'c mut sqlx::SqliteConnection {
    fn session(self) -> Session<'c, sqlx::Sqlite> {
        Session::Bare(Borrowed::Connection(self))
    }
}

#[cfg(feature = "postgres")]
impl<'c> Handle<'c, sqlx::Postgres> for &'c mut sqlx::PgConnection {
    fn session(self) -> Session<'c, sqlx::Postgres> {
        Session::Bare(Borrowed::Connection(self))
    }
}

/// A handle as an enum: pool, connection or transaction.
pub enum Session<'c, DB: Backend> {
    /// A pool, and true once its prepared statements may be outdated.
    ///
    /// The next connection then forgets what is prepared on it, as a table has changed since.
    Pool(&'c Pool<DB>, bool),
    Bare(Borrowed<'c, DB>),
    Inside(&'c mut Conn<DB>),
}

/// A connection that a caller lends.
pub enum Borrowed<'c, DB: Backend> {
    Connection(&'c mut DB::Connection),
    /// A pool's connection, which can be closed.
    ///
    /// Where a call on it was given up, it is closed once it goes back to its pool.
    Pooled(&'c mut PoolConnection<DB>),
}

impl<DB: Backend> Borrowed<'_, DB> {
    fn reborrow(&mut self) -> Borrowed<'_, DB> {
        match self {
            Self::Connection(conn) => Borrowed::Connection(&mut **conn),
            Self::Pooled(conn) => Borrowed::Pooled(conn),
        }
    }
}

impl<DB: Backend> Deref for Borrowed<'_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        match self {
            Self::Connection(conn) => conn,
            Self::Pooled(conn) => conn,
        }
    }
}

impl<DB: Backend> DerefMut for Borrowed<'_, DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        match self {
            Self::Connection(conn) => conn,
            Self::Pooled(conn) => conn,
        }
    }
}

impl<'c, DB: Backend> Session<'c, DB> {
    pub(crate) fn pool(pool: &'c Pool<DB>) -> Self {
        Self::Pool(pool, false)
    }

    /// Returns true on a pool.
    ///
    /// Only there is the transaction the call's own, so that it may be done again.
    pub(crate) fn is_pool(&self) -> bool {
        matches!(self, Self::Pool(..))
    }

    /// Tests if the call may be repeated here after this error.
    ///
    /// A row that vanished leaves the caller's transaction as it was; every other conflict may have ended it.
    pub(crate) fn may_repeat(&mut self, error: &Error) -> bool {
        if let Self::Pool(_, outdated) = self {
            *outdated |= error.as_sql().is_some_and(backend::is_outdated);
        }
        error.is_retryable() && (self.is_pool() || matches!(error, Error::Vanished { .. }))
    }

    /// Tests if a hook waits for this model's created rows.
    pub(crate) fn wants_created(&self, model: &ModelVTable<DB>) -> bool {
        matches!(self, Self::Inside(conn) if conn.queue.wants_created(model.id))
    }

    /// Hands the rows that the call has created to the hooks.
    pub(crate) fn created(&mut self, model: &ModelVTable<DB>, rows: &[DB::Row]) -> Result<(), Error> {
        if let Self::Inside(conn) = self
            && conn.queue.wants_created(model.id)
        {
            for row in rows {
                (model.created)(conn, row)?;
            }
        }
        Ok(())
    }

    /// Gives a connection, taken from the pool if need be.
    pub(crate) async fn link(&mut self) -> Result<Link<'_, DB>, Error> {
        Ok(match self {
            Self::Pool(pool, outdated) => {
                let mut conn = pool.acquire().await?;
                if *outdated {
                    conn.clear_cached_statements().await?;
                }
                Link::Pooled(conn, pool)
            }
            Self::Bare(conn) => Link::Bare(conn.reborrow()),
            Self::Inside(conn) => {
                conn.check().await?;
                Link::Inside(conn)
            }
        })
    }
}

/// A connection in use by a call.
pub enum Link<'c, DB: Backend> {
    Pooled(PoolConnection<DB>, &'c Pool<DB>),
    Bare(Borrowed<'c, DB>),
    Inside(&'c mut Conn<DB>),
}

impl<'c, DB: Backend> Link<'c, DB> {
    pub(crate) fn bare(conn: &'c mut DB::Connection) -> Self {
        Self::Bare(Borrowed::Connection(conn))
    }
}

impl<DB: Backend> Link<'_, DB> {
    /// Keeps a connection that was left half-way from further use.
    ///
    /// It does so as far as the handle can: a pool's connection is closed, and a transaction of ours refuses its next statement.
    pub(crate) fn give_up(&mut self) {
        match self {
            Self::Pooled(conn, _) => conn.close_on_drop(),
            Self::Bare(Borrowed::Pooled(conn)) => conn.close_on_drop(),
            Self::Bare(Borrowed::Connection(_)) => {}
            Self::Inside(conn) => conn.set_unfinished(true),
        }
    }

    /// Runs a statement and counts the rows that it changed.
    pub(crate) async fn execute(&mut self, statement: Statement<DB>) -> Result<u64, sqlx::Error> {
        let changed = |step: Either<DB::QueryResult, DB::Row>| match step {
            Either::Left(result) => DB::rows_affected(&result),
            Either::Right(_) => 0,
        };
        testing::record(statement.as_str());
        let running = Running { link: self, done: false };
        let stream = DB::run(running.link.raw(), statement);
        let outcome = stream.try_fold(0, |sum, step| std::future::ready(Ok(sum + changed(step)))).await;
        running.done();
        self.ended(outcome).await
    }

    /// Runs a statement to its end and gives its rows.
    pub(crate) async fn fetch(&mut self, statement: Statement<DB>) -> Result<Vec<DB::Row>, sqlx::Error> {
        testing::record(statement.as_str());
        let running = Running { link: self, done: false };
        let rows = DB::run(running.link.raw(), statement).try_filter_map(|step| std::future::ready(Ok(step.right())));
        let outcome = rows.try_collect().await;
        running.done();
        self.ended(outcome).await
    }

    /// Returns a statement's result, and forgets outdated prepared statements.
    ///
    /// A statement that was prepared before its table changed would fail each time, so all that is prepared is forgotten. A transaction of
    /// ours gives up its connection instead.
    async fn ended<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if let (Err(error), Self::Pooled(..) | Self::Bare(_)) = (&outcome, &*self)
            && backend::is_outdated(error)
        {
            // Where that fails the connection is of no use, and is not used again.
            drop(self.raw().clear_cached_statements().await);
        }
        self.track_result(outcome)
    }

    /// Runs a statement that writes, and gives its rows.
    ///
    /// Dropped half-way inside a transaction, it ends the transaction.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "elsewhere a savepoint is set"))]
    pub(crate) async fn fetch_written(&mut self, statement: Statement<DB>) -> Result<Vec<DB::Row>, sqlx::Error> {
        self.set_unfinished(true);
        let outcome = self.fetch(statement).await;
        self.set_unfinished(false);
        outcome
    }

    /// Runs a statement that writes, and counts the changed rows.
    ///
    /// Dropped half-way inside a transaction, it ends the transaction.
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "the others give back the rows"))]
    pub(crate) async fn execute_written(&mut self, statement: Statement<DB>) -> Result<u64, sqlx::Error> {
        self.set_unfinished(true);
        let outcome = self.execute(statement).await;
        self.set_unfinished(false);
        outcome
    }

    /// The driver's own connection.
    ///
    /// Results of what runs there go through [`track_result`](Self::track_result).
    pub(crate) fn raw(&mut self) -> &mut DB::Connection {
        match self {
            Self::Pooled(conn, _) => conn,
            Self::Bare(conn) => conn,
            Self::Inside(conn) => conn.connection(),
        }
    }

    /// Notes in a transaction of ours what the result says.
    pub(crate) fn track_result<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        match self {
            Self::Inside(conn) => conn.track_result(outcome),
            _ => outcome,
        }
    }

    /// Runs the statement that goes before a BEGIN.
    ///
    /// Where a session has begun a transaction by itself, it is committed first, as BEGIN would do. One that somebody has begun and
    /// forgotten is left alone, and an error.
    pub(crate) async fn prepare_begin(&mut self, before: &Sql) -> Result<(), sqlx::Error> {
        match self.execute(Statement::plain(before)).await {
            Err(error) if DB::is_begun_already(&error) => {
                if !DB::end_unasked(self).await? {
                    return Err(error);
                }
                self.execute(Statement::plain(before)).await.map(drop)
            }
            outcome => outcome.map(drop),
        }
    }

    /// Reads the session's state, `behind` columns before the row's end.
    ///
    /// It is noted for a pooled connection only.
    pub(crate) fn note_session(&self, row: &DB::Row, behind: usize) {
        if let Self::Pooled(..) = self {
            DB::note_session(row, behind);
        }
    }

    /// Commits what a pooled session has begun by itself.
    ///
    /// Else nobody would commit what the call has written.
    pub(crate) async fn end_implicit_transaction<T, E: From<sqlx::Error>>(
        &mut self,
        outcome: Result<T, E>,
    ) -> Result<T, E> {
        if let (true, Self::Pooled(..)) = (DB::begins_unasked(), &self) {
            let ended = DB::end_unasked(self).await;
            return outcome.and_then(|value| ended.map(|_| value).map_err(E::from));
        }
        outcome
    }

    pub(crate) fn set_unfinished(&mut self, unfinished: bool) {
        if let Self::Inside(conn) = self {
            conn.set_unfinished(unfinished);
        }
    }
}

/// A guard for a statement that runs.
///
/// Given up half-way, the statement may break the connection.
struct Running<'l, 'c, DB: Backend> {
    link: &'l mut Link<'c, DB>,
    done: bool,
}

impl<DB: Backend> Running<'_, '_, DB> {
    fn done(mut self) {
        self.done = true;
    }
}

impl<DB: Backend> Drop for Running<'_, '_, DB> {
    fn drop(&mut self) {
        if self.done || !DB::BROKEN_WHEN_GIVEN_UP {
            return;
        }
        self.link.give_up();
    }
}

/// The boxed future that every call returns.
///
/// With an opaque future in its place, a generic function called inside a transaction closure inside `tokio::spawn` does not compile
/// ("implementation of `Handle` is not general enough").
pub(crate) type CallFuture<'a, T, E = Error> = BoxFuture<'a, Result<T, E>>;
