//! The items of the streams that bulk calls take.

use crate::error::Error;

/// An item of a stream of new rows.
///
/// It is a row, or a result of a row whose error is the call's error.
#[diagnostic::on_unimplemented(
    message = "a stream of `{Self}` is not a stream of `{New}`",
    label = "expected items of type `{New}` or `Result<{New}, E>`",
    note = "the error of a `Result` item is the call's error, so it must implement `From<upsertable::Error>`"
)]
pub trait Row<New> {
    /// The error of a call that is given such items.
    type Error: From<Error>;

    /// The row, or the error that ends the call.
    #[doc(hidden)]
    fn into_row(self) -> Result<New, Self::Error>;
}

impl<New> Row<New> for New {
    type Error = Error;

    fn into_row(self) -> Result<Self, Error> {
        Ok(self)
    }
}

impl<New, E: From<Error>> Row<New> for Result<New, E> {
    type Error = E;

    fn into_row(self) -> Self {
        self
    }
}
