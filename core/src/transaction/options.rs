//! A transaction as a closure, with retries.
//!
//! It is run again when it loses against another transaction.

use std::time::Duration;

use crate::{driver::isolation::Isolation, retry, transaction::hooks::Hooks};

/// Options of a transaction, and of its retries.
///
/// ```
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
/// use upsertable::{Isolation, TransactionOptions};
///
/// let options = TransactionOptions::new().isolation(Isolation::Serializable).attempts(10);
/// let reset = options.run(&pool, async |tx| {
///     sqlx::query("UPDATE songs SET score = 0").execute(&mut **tx).await?;
///     Ok::<_, upsertable::Error>(())
/// });
/// reset.await
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing before `run` or `begin`"]
pub struct TransactionOptions {
    pub(crate) isolation: Option<Isolation>,
    pub(crate) read_only: bool,
    pub(super) attempts: u32,
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
    pub(super) hooks: Hooks,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self {
            isolation: None,
            read_only: false,
            attempts: retry::ATTEMPTS,
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_secs(1),
            hooks: Hooks::new(),
        }
    }
}

impl TransactionOptions {
    /// The default options.
    ///
    /// They are the database's own isolation, reading and writing, five tries, pauses from 10 milliseconds to a second.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the isolation level, in place of the database's default.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// Makes the transaction read-only.
    ///
    /// SQLite has no such transactions: there it takes no write lock when it begins, and does not refuse a write.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Sets how often the closure is run at most.
    ///
    /// 0 counts as 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets the backoff between tries.
    ///
    /// `first` is the pause after the first try that failed. The pause doubles with each try up to `longest`. Half of each pause is chance.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first_pause = first;
        self.longest_pause = longest;
        self
    }

    /// Sets hooks on the rows that the transaction creates.
    pub fn hooks(mut self, hooks: &Hooks) -> Self {
        self.hooks = hooks.clone();
        self
    }
}
