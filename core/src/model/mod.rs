//! The traits that the derive implements, and bounds on databases.

pub(crate) mod column;
pub(crate) mod debug;
pub(crate) mod erased;
pub(crate) mod model_id;
pub(crate) mod new_row;
pub(crate) mod values;

use std::any::{Any, TypeId};

use crate::{
    driver::encoding::Encoding,
    error::Error,
    model::column::Reads,
    model::new_row::Row,
    model::values::{KeyRow, Types, Values},
    sql::table::Table,
};

/// The derived half of [`Upsertable`](crate::Upsertable): a model's types and its table.
///
/// `#[derive(Upsertable)]` implements it. The calls are in [`Upsertable`](crate::Upsertable), which every model has.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model",
    label = "expected a struct that derives `Upsertable`",
    note = "add `#[derive(sqlx::FromRow, upsertable::Upsertable)]` and `#[unique(..)]` to the struct"
)]
pub trait Model: Sized + Send + Sync + Unpin + 'static {
    /// A new row, with the columns that a caller supplies.
    ///
    /// `New{Model}`, or the model itself where no field is `generated`.
    type New: Row<Self::New, Error = Error> + Send + 'static;

    /// The model's first key: `{Model}Key`.
    type Key: CreateKey<Self>;

    /// The table, as [`Table::of`] reads it.
    #[doc(hidden)]
    const TABLE: &'static str;

    /// Nullability of the columns whose types the derive cannot tell.
    ///
    /// In the order of these columns.
    #[doc(hidden)]
    const NULLABLE: &'static [bool] = &[];

    /// Returns the first key of this row.
    #[doc(hidden)]
    fn unique_key(&self) -> Self::Key;
}

impl Table {
    /// Returns the table of a model.
    pub(crate) fn of<M: Model>() -> &'static Self {
        Self::of_model(TypeId::of::<M>(), M::TABLE, M::NULLABLE)
    }
}

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
pub trait On<DB: Encoding>: Model {
    /// Does one operation on the values of a row or key.
    #[doc(hidden)]
    fn work(work: RowOperation<'_, '_, DB, Self>);
}

/// One operation on the values of a row or a key.
///
/// The derive writes one function for all operations: the compiler proves the bounds of a model for every function anew, and that is most
/// of what a model costs it.
pub enum RowOperation<'w, 'v, DB: Encoding, M: Model> {
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
pub struct AnyKey<'k>(pub(super) &'k dyn Any);

impl AnyKey<'_> {
    /// The key, where it is of this type.
    #[must_use]
    pub fn of<K: Any>(&self) -> Option<&K> {
        self.0.downcast_ref()
    }
}

/// A row that a model is read from.
pub struct Reading<'r, DB: Encoding, M> {
    pub(super) row: &'r DB::Row,
    pub(super) outcome: Result<M, sqlx::Error>,
}

impl<DB: Encoding, M> Reading<'_, DB, M> {
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
pub trait UniqueKey<M: Model>: Clone + Send + Sync + 'static {
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
pub trait CreateKey<M: Model>: UniqueKey<M> {
    /// Stores this key's columns in a new row.
    #[doc(hidden)]
    fn store(self, new: &mut M::New);
}
