//! Notes that the steps of a bulk call leave each other.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The way in which the merge joins staged rows and table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinStrategy {
    /// The way that the database finds best.
    #[default]
    AsPlanned,
    /// The database's choice, after a sort by the key.
    ///
    /// It is the staged rows that are sorted.
    ByKey,
    /// A look into the index for each, in key order.
    ///
    /// The rows have been sorted by the key before.
    ByLooks,
    /// A hash, or a sort of both.
    ByHash,
}

/// The facts that are known of a staging table.
pub struct StageState {
    /// Its name, quoted and with its schema.
    ///
    /// Each has one of its own, so that no call can take another's table for its own.
    pub(super) name: String,
    joined: Mutex<JoinStrategy>,
    pub(super) sizes: OnceLock<Sizes>,
}

impl Default for StageState {
    fn default() -> Self {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        // A new `RandomState` is seeded anew.
        let chance = RandomState::new().hash_one(CALLS.fetch_add(1, Ordering::Relaxed));
        Self {
            name: format!("pg_temp.upsertable_staged_{chance:016x}"),
            joined: Mutex::default(),
            sizes: OnceLock::new(),
        }
    }
}

impl StageState {
    pub(super) fn note(&self, joined: JoinStrategy) {
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner) = joined;
    }

    pub(super) fn joined(&self) -> JoinStrategy {
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is a column of one answer")]
pub(super) struct Sizes {
    /// True if the table is not far larger than its staging.
    ///
    /// It is up to `TIMES_LARGER` times as large as what is staged.
    pub(super) similar: bool,
    pub(super) far_larger: bool,
    /// True if the server greatly underestimates the table's rows.
    ///
    /// It takes the table to have far fewer rows than it can have.
    pub(super) is_misjudged: bool,
    /// True if nothing else runs within the merge.
    ///
    /// Triggers would run under its settings, and keep the plans of their statements; and rules and policies bring joins of their own.
    pub(super) may_change: bool,
}
