//! The parts of a staging table that all databases share.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Backend;
use crate::sql::table::{Key, Table};

/// The plan of a staging table: its target, key and columns.
pub struct StagingPlan<DB: Backend> {
    pub(crate) table: &'static Table,
    pub(crate) key: &'static Key,
    /// Indexes of the staged columns in the table.
    pub(crate) columns: Vec<usize>,
    /// The types of the staged columns.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        allow(dead_code, reason = "MySQL asks its own table")
    )]
    pub(crate) types: Vec<DB::TypeInfo>,
    /// True if the merge marks the staged rows that it makes.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "elsewhere marks are rows of their own"))]
    pub(crate) marks: bool,
    /// The number of staged rows.
    rows: AtomicU64,
    /// Notes that one step of a call leaves for the next.
    pub(crate) notes: DB::StageState,
}

impl<DB: Backend> StagingPlan<DB> {
    /// Plans a staging table for the supplied columns of its target.
    ///
    /// `types` are those of all columns of the target.
    pub(crate) fn new(table: &'static Table, key: &'static Key, types: Vec<DB::TypeInfo>, marks: bool) -> Self {
        let columns: Vec<usize> = table.supplied().collect();
        let types = types.into_iter().enumerate().filter(|(column, _)| columns.contains(column)).map(|(_, kind)| kind);
        Self {
            table,
            key,
            types: types.collect(),
            columns,
            marks,
            rows: AtomicU64::new(0),
            notes: DB::StageState::default(),
        }
    }

    pub(crate) fn note_rows(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    /// Returns the number of staged rows.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        allow(dead_code, reason = "MySQL merges any number in one way")
    )]
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Returns the position of a table's column among the staged ones.
    pub(crate) fn position(&self, column: usize) -> usize {
        self.columns.iter().position(|staged| *staged == column).unwrap_or_default()
    }

    /// Returns the positions of the key's columns among the staged ones.
    pub(crate) fn key_positions(&self) -> impl Iterator<Item = usize> {
        self.key.columns.iter().map(|&column| self.position(column))
    }
}

/// An error of a server that lost rows it had acknowledged.
#[derive(Debug, thiserror::Error)]
#[error("of {sent} rows that were {what}, the server has {there}; nothing of the call is kept")]
pub(crate) struct Miscounted {
    what: &'static str,
    sent: u64,
    there: u64,
}

/// Fails unless the server has as many rows as were sent.
pub(crate) fn account_for(what: &'static str, sent: u64, there: u64) -> Result<(), sqlx::Error> {
    if sent == there { Ok(()) } else { Err(sqlx::Error::Configuration(Box::new(Miscounted { what, sent, there }))) }
}

/// The choice of staged rows to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    Created,
}

/// The number and state of a row that was read.
///
/// It stands behind the model's columns in a row that was read for a staged row or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The number of the staged row or key.
    pub(crate) number: i64,
    /// True if there is such a row in the table.
    pub(crate) found: bool,
    /// True if this staged row made it.
    pub(crate) created: bool,
}

/// The reason that a staging table could not be made.
#[derive(Debug)]
pub enum StageError {
    MissingUniqueIndex,
    Sql(sqlx::Error),
}

impl From<sqlx::Error> for StageError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}
