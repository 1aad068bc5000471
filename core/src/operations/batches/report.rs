//! Reports of a run over a table.

use std::fmt;

use crate::error::BoxError;

/// Failures that are kept with their keys, at most.
///
/// Memory has to stay flat when every row of a large table fails.
const MOST_FAILURES: usize = 1_000;

/// Report of a run of [`Batches`](crate::Batches).
///
/// `K` is the model's key. Its `Display` is `98 rows done, 2 failed, 2 left`.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchReport<K> {
    /// Rows whose closure succeeded and whose batch has been committed.
    pub done: u64,
    /// Rows that failed.
    ///
    /// What was done for them is undone.
    pub failed: u64,
    /// Keys and errors of the first 1,000 rows that failed.
    pub failures: Vec<(K, BoxError)>,
    /// Rows for which the filter holds at the end.
    ///
    /// Without a filter these are all rows.
    ///
    /// Those are the rows that failed, those that the closure has left so, those that were not reached, and those that others have in hand. A
    /// row that was added or moved meanwhile is among them too where the run did not come by.
    pub left: u64,
    /// True if the run was [told to stop](crate::Batches::stop_on) early.
    ///
    /// It had not seen every row then.
    pub stopped: bool,
}

impl<K> Default for BatchReport<K> {
    fn default() -> Self {
        Self { done: 0, failed: 0, failures: Vec::new(), left: 0, stopped: false }
    }
}

impl<K> fmt::Display for BatchReport<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows done, {} failed, {} left", self.done, self.failed, self.left)
    }
}

impl<K> BatchReport<K> {
    pub(super) fn add_failures(&mut self, failures: Vec<(K, BoxError)>) {
        self.failed += failures.len() as u64;
        let room = MOST_FAILURES.saturating_sub(self.failures.len());
        self.failures.extend(failures.into_iter().take(room));
    }
}

/// Progress of a run over a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchProgress {
    /// Rows that have been done and committed.
    pub done: u64,
    /// Rows that have failed.
    pub failed: u64,
}
