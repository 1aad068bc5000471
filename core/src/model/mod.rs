//! The traits that the derive implements, and bounds on databases.

pub(crate) mod debug;
pub(crate) mod values;

use std::any::{Any, TypeId};

use sqlx::{Decode, Encode, FromRow, Type, error::BoxDynError};

use crate::{
    Error, Upsertable,
    backend::Backend,
    model::values::{KeyRow, Only, Types, Values},
    sql::table::{Table, Target},
    transaction::Conn,
};

/// A model that can be stored in the database `DB`.
///
/// A function that is generic over the database names this bound. `#[derive(Upsertable)]` implements it for every database that can hold
/// all the field types.
///
/// ```
/// use upsertable::{Backend, Error, On, Upsertable};
///
/// async fn import<DB: Backend, M: On<DB>>(db: &sqlx::Pool<DB>, rows: Vec<M::New>) -> Result<u64, Error> {
///     Ok(M::bulk_create_new(db, rows).await?.created)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored in `{DB}`",
    label = "this model does not work on `{DB}`",
    note = "a model works on a database when it derives `sqlx::FromRow` and `Upsertable` and the database can hold every field's type"
)]
pub trait On<DB: Backend>: Upsertable {
    /// Does one operation on the values of a row or key.
    #[doc(hidden)]
    fn work(work: RowOperation<'_, '_, DB, Self>);
}

/// One operation on the values of a row or a key.
///
/// The derive writes one function for all operations: the compiler proves the bounds of a model for every function anew, and that is most
/// of what a model costs it.
pub enum RowOperation<'w, 'v, DB: Backend, M: Upsertable> {
    /// Write the supplied columns of a new row, in column order.
    Put(&'w M::New, &'w mut Values<'v, DB>),
    /// Write the columns of a first key, in column order.
    PutKey(&'w M::Key, &'w mut Values<'v, DB>),
    /// Write the columns of another key type, in column order.
    PutOther(&'w AnyKey<'w>, &'w mut Values<'v, DB>),
    /// Name the database's type for every column, in column order.
    Types(&'w mut Types<DB>),
    /// Read a row.
    Read(&'w mut Reading<'v, DB, M>),
    /// Read the columns of the first key.
    ReadKey(&'w mut KeyRow<'v, DB>, &'w mut Option<M::Key>),
}

/// A key of one of a model's key types.
pub struct AnyKey<'k>(&'k dyn Any);

impl AnyKey<'_> {
    /// The key, where it is of this type.
    #[must_use]
    pub fn of<K: Any>(&self) -> Option<&K> {
        self.0.downcast_ref()
    }
}

/// A model with its type erased.
///
/// What is given this and not the type is compiled once a database, not once a model.
pub(crate) struct ModelVTable<DB: Backend> {
    pub(crate) table: &'static Table,
    pub(crate) id: TypeId,
    pub(crate) types: fn() -> Vec<DB::TypeInfo>,
    /// Reads a created row, and hands it to the hooks.
    pub(crate) created: fn(&mut Conn<DB>, &DB::Row) -> Result<(), sqlx::Error>,
}

impl<DB: Backend> ModelVTable<DB> {
    pub(crate) fn new<M: On<DB>>() -> Self {
        Self { table: Table::of::<M>(), id: TypeId::of::<M>(), types: types::<DB, M>, created: created::<DB, M> }
    }
}

fn created<DB: Backend, M: On<DB>>(conn: &mut Conn<DB>, row: &DB::Row) -> Result<(), sqlx::Error> {
    // Compiled for every model: of a `match` the compiler makes less code than of `?`.
    match read::<DB, M>(row) {
        Ok(row) => {
            conn.queue.created(TypeId::of::<M>(), &mut Some(row));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Writes the supplied columns of a new row.
pub(crate) fn put<DB: Backend, M: On<DB>>(
    new: &M::New,
    target: Target,
    only: Only,
    encoder: &mut DB::Encoder,
) -> Result<(), sqlx::Error> {
    let mut values = Values::new(target.table, only, encoder);
    M::work(RowOperation::Put(new, &mut values));
    values.outcome
}

/// Writes the columns of a key.
pub(crate) fn put_key<DB: Backend, M: On<DB>, K: UniqueKey<M>>(
    value: &K,
    target: Target,
    encoder: &mut DB::Encoder,
) -> Result<(), sqlx::Error> {
    let mut values = Values::new(target.table, Only::Key(target.key), encoder);
    let key = AnyKey(value);
    M::work(match key.of() {
        Some(first) => RowOperation::PutKey(first, &mut values),
        None => RowOperation::PutOther(&key, &mut values),
    });
    values.outcome
}

/// The database's type of every column.
pub(crate) fn types<DB: Backend, M: On<DB>>() -> Vec<DB::TypeInfo> {
    let mut types = Types(Vec::new());
    M::work(RowOperation::Types(&mut types));
    types.0
}

/// Reads a row.
pub(crate) fn read<DB: Backend, M: On<DB>>(row: &DB::Row) -> Result<M, sqlx::Error> {
    let mut reading = Reading { row, outcome: Err(sqlx::Error::RowNotFound) };
    M::work(RowOperation::Read(&mut reading));
    reading.outcome
}

/// Reads the columns of the first key.
pub(crate) fn read_key<DB: Backend, M: On<DB>>(mut row: KeyRow<'_, DB>) -> Result<M::Key, sqlx::Error> {
    let mut key = None;
    M::work(RowOperation::ReadKey(&mut row, &mut key));
    key.ok_or_else(|| {
        row.error.unwrap_or_else(|| sqlx::Error::Decode("a key with a column of JSON cannot be paged by".into()))
    })
}

/// A row that a model is read from.
pub struct Reading<'r, DB: Backend, M> {
    row: &'r DB::Row,
    outcome: Result<M, sqlx::Error>,
}

impl<DB: Backend, M> Reading<'_, DB, M> {
    /// Reads the model from the row.
    pub fn read(&mut self)
    where
        DB: Reads<M>,
    {
        self.outcome = DB::read(self.row);
    }
}

/// A key of the model `M`.
///
/// It is a struct with the fields of one `#[unique(..)]`, made by the derive.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key of `{M}`",
    label = "expected a key type of `{M}`",
    note = "the derive makes one key type for each `#[unique(..)]` of the model, named `{{Model}}Key` for the first"
)]
pub trait UniqueKey<M: Upsertable>: Clone + Send + Sync + 'static {
    /// Index of the key's `#[unique(..)]` in the model, from 0.
    #[doc(hidden)]
    const INDEX: usize = 0;
}

/// A key that a row can be created by.
///
/// The caller supplies all its columns. A key with a generated column, as in `#[unique(id)]`, is a key to find by only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key that `{M}` can be created by",
    label = "this key is one to find by only",
    note = "a key with a `generated` column is filled in by the database: use it with `find` and `find_all`"
)]
pub trait CreateKey<M: Upsertable>: UniqueKey<M> {
    /// Stores this key's columns in a new row.
    #[doc(hidden)]
    fn store(self, new: &mut M::New);
}

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

/// A database whose columns can be of type `T`.
///
/// It is one for which `T` is `sqlx::Type` and `sqlx::Encode`. The database is the one that implements, and not the type: a call is then
/// never taken for one on another database, which could hold `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold a field of type `{T}`",
    label = "`{T}` is not a column type of `{Self}`",
    note = "a field's type must implement `sqlx::Type<{Self}>` and `sqlx::Encode<{Self}>`; types from other crates need the feature of sqlx that is named after the crate"
)]
pub trait Holds<T>: Backend {
    /// Writes a value.
    #[doc(hidden)]
    fn put(encoder: &mut Self::Encoder, value: &T, is_key: bool) -> Result<(), BoxDynError>;

    /// The database's type.
    #[doc(hidden)]
    fn kind() -> Self::TypeInfo;
}

#[diagnostic::do_not_recommend]
impl<DB: Backend, T: for<'q> Encode<'q, DB> + Type<DB>> Holds<T> for DB {
    fn put(encoder: &mut Self::Encoder, value: &T, is_key: bool) -> Result<(), BoxDynError> {
        if is_key { DB::encode_key(encoder, value) } else { DB::encode(encoder, value) }
    }

    fn kind() -> Self::TypeInfo {
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
pub trait Reads<M>: Backend {
    /// Reads a row.
    #[doc(hidden)]
    fn read(row: &Self::Row) -> Result<M, sqlx::Error>;
}

#[diagnostic::do_not_recommend]
impl<DB: Backend, M: for<'r> FromRow<'r, DB::Row>> Reads<M> for DB {
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
