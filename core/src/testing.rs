//! Tools for tests: the statements that ran, and pending callbacks.

#[cfg(feature = "testing")]
use std::{
    panic::Location,
    sync::{Arc, Mutex, PoisonError},
};

#[cfg(feature = "testing")]
use crate::{
    backend::Backend,
    transaction::Transaction,
    transaction::on_commit::{Callback, Committed, run_callbacks},
};

#[cfg(feature = "testing")]
tokio::task_local! {
    static STATEMENTS: Arc<Mutex<Vec<String>>>;
}

/// Runs `work` and collects the SQL that is run for it.
///
/// The statements are those of this crate and its transactions, in order.
///
/// The text is what is sent, with placeholders for values; `BEGIN`, `COMMIT` and the like are among it. Statements that plain sqlx runs
/// on a connection of its own are not seen.
///
/// ```
/// # async fn example(pool: sqlx::SqlitePool) {
/// let (value, statements) = upsertable::testing::statements(async { 1 + 1 }).await;
/// assert_eq!((value, statements.len()), (2, 0));
/// # }
/// ```
#[cfg(feature = "testing")]
pub async fn statements<F: Future>(work: F) -> (F::Output, Vec<String>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let value = STATEMENTS.scope(Arc::clone(&seen), work).await;
    let statements = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    (value, statements)
}

/// Notes a statement for [`statements`].
#[cfg(feature = "testing")]
pub(crate) fn record(sql: &str) {
    // An error says that nobody listens.
    let _ = STATEMENTS.try_with(|seen| seen.lock().unwrap_or_else(PoisonError::into_inner).push(sql.to_owned()));
}

#[cfg(not(feature = "testing"))]
pub(crate) fn record(_sql: &str) {}

/// Makes a new task's statements visible to the current listener.
///
/// The task is one of the crate's own; its statements are seen by whoever listens to the task that starts it.
#[cfg(feature = "testing")]
pub(crate) fn inherit<F: Future + Send + 'static>(work: F) -> impl Future<Output = F::Output> + Send + 'static
where
    F::Output: Send,
{
    let seen = STATEMENTS.try_with(Arc::clone).unwrap_or_default();
    STATEMENTS.scope(seen, work)
}

#[cfg(not(feature = "testing"))]
pub(crate) fn inherit<F: Future + Send + 'static>(work: F) -> F {
    work
}

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
#[cfg(feature = "testing")]
#[must_use = "the callbacks are dropped without having run"]
pub fn capture<DB: Backend>(tx: &mut Transaction<DB>) -> Captured {
    Captured(tx.queue.take())
}

/// Callbacks that were taken out of a transaction: see [`capture`].
#[cfg(feature = "testing")]
pub struct Captured(Vec<Callback>);

#[cfg(feature = "testing")]
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

#[cfg(feature = "testing")]
impl std::fmt::Debug for Captured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.places().map(ToString::to_string)).finish()
    }
}
