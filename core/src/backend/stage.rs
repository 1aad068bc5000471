//! A staging table: what all databases know of it.

#[cfg(feature = "postgres")]
use std::sync::{Mutex, PoisonError};
use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::Backend;
use crate::table::{Key, Table};

/// A staging table in the making: for which table, by which key, with which columns.
pub struct Stage<DB: Backend> {
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
    /// Whether the merge marks the staged rows that it makes.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL stages otherwise then"))]
    pub(crate) marks: bool,
    /// How many rows are staged.
    rows: AtomicU64,
    #[cfg(feature = "postgres")]
    joined: Mutex<Joined>,
    /// What opening it found out, where filling or merging needs to know.
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "only MySQL has to know"))]
    pub(crate) found: OnceLock<Found>,
}

/// How the merge joins the staged rows with the table.
#[cfg(feature = "postgres")]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// As the database finds best.
    #[default]
    AsPlanned,
    /// The same, after the staged rows have been sorted by the key.
    ByKey,
    /// By a look into the index for each, after they have been sorted by the key.
    ByLooks,
    /// By a hash, or by sorting both.
    ByHash,
}

/// What opening a staging table found out.
#[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "only MySQL has to know"))]
pub(crate) struct Found {
    /// The name of the key's unique index.
    pub(crate) index: String,
    /// Whether a query may be told to use it.
    pub(crate) usable: bool,
    /// The most bytes that one statement can carry.
    pub(crate) packet: usize,
    /// Whether the server makes a few rows at once as it would make them from a staging table.
    pub(crate) makes_few: bool,
    /// Whether no two of the staged rows have one key, as far as the client can tell.
    pub(crate) distinct: AtomicBool,
}

impl<DB: Backend> Stage<DB> {
    /// The supplied columns of the target's table; `types` are those of all its columns.
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
            #[cfg(feature = "postgres")]
            joined: Mutex::default(),
            found: OnceLock::new(),
        }
    }

    pub(crate) fn note_rows(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    /// How many rows are staged.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        allow(dead_code, reason = "MySQL merges any number in one way")
    )]
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn note_joined(&self, joined: Joined) {
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner) = joined;
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn joined(&self) -> Joined {
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a column of the table stands among the staged ones.
    pub(crate) fn position(&self, column: usize) -> usize {
        self.columns.iter().position(|staged| *staged == column).unwrap_or_default()
    }

    /// Where the key's columns stand among the staged ones.
    pub(crate) fn key_positions(&self) -> impl Iterator<Item = usize> {
        self.key.columns.iter().map(|&column| self.position(column))
    }
}

/// Which staged rows to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    Created,
}

/// What stands behind the model's columns in a row that was read for a staged row or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The number of the staged row or key.
    pub(crate) number: i64,
    /// Whether there is such a row in the table.
    pub(crate) found: bool,
    /// Whether this staged row made it.
    pub(crate) created: bool,
}

/// Why a staging table could not be made.
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
