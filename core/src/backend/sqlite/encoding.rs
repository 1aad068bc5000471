//! Values on their way to SQLite.

use sqlx::{Arguments as _, Encode, Sqlite, Type, error::BoxDynError, sqlite::SqliteArguments};

use crate::driver::encoding::Encoding;

impl Encoding for Sqlite {
    type Encoder = SqliteArguments;

    fn encode<'q, T: Encode<'q, Self> + Type<Self>>(
        encoder: &mut SqliteArguments,
        value: &T,
    ) -> Result<(), BoxDynError> {
        encoder.add(value)
    }

    fn arguments(encoder: SqliteArguments) -> SqliteArguments {
        encoder
    }
}
