//! What a call accepts as its database, and how a call runs its statements there.

use futures_core::future::BoxFuture;
use futures_util::TryStreamExt as _;
use sqlx::{Connection as _, Either, Pool, SqlSafeStr as _, pool::PoolConnection};
use sqlx_core::transaction::TransactionManager as _;

use crate::{
    Error,
    backend::{Backend, Begin},
    model::On,
    sql::{Sql, Statement},
    testing,
    transaction::{Conn, Transaction},
};

/// Where a call runs: `&Pool<DB>`, `&mut DB::Connection`, or `&mut Transaction<DB>` of this crate (`&mut tx` or `&mut *tx`).
///
/// It is implemented for these and cannot be implemented elsewhere. Of an sqlx transaction, give its connection: `&mut *tx`.
///
/// * On a **pool**, a call takes one connection, does its work in a transaction of its own where it needs one, and does the work again when it lost against another transaction.
/// * On a **connection**, a call that needs a transaction begins one, or sets a savepoint in the one that is open, also in one begun with plain SQL.
/// * In a **[`Transaction`]**, a call that needs to be undone as a whole sets a savepoint. A call that writes and is dropped half-way ends the transaction.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database handle for `{DB}`",
    label = "expected `&Pool<{DB}>`, a `&mut` connection, or `&mut` of upsertable's `Transaction`",
    note = "of an sqlx transaction or a pool's connection, give the connection inside: `&mut *tx`"
)]
pub trait Handle<'c, DB: Backend>: Send + 'c {
    /// The place where the statements run.
    #[doc(hidden)]
    fn session(self) -> Session<'c, DB>;
}

impl<'c, DB: Backend> Handle<'c, DB> for &'c Pool<DB> {
    fn session(self) -> Session<'c, DB> {
        Session::Pool(self)
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

#[cfg(feature = "mysql")]
impl<'c> Handle<'c, sqlx::MySql> for &'c mut sqlx::MySqlConnection {
    fn session(self) -> Session<'c, sqlx::MySql> {
        Session::Bare(self)
    }
}

#[cfg(feature = "sqlite")]
impl<'c> Handle<'c, sqlx::Sqlite> for &'c mut sqlx::SqliteConnection {
    fn session(self) -> Session<'c, sqlx::Sqlite> {
        Session::Bare(self)
    }
}

#[cfg(feature = "postgres")]
impl<'c> Handle<'c, sqlx::Postgres> for &'c mut sqlx::PgConnection {
    fn session(self) -> Session<'c, sqlx::Postgres> {
        Session::Bare(self)
    }
}

/// A handle, taken apart.
pub enum Session<'c, DB: Backend> {
    Pool(&'c Pool<DB>),
    Bare(&'c mut DB::Connection),
    Inside(&'c mut Conn<DB>),
}

impl<DB: Backend> Session<'_, DB> {
    /// Only on a pool is the transaction the call's own, so that it may be done again.
    pub(crate) fn is_pool(&self) -> bool {
        matches!(self, Self::Pool(_))
    }

    /// Whether a call that failed so may be done again here. A row that vanished leaves the caller's transaction as it was; every other
    /// conflict may have ended it.
    pub(crate) fn may_repeat(&self, error: &Error) -> bool {
        error.is_retryable() && (self.is_pool() || matches!(error, Error::Vanished { .. }))
    }

    /// Whether a hook waits for created rows of this model.
    pub(crate) fn wants_created<M: 'static>(&self) -> bool {
        matches!(self, Self::Inside(conn) if conn.wants_created::<M>())
    }

    /// Tells the hooks of rows that the call has created.
    pub(crate) fn created<M: On<DB>>(&mut self, rows: &[DB::Row]) -> Result<(), Error> {
        if let Self::Inside(conn) = self
            && conn.wants_created::<M>()
        {
            for row in rows {
                conn.created(M::from_row(row)?);
            }
        }
        Ok(())
    }

    /// A connection to run statements on, taken from the pool if need be.
    pub(crate) async fn link(&mut self) -> Result<Link<'_, DB>, Error> {
        Ok(match self {
            Self::Pool(pool) => Link::Pooled(pool.acquire().await?),
            Self::Bare(conn) => Link::Bare(&mut **conn),
            Self::Inside(conn) => {
                conn.check().await?;
                Link::Inside(conn)
            }
        })
    }
}

/// A connection in use by a call.
pub enum Link<'c, DB: Backend> {
    Pooled(PoolConnection<DB>),
    Bare(&'c mut DB::Connection),
    Inside(&'c mut Conn<DB>),
}

impl<DB: Backend> Link<'_, DB> {
    /// Runs a statement and counts the rows that it changed.
    pub(crate) async fn execute(&mut self, statement: Statement<DB>) -> Result<u64, sqlx::Error> {
        let changed = |step: Either<DB::QueryResult, DB::Row>| match step {
            Either::Left(result) => DB::rows_affected(&result),
            Either::Right(_) => 0,
        };
        testing::record(statement.as_str());
        let stream = DB::run(self.raw(), statement);
        let outcome = stream.try_fold(0, |sum, step| std::future::ready(Ok(sum + changed(step)))).await;
        self.observed(outcome)
    }

    /// Runs a statement to its end and gives its rows.
    pub(crate) async fn fetch(&mut self, statement: Statement<DB>) -> Result<Vec<DB::Row>, sqlx::Error> {
        testing::record(statement.as_str());
        let rows = DB::run(self.raw(), statement).try_filter_map(|step| std::future::ready(Ok(step.right())));
        let outcome = rows.try_collect().await;
        self.observed(outcome)
    }

    /// The same for a statement that writes: dropped half-way inside a transaction, it ends the transaction.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "elsewhere a savepoint is set"))]
    pub(crate) async fn fetch_written(&mut self, statement: Statement<DB>) -> Result<Vec<DB::Row>, sqlx::Error> {
        self.set_unfinished(true);
        let outcome = self.fetch(statement).await;
        self.set_unfinished(false);
        outcome
    }

    /// Runs a statement that writes and counts the rows that it changed: dropped half-way inside a transaction, it ends the transaction.
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "the others give back the rows"))]
    pub(crate) async fn execute_written(&mut self, statement: Statement<DB>) -> Result<u64, sqlx::Error> {
        self.set_unfinished(true);
        let outcome = self.execute(statement).await;
        self.set_unfinished(false);
        outcome
    }

    /// The driver's own connection. What comes of what runs there has to be [observed](Self::observed).
    pub(crate) fn raw(&mut self) -> &mut DB::Connection {
        match self {
            Self::Pooled(conn) => conn,
            Self::Bare(conn) => conn,
            Self::Inside(conn) => conn.connection(),
        }
    }

    /// Draws the conclusions for a transaction of ours.
    pub(crate) fn observed<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        match self {
            Self::Inside(conn) => conn.observed(outcome),
            _ => outcome,
        }
    }

    fn set_unfinished(&mut self, unfinished: bool) {
        if let Self::Inside(conn) = self {
            conn.set_unfinished(unfinished);
        }
    }
}

/// A statement that may fail without ending the transaction around it: a savepoint, where there is one that the driver knows of.
#[cfg(feature = "postgres")]
pub(crate) struct Attempt<'l, 'c, DB: Backend> {
    link: &'l mut Link<'c, DB>,
    saved: bool,
}

#[cfg(feature = "postgres")]
impl<'l, 'c, DB: Backend> Attempt<'l, 'c, DB> {
    pub(crate) async fn begin(link: &'l mut Link<'c, DB>) -> Result<Self, sqlx::Error> {
        let saved = match link {
            Link::Inside(conn) => {
                conn.set_unfinished(true);
                if let Err(error) = conn.begin_savepoint().await {
                    conn.set_unfinished(false);
                    return Err(error);
                }
                true
            }
            Link::Bare(conn) if conn.is_in_transaction() => {
                testing::record("SAVEPOINT");
                DB::TransactionManager::begin(conn, None).await?;
                true
            }
            Link::Bare(_) | Link::Pooled(_) => false,
        };
        Ok(Self { link, saved })
    }

    pub(crate) fn link(&mut self) -> &mut Link<'c, DB> {
        self.link
    }

    /// Keeps what was done or undoes it, as it came out.
    pub(crate) async fn end<T>(mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let ended = match &mut *self.link {
            Link::Inside(conn) if outcome.is_ok() => conn.release_savepoint().await,
            Link::Inside(conn) => conn.rollback_savepoint().await,
            Link::Bare(conn) if self.saved => {
                testing::record(if outcome.is_ok() { "RELEASE SAVEPOINT" } else { "ROLLBACK TO SAVEPOINT" });
                if outcome.is_ok() {
                    DB::TransactionManager::commit(conn).await
                } else {
                    DB::TransactionManager::rollback(conn).await
                }
            }
            Link::Bare(_) | Link::Pooled(_) => Ok(()),
        };
        if ended.is_ok() {
            self.saved = false;
            self.link.set_unfinished(false);
        }
        outcome.and_then(|value| ended.map(|()| value))
    }
}

/// An attempt that was given up half-way. Left marked as unfinished, a transaction of ours refuses its next statement.
#[cfg(feature = "postgres")]
impl<DB: Backend> Drop for Attempt<'_, '_, DB> {
    fn drop(&mut self) {
        if let (true, Link::Bare(conn)) = (self.saved, &mut *self.link) {
            DB::TransactionManager::start_rollback(conn);
        }
    }
}

/// A bulk call's hold on its connection: all that runs between [`begin`](Self::begin) and [`commit`](Self::commit) is kept whole or not at all.
///
/// Dropped before, it leaves nothing behind: see [`Drop`].
pub(crate) struct Unit<'c, DB: Backend> {
    link: Option<Link<'c, DB>>,
    scope: Scope,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Outside any transaction: staging happens here.
    Staging,
    /// In the transaction of the merge.
    Own,
    /// In a transaction around all, on a borrowed connection that cannot be closed when the call is given up.
    Begun,
    /// A savepoint that sqlx counts.
    Counted,
    /// A savepoint in a transaction begun with plain SQL, which sqlx knows nothing of.
    Plain,
}

const PLAIN_SAVEPOINT: &str = "upsertable_call";

impl<'c, DB: Backend> Unit<'c, DB> {
    /// On a pool, takes a connection. Elsewhere sets a savepoint, or begins a transaction where none is open.
    pub(crate) async fn begin(session: &'c mut Session<'_, DB>) -> Result<Self, Error> {
        let mut unit = Self { link: Some(session.link().await?), scope: Scope::Staging };
        match unit.link.as_mut() {
            Some(Link::Bare(conn)) => begin_bare::<DB>(conn, &mut unit.scope).await?,
            Some(Link::Inside(conn)) => {
                conn.set_unfinished(true);
                unit.scope = Scope::Counted;
                if let Err(error) = conn.begin_savepoint().await {
                    conn.set_unfinished(false);
                    return Err(error.into());
                }
            }
            Some(Link::Pooled(_)) | None => {}
        }
        Ok(unit)
    }

    pub(crate) fn link(&mut self) -> Result<&mut Link<'c, DB>, Error> {
        self.link.as_mut().ok_or_else(|| Error::Sql(sqlx::Error::WorkerCrashed))
    }

    /// Whether the transaction of the merge is the call's own, so that the merge may be done again.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.scope, Scope::Staging | Scope::Own)
    }

    /// Begins the transaction of the merge, where it is the call's own. Elsewhere it is open already.
    pub(crate) async fn begin_merge(&mut self) -> Result<(), Error> {
        if self.scope != Scope::Staging {
            return Ok(());
        }
        let Begin { before, begin } = DB::begin_merge();
        if let Some(before) = before {
            self.link()?.execute(Statement::plain(&before)).await?;
        }
        testing::record(begin.as_str());
        self.scope = Scope::Own;
        DB::TransactionManager::begin(self.link()?.raw(), Some(begin.text())).await?;
        Ok(())
    }

    /// Commits the merge; what is staged is still there.
    pub(crate) async fn commit_merge(&mut self) -> Result<(), Error> {
        if self.scope == Scope::Own {
            testing::record("COMMIT");
            DB::TransactionManager::commit(self.link()?.raw()).await?;
            self.scope = Scope::Staging;
        }
        Ok(())
    }

    /// Undoes a merge that failed, so that it can be run again from what is staged.
    pub(crate) async fn rollback_merge(&mut self) -> Result<(), Error> {
        if self.scope == Scope::Own {
            testing::record("ROLLBACK");
            DB::TransactionManager::rollback(self.link()?.raw()).await?;
            self.scope = Scope::Staging;
        }
        Ok(())
    }

    /// Ends the call's hold: the work is kept as far as the transaction around it is.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        match (self.scope, &mut self.link) {
            (Scope::Begun | Scope::Counted, Some(Link::Bare(conn))) => {
                testing::record(if self.scope == Scope::Begun { "COMMIT" } else { "RELEASE SAVEPOINT" });
                DB::TransactionManager::commit(conn).await?;
            }
            (Scope::Plain, Some(link)) => {
                let release = Statement::plain(&Sql::from(format!("RELEASE SAVEPOINT {PLAIN_SAVEPOINT}")));
                link.execute(release).await?;
            }
            (Scope::Counted, Some(Link::Inside(conn))) => conn.release_savepoint().await?,
            _ => {}
        }
        self.finish();
        Ok(())
    }

    /// Undoes all that the call has done. What fails here is told by the next use of the connection; a pooled one is closed then.
    pub(crate) async fn rollback(mut self) {
        match self.undo().await {
            Ok(()) => self.finish(),
            Err(error) => tracing::debug!(%error, "a failed call could not be rolled back"),
        }
    }

    async fn undo(&mut self) -> Result<(), Error> {
        self.rollback_merge().await?;
        match (self.scope, &mut self.link) {
            (Scope::Begun | Scope::Counted, Some(Link::Bare(conn))) => {
                testing::record(if self.scope == Scope::Begun { "ROLLBACK" } else { "ROLLBACK TO SAVEPOINT" });
                DB::TransactionManager::rollback(conn).await?;
            }
            (Scope::Plain, Some(link)) => rollback_plain(link).await?,
            (Scope::Counted, Some(Link::Inside(conn))) => conn.rollback_savepoint().await?,
            (Scope::Staging, Some(link)) => DB::close_stage(link).await?,
            _ => {}
        }
        // The savepoint is gone: what fails from here on leaves nothing to undo, and dropping must not undo it again.
        self.scope = Scope::Staging;
        match &mut self.link {
            Some(link) => Ok(DB::clean_undone(link).await?),
            None => Ok(()),
        }
    }

    fn finish(&mut self) {
        if let Some(Link::Inside(conn)) = &mut self.link {
            conn.set_unfinished(false);
        }
        self.link = None;
    }
}

/// The scope is set before what it says is done, so that a call dropped in between undoes it.
async fn begin_bare<DB: Backend>(conn: &mut DB::Connection, scope: &mut Scope) -> Result<(), Error> {
    if conn.is_in_transaction() {
        testing::record("SAVEPOINT");
        DB::TransactionManager::begin(conn, None).await?;
        *scope = Scope::Counted;
        return Ok(());
    }
    *scope = Scope::Plain;
    if DB::save_if_open(conn, PLAIN_SAVEPOINT).await? {
        return Ok(());
    }
    *scope = Scope::Staging;
    if DB::CLOSE_UNFINISHED {
        testing::record(DB::BEGIN_STAGING);
        DB::TransactionManager::begin(conn, Some(DB::BEGIN_STAGING.into_sql_str())).await?;
        *scope = Scope::Begun;
    }
    Ok(())
}

async fn rollback_plain<DB: Backend>(link: &mut Link<'_, DB>) -> Result<(), sqlx::Error> {
    for verb in ["ROLLBACK TO SAVEPOINT", "RELEASE SAVEPOINT"] {
        link.execute(Statement::plain(&Sql::from(format!("{verb} {PLAIN_SAVEPOINT}")))).await?;
    }
    Ok(())
}

/// A unit that was neither committed nor rolled back: the call failed, or was cancelled.
impl<DB: Backend> Drop for Unit<'_, DB> {
    fn drop(&mut self) {
        match (self.scope, self.link.take()) {
            (_, Some(Link::Pooled(conn))) if DB::CLOSE_UNFINISHED => drop(conn.detach()),
            (scope @ (Scope::Staging | Scope::Own), Some(mut link @ (Link::Pooled(_) | Link::Bare(_)))) => {
                if scope == Scope::Own {
                    DB::queue_rollback(link.raw(), 1);
                }
                DB::queue_clean(link.raw());
            }
            (Scope::Begun, Some(Link::Bare(conn))) => DB::queue_rollback(conn, 1),
            (Scope::Counted, Some(Link::Bare(conn))) => DB::TransactionManager::start_rollback(conn),
            (Scope::Plain, Some(Link::Bare(conn))) => DB::queue_rollback_to(conn, PLAIN_SAVEPOINT),
            // Left marked as unfinished, a transaction of ours refuses its next statement.
            _ => {}
        }
    }
}

/// A boxed future, as every call returns one: with an opaque future in its place, a generic function called inside a transaction closure
/// inside `tokio::spawn` does not compile ("implementation of `Handle` is not general enough").
pub(crate) type Call<'a, T, E = Error> = BoxFuture<'a, Result<T, E>>;
