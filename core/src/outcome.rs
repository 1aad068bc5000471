//! The result of a call: its future, and a row with its flag.

use futures_core::future::BoxFuture;

use crate::error::Error;

/// The boxed future that every call returns.
///
/// With an opaque future in its place, a generic function called inside a transaction closure inside `tokio::spawn` does not compile
/// ("implementation of `Handle` is not general enough").
pub(crate) type CallFuture<'a, T, E = Error> = BoxFuture<'a, Result<T, E>>;

/// The future of a step on a connection.
pub(crate) type SqlFuture<'a, T> = CallFuture<'a, T, sqlx::Error>;

/// A row, and whether the call that gives it created it.
///
/// ```
/// use upsertable::Outcome;
///
/// let outcome = Outcome { row: "jazz", created: true };
/// let (row, created) = outcome.clone().into();
/// assert_eq!((row, created), ("jazz", true));
/// assert_eq!(outcome.into_row(), "jazz");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<T> {
    /// The row as it is in the table.
    pub row: T,
    /// True for the call that created the row.
    ///
    /// Of all callers that race for one key, exactly one sees `true`.
    pub created: bool,
}

impl<T> Outcome<T> {
    /// The row alone.
    #[must_use]
    pub fn into_row(self) -> T {
        self.row
    }
}

impl<T> From<Outcome<T>> for (T, bool) {
    fn from(outcome: Outcome<T>) -> Self {
        (outcome.row, outcome.created)
    }
}
