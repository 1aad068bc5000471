//! The handles that calls accept, and the connections behind them.

use sqlx::{Connection as _, Pool, pool::PoolConnection};

use crate::{
    connection::link::{Borrowed, Link},
    driver::Driver,
    error::Error,
    error::meaning::Meaning,
    transaction::Transaction,
    transaction::conn::Conn,
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
pub trait Handle<'c, DB: Driver>: Send + 'c {
    /// Opens the session in which the statements run.
    #[doc(hidden)]
    fn session(self) -> Session<'c, DB>;
}

impl<'c, DB: Driver> Handle<'c, DB> for &'c Pool<DB> {
    fn session(self) -> Session<'c, DB> {
        Session::pool(self)
    }
}

impl<'c, DB: Driver> Handle<'c, DB> for &'c mut Transaction<DB> {
    fn session(self) -> Session<'c, DB> {
        Session::Inside(self)
    }
}

impl<'c, DB: Driver> Handle<'c, DB> for &'c mut Conn<DB> {
    fn session(self) -> Session<'c, DB> {
        Session::Inside(self)
    }
}

impl<'c, DB: Driver> Handle<'c, DB> for &'c mut PoolConnection<DB> {
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
pub enum Session<'c, DB: Driver> {
    /// A pool, and true once its prepared statements may be outdated.
    ///
    /// The next connection then forgets what is prepared on it, as a table has changed since.
    Pool(&'c Pool<DB>, bool),
    Bare(Borrowed<'c, DB>),
    Inside(&'c mut Conn<DB>),
}

impl<'c, DB: Driver> Session<'c, DB> {
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
            *outdated |= error.as_sql().is_some_and(|error| Meaning::of(error).outdated);
        }
        error.is_retryable() && (self.is_pool() || matches!(error, Error::Vanished { .. }))
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
