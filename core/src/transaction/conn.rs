//! The connection of a transaction, and what is known of it.

use std::{
    fmt,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, Pool, pool::PoolConnection};
use sqlx_core::transaction::TransactionManager as _;

use super::{
    TransactionOptions,
    control::{Controls, GUARD, PlainSavepoints, Underway},
    queue::Queue,
};
use crate::{
    Error,
    backend::{self, Backend, Begin, TransactionEffect},
    connection::handle::Link,
    error::EndReason,
    sql::{Sql, Statement},
    testing,
    transaction::hooks::Hooks,
};

/// A transaction that was left alone for so long may have been ended by the server.
const IDLE: Duration = Duration::from_secs(1);

/// The connection of a [`Transaction`](super::Transaction): an sqlx `Executor` that sees every statement, whichever way it is run.
///
/// It refuses statements once the transaction has ended, where plain sqlx would run them outside any transaction.
///
/// # Your own transaction control
///
/// * A statement of yours that ends the transaction (`ROLLBACK`, `COMMIT`, on MySQL and MariaDB also `BEGIN` and what commits implicitly, such as DDL) gives
///   [`Error::Ended`] from then on, with the statement's first word as its reason. No callback runs.
/// * A statement that may do so costs two more: a savepoint is set before it, and asked for after it.
/// * `ROLLBACK TO SAVEPOINT` drops the callbacks and created rows that came after your `SAVEPOINT`. One to a savepoint that was not set through
///   this connection ends the transaction.
pub struct Conn<DB: Backend> {
    pub(super) inner: PoolConnection<DB>,
    /// How many BEGINs and SAVEPOINTs of sqlx's counting are open.
    levels: usize,
    pub(super) state: State,
    /// What waits for the commit.
    pub(crate) queue: Queue,
    savepoints: PlainSavepoints,
}

/// What is known of whether the transaction is still one.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is known by itself")]
pub(super) struct State {
    pub(super) ended: Option<EndReason>,
    /// It may be over; the reason to give if the database says so.
    pub(super) ask: Option<EndReason>,
    /// The savepoint to ask for is set.
    pub(super) guarded: bool,
    /// A statement may have failed, so that the database answers COMMIT with a rollback.
    aborted: bool,
    /// The last statement lost against another transaction.
    conflict: bool,
    /// A statement is prepared on this connection that can no longer run.
    pub(super) outdated: bool,
    /// A call is in the middle of its work. Found so by the next one, it was dropped there.
    pub(super) unfinished: bool,
    /// When a statement was answered last.
    used: Option<Instant>,
}

impl State {
    pub(super) fn observe<DB: Backend>(&mut self, error: &sqlx::Error) {
        self.outdated |= backend::is_outdated(error);
        // Once a statement has failed, the others fail because of it.
        self.conflict = backend::is_retryable(error) || (self.aborted && self.conflict);
        self.used = Some(Instant::now());
        let reason = if self.conflict { EndReason::Conflict } else { EndReason::Server };
        if backend::is_connection_lost(error) {
            return self.end(EndReason::Server);
        }
        match DB::transaction_effect(error) {
            TransactionEffect::Alive => {}
            TransactionEffect::Aborted => self.aborted = true,
            TransactionEffect::Ask => self.ask = Some(reason),
            TransactionEffect::Ended(reason) => self.end(reason),
        }
    }

    pub(super) fn end(&mut self, reason: EndReason) {
        self.ended = self.ended.or(Some(reason));
    }

    /// A statement has succeeded, so whatever conflict there was before has been dealt with.
    pub(super) fn observe_success(&mut self) {
        self.conflict = false;
        self.used = Some(Instant::now());
    }

    fn is_doubtful(&self) -> bool {
        self.unfinished || self.ended.is_some() || self.ask.is_some()
    }
}

impl<DB: Backend> Conn<DB> {
    /// On a connection on which nothing is prepared, if that may be outdated.
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
        let Begin { before, begin } = DB::begin(options);
        if let Some(before) = before {
            Link::<DB>::bare(&mut conn.inner).prepare_begin(&before).await?;
        }
        testing::record(begin.as_str());
        DB::TransactionManager::begin(&mut conn.inner, Some(begin.text())).await?;
        conn.levels = 1;
        conn.state.unfinished = false;
        Ok(conn)
    }

    pub(crate) fn connection(&mut self) -> &mut DB::Connection {
        &mut self.inner
    }

    /// Whether statements may still run here.
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
            Err(error) if DB::is_no_savepoint(&error) => Ok(false),
            // Aborted by a statement of the caller, it is open.
            Err(error)
                if matches!(DB::transaction_effect(&error), TransactionEffect::Aborted)
                    && !backend::is_connection_lost(&error) =>
            {
                self.state.aborted = true;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    async fn guard(&mut self, verb: &str) -> Result<(), sqlx::Error> {
        let sql = Sql::from(format!("{verb} {GUARD}"));
        Link::<DB>::bare(&mut self.inner).execute(Statement::plain(&sql)).await.map(drop)
    }

    /// Prepares for a text of the caller: what follows on it is noted as the server answers.
    pub(super) async fn underway(&mut self, text: &str) -> Result<(&mut DB::Connection, Underway<'_>), Error> {
        self.check().await?;
        self.state.unfinished = DB::BROKEN_WHEN_GIVEN_UP;
        let controls = Controls::of::<DB>(text);
        if let Some(ending) = controls.may_end() {
            // Refused where a failed statement has aborted the transaction.
            self.state.guarded = self.guard("SAVEPOINT").await.is_ok();
            self.state.ask = Some(ending);
        }
        let Self { inner, levels, state, queue, savepoints } = self;
        Ok((inner, Underway { controls, state, queue, savepoints, level: *levels, failed: false }))
    }

    /// Draws the conclusions from an error of a statement that ran here.
    pub(crate) fn observe(&mut self, error: &sqlx::Error) {
        self.state.observe::<DB>(error);
    }

    /// Draws the conclusions from what came of a statement that ran here.
    pub(crate) fn track_result<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        match &outcome {
            Ok(_) => self.state.observe_success(),
            Err(error) => self.observe(error),
        }
        outcome
    }

    /// Whether the work here lost against another transaction, so that it may succeed when it is done again.
    pub(crate) fn lost(&self) -> bool {
        !self.state.ended.is_some_and(EndReason::is_callers)
            && (self.state.conflict || self.state.ended == Some(EndReason::Conflict))
    }

    /// Notes that the work here has lost, whatever has succeeded since.
    pub(crate) fn set_lost(&mut self) {
        self.state.conflict = true;
    }

    /// Lets the next statement ask whether the transaction is still open: something may run here unseen.
    pub(super) fn doubt(&mut self) {
        self.state.ask = self.state.ask.or(Some(EndReason::Unseen));
    }

    /// Marks the time in which a call that is dropped leaves the transaction half-way.
    pub(crate) fn set_unfinished(&mut self, unfinished: bool) {
        self.state.unfinished = unfinished;
    }

    pub(crate) async fn begin_savepoint(&mut self) -> Result<(), sqlx::Error> {
        if self.state.aborted {
            let asked = DB::before_commit(&mut self.inner).await;
            self.track_result(asked)?;
            self.state.aborted = false;
        }
        testing::record("SAVEPOINT");
        let set = DB::TransactionManager::begin(&mut self.inner, None).await;
        match &set {
            Ok(()) => self.levels += 1,
            Err(error) => {
                self.observe(error);
                // The driver may have answered with a rollback of more than was begun.
                if DB::CLOSE_UNFINISHED {
                    self.state.ended = self.state.ended.or(Some(EndReason::Server));
                }
            }
        }
        set
    }

    pub(crate) async fn release_savepoint(&mut self) -> Result<(), sqlx::Error> {
        testing::record("RELEASE SAVEPOINT");
        let released = DB::TransactionManager::commit(&mut self.inner).await;
        self.level_ended(released)
    }

    pub(crate) async fn rollback_savepoint(&mut self) -> Result<(), sqlx::Error> {
        testing::record("ROLLBACK TO SAVEPOINT");
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
        testing::record("ROLLBACK");
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
            && backend::is_connection_lost(&error)
        {
            self.observe(&error);
            return self.check().await;
        }
        testing::record("COMMIT");
        match DB::TransactionManager::commit(&mut self.inner).await {
            Ok(()) => {
                self.levels = 0;
                Ok(())
            }
            // A server that says so has ended the transaction before its COMMIT.
            Err(error) if DB::is_farewell(&error) => {
                self.state.ended = Some(EndReason::Server);
                Err(Error::Ended { reason: EndReason::Server })
            }
            Err(source) if backend::is_connection_lost(&source) => Err(Error::CommitUnknown { source }),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is still open is rolled back; the driver does it before the connection's next use.
impl<DB: Backend> Drop for Conn<DB> {
    fn drop(&mut self) {
        if self.state.outdated || (self.state.is_doubtful() && DB::CLOSE_UNFINISHED) {
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
