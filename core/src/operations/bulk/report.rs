//! Reports of bulk calls.

use std::fmt;

/// Report of a `bulk_create_new`.
///
/// Its `Display` is `2 of 4 records added`.
///
/// ```
/// let done = upsertable::BulkCreated { received: 4, created: 2 };
/// assert_eq!(done.to_string(), "2 of 4 records added");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BulkCreated {
    /// Rows that were given.
    pub received: u64,
    /// Rows that were not there and are now.
    ///
    /// The others were there already, or came twice.
    pub created: u64,
}

impl fmt::Display for BulkCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} records added", self.created, self.received)
    }
}

/// Report of a `bulk_upsert`.
///
/// Its `Display` is `2 of 4 records added, 1 updated`.
///
/// ```
/// let done = upsertable::BulkUpserted { received: 4, created: 2, updated: 1 };
/// assert_eq!(done.to_string(), "2 of 4 records added, 1 updated");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BulkUpserted {
    /// Rows that were given.
    pub received: u64,
    /// Rows that were not there and are now.
    pub created: u64,
    /// Rows of the table that were there before and were updated.
    ///
    /// Each is counted once however often its key came.
    pub updated: u64,
}

impl fmt::Display for BulkUpserted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} records added, {} updated", self.created, self.received, self.updated)
    }
}
