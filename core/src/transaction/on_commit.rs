//! Callbacks after a commit, and what became of them.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, panic::Location};

use futures_core::future::BoxFuture;
use futures_util::FutureExt as _;
use sqlx::Pool;

use crate::{
    Error,
    backend::Backend,
    connection::handle::CallFuture,
    error::BoxError,
    testing,
    transaction::{Conn, Transaction},
};

/// A value that a callback's future may give.
///
/// It is `()`, `Result<(), E>`, or nothing ever (`!`).
#[diagnostic::on_unimplemented(
    message = "an after-commit callback cannot give `{Self}`",
    label = "expected a future of `()` or `Result<(), E>`",
    note = "nobody receives a callback's value: end it with `;`, or map it to `()`"
)]
pub trait Output: Send + 'static {
    /// The failure, if it was one.
    #[doc(hidden)]
    fn outcome(self) -> Result<(), BoxError>;
}

impl Output for () {
    fn outcome(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError> + Send + 'static> Output for Result<(), E> {
    fn outcome(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// Names the type `!`, which cannot be written yet.
///
/// A callback that ends in `todo!()` has it.
#[doc(hidden)]
pub trait Returned {
    /// The function's return type.
    type Type;
}

impl<T> Returned for fn() -> T {
    type Type = T;
}

impl Output for <fn() -> ! as Returned>::Type {
    fn outcome(self) -> Result<(), BoxError> {
        self
    }
}

/// A committed transaction whose callbacks have run.
///
/// The data is saved whatever the callbacks did, so their failures are told here and not as an error of the commit. Each is also logged
/// (`tracing`, level error) with the place where the callback was registered.
#[derive(Debug, Default)]
pub struct Committed {
    failures: Vec<BoxError>,
}

impl Committed {
    /// The failures of callbacks, in the order in which they ran.
    ///
    /// A callback that panicked fails with the panic's message.
    ///
    /// ```
    /// # fn example(committed: upsertable::Committed) {
    /// assert!(committed.failures().is_empty(), "every callback has done its work");
    /// # }
    /// ```
    #[must_use]
    pub fn failures(&self) -> &[BoxError] {
        &self.failures
    }
}

/// Work that waits for a commit.
pub(crate) struct Callback {
    work: BoxFuture<'static, Result<(), BoxError>>,
    place: &'static Location<'static>,
}

impl Callback {
    #[track_caller]
    pub(crate) fn new<F>(work: F) -> Self
    where
        F: Future + Send + 'static,
        F::Output: Output,
    {
        Self::at(Location::caller(), work)
    }

    pub(crate) fn at<F>(place: &'static Location<'static>, work: F) -> Self
    where
        F: Future + Send + 'static,
        F::Output: Output,
    {
        Self { work: Box::pin(async move { work.await.outcome() }), place }
    }
}

#[cfg(feature = "testing")]
impl Callback {
    pub(crate) fn place(&self) -> &'static Location<'static> {
        self.place
    }
}

/// Runs all callbacks in order, whatever becomes of each.
pub(crate) async fn run_callbacks(callbacks: Vec<Callback>) -> Committed {
    let mut failures = Vec::new();
    for Callback { work, place } in callbacks {
        let outcome = AssertUnwindSafe(work).catch_unwind().await;
        if let Err(failure) = outcome.unwrap_or_else(|panic| Err(panic_message(panic.as_ref()).into())) {
            tracing::error!(registered_at = %place, error = %failure, "an after-commit callback failed; the data is committed");
            failures.push(failure);
        }
    }
    Committed { failures }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the callback panicked: {}", text.unwrap_or("no message"))
}

/// A target of [`on_commit`]: a transaction, or a pool.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run a callback after the commit",
    label = "expected `&mut Transaction` or `&Pool`",
    note = "a bare connection cannot tell whether its transaction will be committed: begin it with `upsertable::begin`"
)]
pub trait AfterCommit<'c>: Send + 'c {
    /// Takes the callback.
    #[doc(hidden)]
    fn take(self, callback: PendingCallback) -> CallFuture<'c, Committed>;
}

/// A callback on its way to its transaction.
#[doc(hidden)]
pub struct PendingCallback(Callback);

impl<'c, DB: Backend> AfterCommit<'c> for &'c mut Transaction<DB> {
    fn take(self, callback: PendingCallback) -> CallFuture<'c, Committed> {
        self.queue.callback(callback.0);
        Box::pin(std::future::ready(Ok(Committed::default())))
    }
}

impl<'c, DB: Backend> AfterCommit<'c> for &'c mut Conn<DB> {
    fn take(self, callback: PendingCallback) -> CallFuture<'c, Committed> {
        self.queue.callback(callback.0);
        Box::pin(std::future::ready(Ok(Committed::default())))
    }
}

impl<'c, DB: Backend> AfterCommit<'c> for &'c Pool<DB> {
    fn take(self, callback: PendingCallback) -> CallFuture<'c, Committed> {
        Box::pin(async move {
            let task = tokio::spawn(testing::inherit(run_callbacks(vec![callback.0])));
            task.await.map_err(|stopped| Error::Sql(sqlx::Error::Io(std::io::Error::other(stopped))))
        })
    }
}

/// Runs `callback` after the commit of `db`.
///
/// On a [`Transaction`] it is queued, as by [`Transaction::on_commit`]; on a pool, where every statement is committed already, it is run
/// now and awaited.
///
/// So a function that is given either can say what is to happen once its data is saved. A bare connection does not compile: it cannot
/// tell whether its transaction will be committed.
///
/// # Statements
///
/// None.
///
/// # Errors
///
/// [`Error::Sql`]: the runtime shut down before the callback was done (on a pool). A callback's own failure is in the [`Committed`] that is
/// returned on a pool, and in that of the commit on a transaction.
///
/// # Cancel safety
///
/// On a transaction the callback is queued as soon as this function is called. On a pool it runs to its end on a task of its own once the
/// future has been polled.
///
/// # Example
///
/// ```
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), upsertable::Error> {
/// let mut tx = upsertable::begin(&pool).await?;
/// upsertable::on_commit(&mut tx, async { println!("once it is saved") }).await?;
/// tx.commit().await?;
/// upsertable::on_commit(&pool, async { println!("at once") }).await?;
/// # Ok(())
/// # }
/// ```
#[track_caller]
pub fn on_commit<'c, D, F>(db: D, callback: F) -> CallFuture<'c, Committed>
where
    D: AfterCommit<'c>,
    F: Future + Send + 'static,
    F::Output: Output,
{
    db.take(PendingCallback(Callback::new(callback)))
}
