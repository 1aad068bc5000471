//! Values on their way to the database.

use sqlx::{Encode, Type, error::BoxDynError};

use crate::{driver::Driver, sql::table::Key};

/// The part of a [`Backend`](crate::Backend) that models and their values need.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database that upsertable works on",
    label = "expected `sqlx::Sqlite`, `sqlx::Postgres` or `sqlx::MySql`",
    note = "turn on the feature of upsertable that is named after the database: `sqlite`, `postgres` or `mysql`",
    note = "`sqlx::Any` hides which database it talks to, and every statement depends on that: use the pool of the database itself"
)]
pub trait Encoding: Driver {
    /// Collects the values of rows as they are written.
    type Encoder: Default + Send;

    /// Writes one value.
    fn encode<'q, T: Encode<'q, Self> + Type<Self>>(encoder: &mut Self::Encoder, value: &T) -> Result<(), BoxDynError>;

    /// Writes one value that is compared with a key's column.
    fn encode_key<'q, T: Encode<'q, Self> + Type<Self>>(
        encoder: &mut Self::Encoder,
        value: &T,
    ) -> Result<(), BoxDynError> {
        Self::encode(encoder, value)
    }

    /// Repeats the key that was written last as the bound of a page needs it.
    fn repeat_bound(_encoder: &mut Self::Encoder, _key: &Key) {}

    /// Returns the constructor of an encoder for rows to stage.
    ///
    /// The rows have values of these types.
    fn stage_encoder(_types: &[Self::TypeInfo]) -> fn() -> Self::Encoder {
        Self::Encoder::default
    }

    /// Turns the collected values into the arguments of a statement.
    fn arguments(encoder: Self::Encoder) -> Self::Arguments;

    /// Returns the size of the collected values, where the driver tells.
    fn bytes(_encoder: &Self::Encoder) -> usize {
        0
    }
}
