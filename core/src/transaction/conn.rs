//! The connection of a transaction, and what is known of it.

use std::{fmt, time::Duration};

use sqlx::{Connection as _, Pool, pool::PoolConnection};
use sqlx_core::transaction::TransactionManager as _;

use crate::{
    driver::{Driver, run},
    error::Error,
    error::classify::is_connection_lost,
    error::end_reason::EndReason,
    error::meaning::{Meaning, TransactionEffect},
    sql::statement::Statement,
    sql::text::Sql,
    trace::statement_log,
    transaction::control::{Controls, GUARD, PlainSavepoints, Underway},
    transaction::hooks::Hooks,
    transaction::options::TransactionOptions,
    transaction::queue::Queue,
    transaction::state::State,
};

/// Idle time after which the server may have ended a transaction.
const IDLE: Duration = Duration::from_secs(1);

/// A transaction's connection, and an sqlx `Executor`.
///
/// It is the one of a [`Transaction`](super::Transaction), and sees every statement, whichever way it is run. It refuses statements once
/// the transaction has ended, where plain sqlx would run them outside any transaction.
///
/// # Your own transaction control
///
/// * A statement of yours that ends the transaction (`ROLLBACK`, `COMMIT`, on MySQL and MariaDB also `BEGIN` and what commits implicitly,
///   such as DDL) gives [`Error::Ended`] from then on, with the statement's first word as its reason. No callback runs.
/// * A statement that may do so costs two more: a savepoint is set before it, and asked for after it.
/// * `ROLLBACK TO SAVEPOINT` drops the callbacks and created rows that came after your `SAVEPOINT`. One to a savepoint that was not set
///   through this connection ends the transaction.
pub struct Conn<DB: Driver> {
    pub(super) inner: PoolConnection<DB>,
    /// Number of open BEGINs and SAVEPOINTs that sqlx counts.
    levels: usize,
    pub(super) state: State,
    /// Callbacks, hooks and created rows that wait for the commit.
    pub(crate) queue: Queue,
    savepoints: PlainSavepoints,
}

impl<DB: Driver> Conn<DB> {
    /// Begins a transaction on a connection of the pool.
    ///
    /// What is prepared on the connection is forgotten first, if it may be `outdated`.
    pub(super) async fn begin(
        pool: &Pool<DB>,
        options: &TransactionOptions,
        hooks: &Hooks,
        outdated: bool,
    ) -> Result<Self, Error> {
        let mut conn = Self {
            inner: pool.acquire().await?,
            levels: 0,
            // Marked as unfinished until BEGIN is answered.
            state: State { unfinished: true, ..State::default() },
            queue: Queue::new(hooks),
            savepoints: PlainSavepoints::default(),
        };
        if outdated {
            conn.inner.clear_cached_statements().await?;
        }
        let (before, begin) = DB::SESSIONS.begin_with(options.isolation, options.read_only);
        if let Some(before) = before {
            run::prepare_begin::<DB>(&mut conn.inner, &before).await?;
        }
        statement_log::record(begin.as_str());
        DB::TransactionManager::begin(&mut conn.inner, Some(begin.text())).await?;
        conn.levels = 1;
        conn.state.unfinished = false;
        Ok(conn)
    }

    pub(crate) fn connection(&mut self) -> &mut DB::Connection {
        &mut self.inner
    }

    /// Gives an error if no statement may run here any more.
    pub(crate) async fn check(&mut self) -> Result<(), Error> {
        if self.state.unfinished {
            self.state.end(self.state.ask.unwrap_or(EndReason::Cancelled));
        }
        if let (None, Some(reason)) = (self.state.ended, self.state.ask) {
            match self.is_open().await {
                Ok(true) => self.state.ask = None,
                Ok(false) => self.state.end(reason),
                Err(error) => {
                    self.observe(&error);
                    return Err(error.into());
                }
            }
        }
        match self.state.ended {
            Some(reason) => Err(Error::Ended { reason }),
            None => Ok(()),
        }
    }

    /// Asks the database whether this transaction is open.
    async fn is_open(&mut self) -> Result<bool, sqlx::Error> {
        if !std::mem::take(&mut self.state.guarded) {
            self.state.aborted = true;
            return DB::is_open(&mut self.inner).await;
        }
        match self.guard("RELEASE SAVEPOINT").await {
            Ok(()) => Ok(true),
            Err(error) => match Meaning::of(&error) {
                Meaning { no_savepoint: true, .. } => Ok(false),
                // Aborted by a statement of the caller, it is open.
                Meaning { effect: TransactionEffect::Aborted, connection_lost: false, .. } => {
                    self.state.aborted = true;
                    Ok(true)
                }
                _ => Err(error),
            },
        }
    }

    async fn guard(&mut self, verb: &str) -> Result<(), sqlx::Error> {
        let sql = Sql::from(format!("{verb} {GUARD}"));
        run::execute::<DB>(&mut self.inner, Statement::plain(&sql)).await.map(drop)
    }

    /// Prepares for a text of the caller.
    ///
    /// What follows on it is noted as the server answers.
    pub(super) async fn underway(&mut self, text: &str) -> Result<(&mut DB::Connection, Underway<'_>), Error> {
        self.check().await?;
        self.state.unfinished = DB::SESSIONS.broken_when_given_up;
        let controls = Controls::of::<DB>(text);
        if let Some(ending) = controls.may_end() {
            // Refused where a failed statement has aborted the transaction.
            self.state.guarded = self.guard("SAVEPOINT").await.is_ok();
            self.state.ask = Some(ending);
        }
        let Self { inner, levels, state, queue, savepoints } = self;
        Ok((inner, Underway { controls, state, queue, savepoints, level: *levels, failed: false }))
    }

    /// Notes the error of a statement that ran here.
    pub(crate) fn observe(&mut self, error: &sqlx::Error) {
        self.state.observe(error);
    }

    /// Notes the result of a statement that ran here.
    pub(crate) fn track_result<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        match &outcome {
            Ok(_) => self.state.observe_success(),
            Err(error) => self.observe(error),
        }
        outcome
    }

    /// Returns true if the work lost against another transaction.
    ///
    /// It may then succeed when it is done again.
    pub(crate) fn lost(&self) -> bool {
        !self.state.ended.is_some_and(EndReason::is_callers)
            && (self.state.conflict || self.state.ended == Some(EndReason::Conflict))
    }

    /// Tests if the work lost and nothing of it can be saved.
    ///
    /// Where a statement of the caller may have ended the transaction, the database is asked first.
    pub(super) async fn may_run_again(&mut self) -> bool {
        let is_callers = self.state.ask.is_some_and(EndReason::is_callers);
        self.lost() && (!is_callers || self.check().await.is_ok())
    }

    /// Notes that the work here has lost, whatever has succeeded since.
    pub(crate) fn set_lost(&mut self) {
        self.state.conflict = true;
    }

    /// Makes the next statement ask if the transaction is open.
    ///
    /// Something may run here unseen.
    pub(super) fn doubt(&mut self) {
        self.state.ask = self.state.ask.or(Some(EndReason::Unseen));
    }

    /// Marks the beginning and the end of a call's work.
    ///
    /// A call that is dropped in between leaves the transaction half-way.
    pub(crate) fn set_unfinished(&mut self, unfinished: bool) {
        self.state.unfinished = unfinished;
    }

    pub(crate) async fn begin_savepoint(&mut self) -> Result<(), sqlx::Error> {
        if self.state.aborted {
            let asked = DB::before_commit(&mut self.inner).await;
            self.track_result(asked)?;
            self.state.aborted = false;
        }
        statement_log::record("SAVEPOINT");
        let set = DB::TransactionManager::begin(&mut self.inner, None).await;
        match &set {
            Ok(()) => self.levels += 1,
            Err(error) => {
                self.observe(error);
                // The driver may have answered with a rollback of more than was begun.
                if DB::SESSIONS.close_unfinished {
                    self.state.ended = self.state.ended.or(Some(EndReason::Server));
                }
            }
        }
        set
    }

    pub(crate) async fn release_savepoint(&mut self) -> Result<(), sqlx::Error> {
        statement_log::record("RELEASE SAVEPOINT");
        let released = DB::TransactionManager::commit(&mut self.inner).await;
        self.level_ended(released)
    }

    pub(crate) async fn rollback_savepoint(&mut self) -> Result<(), sqlx::Error> {
        statement_log::record("ROLLBACK TO SAVEPOINT");
        let undone = DB::TransactionManager::rollback(&mut self.inner).await;
        if undone.is_ok() {
            self.state.aborted = false;
        }
        self.level_ended(undone)
    }

    fn level_ended(&mut self, outcome: Result<(), sqlx::Error>) -> Result<(), sqlx::Error> {
        match &outcome {
            Ok(()) => {
                self.levels -= 1;
                self.savepoints.level_ended(self.levels);
            }
            Err(error) => self.observe(error),
        }
        outcome
    }

    /// Rolls back all that is open.
    pub(super) async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        statement_log::record("ROLLBACK");
        while self.levels > 0 {
            DB::TransactionManager::rollback(&mut self.inner).await?;
            self.levels -= 1;
        }
        Ok(())
    }

    pub(super) async fn commit(&mut self) -> Result<(), Error> {
        self.check().await?;
        if self.state.aborted {
            let asked = DB::before_commit(&mut self.inner).await;
            asked.map_err(|source| Error::RolledBack { source: Some(Box::new(source)) })?;
        }
        // A COMMIT that meets a closed connection may have been done, and this tells that it has not.
        if self.state.used.is_some_and(|used| used.elapsed() >= IDLE)
            && let Err(error) = self.inner.ping().await
            && is_connection_lost(&error)
        {
            self.observe(&error);
            return self.check().await;
        }
        statement_log::record("COMMIT");
        match DB::TransactionManager::commit(&mut self.inner).await {
            Ok(()) => {
                self.levels = 0;
                Ok(())
            }
            Err(error) => Err(match Meaning::of(&error) {
                // A server that says so has ended the transaction before its COMMIT.
                Meaning { farewell: true, .. } => {
                    self.state.ended = Some(EndReason::Server);
                    Error::Ended { reason: EndReason::Server }
                }
                Meaning { connection_lost: true, .. } => Error::CommitUnknown { source: error },
                _ => error.into(),
            }),
        }
    }
}

/// Rolls back what is still open.
///
/// The driver does it before the connection's next use.
impl<DB: Driver> Drop for Conn<DB> {
    fn drop(&mut self) {
        if self.state.outdated || (self.state.is_doubtful() && DB::SESSIONS.close_unfinished) {
            self.inner.close_on_drop();
        } else if self.levels > 0 {
            DB::queue_rollback(&mut self.inner, self.levels);
        }
    }
}

impl<DB: Driver> fmt::Debug for Conn<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("levels", &self.levels).field("state", &self.state).finish_non_exhaustive()
    }
}
