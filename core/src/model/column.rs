//! Bounds on databases that can hold a field or read a model.

use sqlx::{Decode, Encode, FromRow, Type, error::BoxDynError};

use crate::driver::encoding::Encoding;

/// A database whose columns can be of type `T`.
///
/// It is one for which `T` is `sqlx::Type` and `sqlx::Encode`. The database is the one that implements, and not the type: a call is then
/// never taken for one on another database, which could hold `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold a field of type `{T}`",
    label = "`{T}` is not a column type of `{Self}`",
    note = "a field's type must implement `sqlx::Type<{Self}>` and `sqlx::Encode<{Self}>`; types from other crates need the feature of sqlx that is named after the crate"
)]
pub trait Holds<T>: Encoding {
    /// Writes a value.
    #[doc(hidden)]
    fn write(encoder: &mut Self::Encoder, value: &T, is_key: bool) -> Result<(), BoxDynError>;

    /// The database's type.
    #[doc(hidden)]
    fn type_info() -> Self::TypeInfo;
}

#[diagnostic::do_not_recommend]
impl<DB: Encoding, T: for<'q> Encode<'q, DB> + Type<DB>> Holds<T> for DB {
    fn write(encoder: &mut Self::Encoder, value: &T, is_key: bool) -> Result<(), BoxDynError> {
        if is_key { DB::encode_key(encoder, value) } else { DB::encode(encoder, value) }
    }

    fn type_info() -> Self::TypeInfo {
        T::type_info()
    }
}

/// A database whose rows the model `M` can be read from.
///
/// It is one for which `M` is `sqlx::FromRow`.
#[diagnostic::on_unimplemented(
    message = "`{M}` cannot be read from a row of `{Self}`",
    label = "this model does not work on `{Self}`",
    note = "a model works on a database when it derives `sqlx::FromRow` and `Upsertable` and the database can hold every field's type"
)]
pub trait Reads<M>: Encoding {
    /// Reads a row.
    #[doc(hidden)]
    fn read(row: &Self::Row) -> Result<M, sqlx::Error>;
}

#[diagnostic::do_not_recommend]
impl<DB: Encoding, M: for<'r> FromRow<'r, DB::Row>> Reads<M> for DB {
    fn read(row: &Self::Row) -> Result<M, sqlx::Error> {
        M::from_row(row)
    }
}

/// A database whose key columns can be of type `T`.
///
/// It counts for a model's first key: rows are paged by it, so it is read by itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold a field of type `{T}`",
    label = "`{T}` is not a column type of `{Self}`",
    note = "a key's type must implement `sqlx::Type<{Self}>`, `sqlx::Encode<{Self}>` and `sqlx::Decode<{Self}>`; types from other crates need the feature of sqlx that is named after the crate"
)]
pub trait HoldsKey<T>: Holds<T> {
    /// Reads a value.
    #[doc(hidden)]
    fn get(row: &Self::Row, position: usize) -> Result<T, sqlx::Error>;
}

#[diagnostic::do_not_recommend]
impl<DB: Holds<T>, T: for<'r> Decode<'r, DB> + Type<DB>> HoldsKey<T> for DB {
    fn get(row: &Self::Row, position: usize) -> Result<T, sqlx::Error> {
        DB::value(row, position)
    }
}
