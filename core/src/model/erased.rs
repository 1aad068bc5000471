//! Models with their types erased.

use std::any::Any;

use crate::{
    driver::bind::Columns,
    driver::encoding::Encoding,
    model::model_id::ModelId,
    model::values::{KeyRow, Types, Values},
    model::{AnyKey, On, Reading, RowOperation, UniqueKey},
    sql::table::{Key, Table},
};

/// Takes a row as an `Option` of its model.
type Receiver<'r> = &'r mut dyn FnMut(&mut dyn Any);

/// A model with its type erased.
///
/// What is given this and not the type is compiled once a database, not once a model.
pub(crate) struct ModelVTable<DB: Encoding> {
    pub(crate) table: &'static Table,
    pub(crate) id: ModelId,
    pub(crate) types: fn() -> Vec<DB::TypeInfo>,
    /// Reads a row and hands it on as an `Option` of the model.
    pub(crate) read: fn(&DB::Row, Receiver<'_>) -> Result<(), sqlx::Error>,
}

impl<DB: Encoding> ModelVTable<DB> {
    pub(crate) fn new<M: On<DB>>() -> Self {
        Self { table: Table::of::<M>(), id: ModelId::of::<M>(), types: types::<DB, M>, read: hand_on::<DB, M> }
    }
}

fn hand_on<DB: Encoding, M: On<DB>>(row: &DB::Row, receiver: &mut dyn FnMut(&mut dyn Any)) -> Result<(), sqlx::Error> {
    // Compiled for every model: of a `match` the compiler makes less code than of `?`.
    match read::<DB, M>(row) {
        Ok(row) => {
            receiver(&mut Some(row));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Writes the supplied columns of a new row.
pub(crate) fn put<DB: Encoding, M: On<DB>>(
    new: &M::New,
    table: &'static Table,
    key: &'static Key,
    columns: Columns,
    encoder: &mut DB::Encoder,
) -> Result<(), sqlx::Error> {
    let mut values = Values::new(table, Some(key), columns, encoder);
    M::work(RowOperation::Put(new, &mut values));
    values.outcome
}

/// Writes the columns of a key.
pub(crate) fn put_key<DB: Encoding, M: On<DB>, K: UniqueKey<M>>(
    value: &K,
    table: &'static Table,
    key: &'static Key,
    encoder: &mut DB::Encoder,
) -> Result<(), sqlx::Error> {
    let mut values = Values::new(table, Some(key), Columns::Key, encoder);
    let any = AnyKey(value);
    M::work(match any.of() {
        Some(first) => RowOperation::PutKey(first, &mut values),
        None => RowOperation::PutOther(&any, &mut values),
    });
    values.outcome
}

/// The database's type of every column.
pub(crate) fn types<DB: Encoding, M: On<DB>>() -> Vec<DB::TypeInfo> {
    let mut types = Types(Vec::new());
    M::work(RowOperation::Types(&mut types));
    types.0
}

/// Reads a row.
pub(crate) fn read<DB: Encoding, M: On<DB>>(row: &DB::Row) -> Result<M, sqlx::Error> {
    let mut reading = Reading { row, outcome: Err(sqlx::Error::RowNotFound) };
    M::work(RowOperation::Read(&mut reading));
    reading.outcome
}

/// Reads the columns of the first key.
pub(crate) fn read_key<DB: Encoding, M: On<DB>>(mut row: KeyRow<'_, DB>) -> Result<M::Key, sqlx::Error> {
    let mut key = None;
    M::work(RowOperation::ReadKey(&mut row, &mut key));
    key.ok_or_else(|| {
        row.error.unwrap_or_else(|| sqlx::Error::Decode("a key with a column of JSON cannot be paged by".into()))
    })
}
