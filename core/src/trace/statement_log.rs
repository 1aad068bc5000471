//! A log of the statements that are sent.

#[cfg(feature = "testing")]
use std::sync::{Arc, Mutex, PoisonError};

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
