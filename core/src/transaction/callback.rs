//! A callback after the commit, and what became of it.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, panic::Location};

use futures_core::future::BoxFuture;
use futures_util::FutureExt as _;

use crate::error::BoxError;

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
