//! A row, and whether the call made it.

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
