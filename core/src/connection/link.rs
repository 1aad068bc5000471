//! The connection that a call runs on.

use std::ops::{Deref, DerefMut};

use sqlx::{Connection as _, Pool, pool::PoolConnection};

use crate::{
    driver::{Driver, run},
    error::meaning::Meaning,
    sql::statement::Statement,
    sql::text::Sql,
    transaction::conn::Conn,
};

/// A connection that a caller lends.
pub enum Borrowed<'c, DB: Driver> {
    Connection(&'c mut DB::Connection),
    /// A pool's connection, which can be closed.
    ///
    /// Where a call on it was given up, it is closed once it goes back to its pool.
    Pooled(&'c mut PoolConnection<DB>),
}

impl<DB: Driver> Borrowed<'_, DB> {
    pub(super) fn reborrow(&mut self) -> Borrowed<'_, DB> {
        match self {
            Self::Connection(conn) => Borrowed::Connection(&mut **conn),
            Self::Pooled(conn) => Borrowed::Pooled(conn),
        }
    }
}

impl<DB: Driver> Deref for Borrowed<'_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        match self {
            Self::Connection(conn) => conn,
            Self::Pooled(conn) => conn,
        }
    }
}

impl<DB: Driver> DerefMut for Borrowed<'_, DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        match self {
            Self::Connection(conn) => conn,
            Self::Pooled(conn) => conn,
        }
    }
}

/// A connection in use by a call.
pub enum Link<'c, DB: Driver> {
    Pooled(PoolConnection<DB>, &'c Pool<DB>),
    Bare(Borrowed<'c, DB>),
    Inside(&'c mut Conn<DB>),
}

impl<DB: Driver> Link<'_, DB> {
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

    /// Runs a statement and returns the number of rows that it changed.
    pub(crate) async fn execute(&mut self, statement: Statement<DB>) -> Result<u64, sqlx::Error> {
        let running = Running { link: self, done: false };
        let outcome = run::execute::<DB>(running.link.raw(), statement).await;
        running.done();
        self.ended(outcome).await
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn fetch(&mut self, statement: Statement<DB>) -> Result<Vec<DB::Row>, sqlx::Error> {
        let running = Running { link: self, done: false };
        let outcome = run::fetch::<DB>(running.link.raw(), statement).await;
        running.done();
        self.ended(outcome).await
    }

    /// Runs a statement and returns the first number of its first row.
    pub(crate) async fn count(&mut self, statement: Statement<DB>) -> Result<u64, sqlx::Error> {
        let rows = self.fetch(statement).await?;
        let number = rows.first().map_or(Ok(0), |row| DB::number(row, 0))?;
        Ok(u64::try_from(number).unwrap_or(0))
    }

    /// Drops the staging tables that outlive a rollback.
    pub(crate) async fn drop_stage(&mut self) -> Result<(), sqlx::Error> {
        let Some(drop_stage) = DB::SESSIONS.drop_stage else { return Ok(()) };
        match self.execute(Statement::plain(&drop_stage.into())).await {
            // Then they were not made either.
            Err(error) if Meaning::of(&error).no_temporary_tables => Ok(()),
            dropped => dropped.map(drop),
        }
    }

    async fn ended<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if let (Err(error), Self::Pooled(..) | Self::Bare(_)) = (&outcome, &*self)
            && Meaning::of(error).outdated
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

    /// Runs the statement that comes before a BEGIN.
    ///
    /// A transaction that the session began by itself is committed first.
    pub(crate) async fn prepare_begin(&mut self, before: &Sql) -> Result<(), sqlx::Error> {
        run::prepare_begin::<DB>(self.raw(), before).await
    }

    /// Reads the session's state, `behind` columns before the row's end.
    ///
    /// It is noted for a pooled connection only.
    pub(crate) fn note_session(&self, row: &DB::Row, behind: usize) {
        if let Self::Pooled(..) = self {
            run::note_session::<DB>(row, behind);
        }
    }

    /// Commits what a pooled session has begun by itself.
    ///
    /// Else nobody would commit what the call has written.
    pub(crate) async fn end_implicit_transaction<T, E: From<sqlx::Error>>(
        &mut self,
        outcome: Result<T, E>,
    ) -> Result<T, E> {
        if let Self::Pooled(conn, _) = self
            && run::begins_unasked::<DB>()
        {
            let ended = DB::end_implicit(conn).await;
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
pub(super) struct Running<'l, 'c, DB: Driver> {
    pub(super) link: &'l mut Link<'c, DB>,
    pub(super) done: bool,
}

impl<DB: Driver> Running<'_, '_, DB> {
    fn done(mut self) {
        self.done = true;
    }
}
