//! Tools for tests: the statements that ran, and pending callbacks.

use std::panic::Location;

pub use crate::trace::statement_log::statements;
use crate::{
    driver::Driver,
    transaction::Transaction,
    transaction::callback::{Callback, Committed, run_callbacks},
};

/// Takes out the callbacks that `tx` would run after its commit.
///
/// Hooks on created rows are among them. They can be looked at, or run without committing: for tests that always roll back. They are no
/// longer the transaction's: a commit does not run them.
///
/// ```
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
/// let mut tx = upsertable::begin(&pool).await?;
/// tx.on_commit(async { println!("saved") });
/// let callbacks = upsertable::testing::capture(&mut tx);
/// assert_eq!(callbacks.len(), 1);
/// assert!(callbacks.run().await.failures().is_empty());
/// tx.rollback().await
/// # }
/// ```
#[must_use = "the callbacks are dropped without having run"]
pub fn capture<DB: Driver>(tx: &mut Transaction<DB>) -> Captured {
    Captured(tx.queue.take())
}

/// Callbacks that were taken out of a transaction: see [`capture`].
pub struct Captured(Vec<Callback>);

impl Captured {
    /// Number of callbacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there is no callback.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Source locations where the callbacks were registered.
    ///
    /// They are in the order in which the callbacks would run.
    pub fn places(&self) -> impl Iterator<Item = &'static Location<'static>> {
        self.0.iter().map(Callback::place)
    }

    /// Runs the callbacks in order, as a commit would.
    pub async fn run(self) -> Committed {
        run_callbacks(self.0).await
    }
}

impl std::fmt::Debug for Captured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.places().map(ToString::to_string)).finish()
    }
}
