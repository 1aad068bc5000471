//! What the derive tells about a model: its table, columns and keys, and how its values are written.

use std::{
    any::{Any, TypeId},
    fmt,
    marker::PhantomData,
    sync::OnceLock,
};

use sqlx::{Decode, Encode, FromRow, Type, error::BoxDynError};

use crate::{
    Error, Upsertable,
    backend::{self, Backend, RowTexts},
    show::{Fields, Shown},
    transaction::Conn,
    watch::Watch,
};

/// A model that can be stored in the database `DB`: what a function generic over the database names.
///
/// `#[derive(Upsertable)]` implements it for every database that can hold all the field types.
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
    /// Does one thing with the values of a row or a key.
    #[doc(hidden)]
    fn work(work: Work<'_, '_, DB, Self>);
}

/// What is done with the values of rows and keys. The derive writes one function for all of it: the compiler proves the bounds of a model for
/// every function anew, and that is most of what a model costs it.
pub enum Work<'w, 'v, DB: Backend, M: Upsertable> {
    /// Write the supplied columns of a new row, in column order.
    Put(&'w M::New, &'w mut Values<'v, DB>),
    /// Write the columns of a key, which is of one of the model's key types, in column order.
    PutKey(&'w dyn Any, &'w mut Values<'v, DB>),
    /// Name the database's type for every column, in column order.
    Types(&'w mut Types<DB>),
    /// Read a row.
    Read(&'w mut Reading<'v, DB, M>),
    /// Read the columns of the first key.
    ReadKey(&'w mut KeyRow<'v, DB>, &'w mut Option<M::Key>),
}

/// A model with its type taken out: what is given this and not the type is compiled once a database, not once a model.
pub(crate) struct Erased<DB: Backend> {
    pub(crate) table: &'static Table,
    pub(crate) id: TypeId,
    pub(crate) types: fn() -> Vec<DB::TypeInfo>,
    /// Reads a row that was created, and hands it to the hooks.
    pub(crate) created: fn(&mut Conn<DB>, &DB::Row) -> Result<(), sqlx::Error>,
}

impl<DB: Backend> Erased<DB> {
    pub(crate) fn new<M: On<DB>>() -> Self {
        Self { table: M::table(), id: TypeId::of::<M>(), types: types::<DB, M>, created: created::<DB, M> }
    }
}

fn created<DB: Backend, M: On<DB>>(conn: &mut Conn<DB>, row: &DB::Row) -> Result<(), sqlx::Error> {
    // Compiled for every model: of a `match` the compiler makes less code than of `?`.
    match read::<DB, M>(row) {
        Ok(row) => {
            conn.created(TypeId::of::<M>(), &mut Some(row));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Writes the supplied columns of a new row.
pub(crate) fn put<DB: Backend, M: On<DB>>(
    new: &M::New,
    only: Only,
    encoder: &mut DB::Encoder,
) -> Result<(), sqlx::Error> {
    let mut values = Values::new(M::table(), only, encoder);
    M::work(Work::Put(new, &mut values));
    values.outcome
}

/// Writes the columns of a key.
pub(crate) fn put_key<DB: Backend, M: On<DB>, K: UniqueKey<M>>(
    value: &K,
    key: &'static Key,
    encoder: &mut DB::Encoder,
) -> Result<(), sqlx::Error> {
    let mut values = Values::new(M::table(), Only::Key(key), encoder);
    M::work(Work::PutKey(value, &mut values));
    values.outcome
}

/// The database's type of every column.
pub(crate) fn types<DB: Backend, M: On<DB>>() -> Vec<DB::TypeInfo> {
    let mut types = Types(Vec::new());
    M::work(Work::Types(&mut types));
    types.0
}

/// Reads a row.
pub(crate) fn read<DB: Backend, M: On<DB>>(row: &DB::Row) -> Result<M, sqlx::Error> {
    let mut reading = Reading { row, outcome: Err(sqlx::Error::RowNotFound) };
    M::work(Work::Read(&mut reading));
    reading.outcome
}

/// Reads the columns of the first key.
pub(crate) fn read_key<DB: Backend, M: On<DB>>(mut row: KeyRow<'_, DB>) -> Result<M::Key, sqlx::Error> {
    let mut key = None;
    M::work(Work::ReadKey(&mut row, &mut key));
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
    /// Reads it.
    pub fn read(&mut self)
    where
        DB: Reads<M>,
    {
        self.outcome = DB::read(self.row);
    }
}

/// A key of the model `M`: a struct with the fields of one `#[unique(..)]`, made by the derive.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key of `{M}`",
    label = "expected a key type of `{M}`",
    note = "the derive makes one key type for each `#[unique(..)]` of the model, named `{{Model}}Key` for the first"
)]
pub trait UniqueKey<M: Upsertable>: Clone + Send + Sync + 'static {
    /// Which `#[unique(..)]` of the model this is, counted from 0.
    #[doc(hidden)]
    const INDEX: usize = 0;
}

/// A key that a row can be created by: one of columns that the caller supplies.
///
/// A key with a generated column, as in `#[unique(id)]`, is a key to find by only.
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

/// An item of a stream of new rows: a row, or a result of a row whose error is the call's error.
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

/// A database in which a column of a model can be of type `T`: one for which `T` is `sqlx::Type` and `sqlx::Encode`.
///
/// The database is the one that implements, and not the type: a call is then never taken for one on another database, which could hold `T`.
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

/// A database whose rows the model `M` can be read from: one for which `M` is `sqlx::FromRow`.
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

/// A database in which a column of a model's first key can be of type `T`: rows are paged by it, so it is read by itself.
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

/// What the crate knows of a model's table.
#[derive(Debug, Default)]
pub struct Table {
    pub(crate) model: &'static str,
    pub(crate) schema: Option<&'static str>,
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<Column>,
    pub(crate) keys: Vec<Key>,
    /// The statements for one row, for each database and key, made on first use.
    row_texts: [OnceLock<Vec<RowTexts>>; 3],
}

/// One column of a model.
#[derive(Debug)]
pub struct Column {
    /// The name of the struct's field.
    pub field: &'static str,
    /// The name of the column.
    pub name: &'static str,
    /// The database fills it in.
    pub generated: bool,
    /// An upsert leaves it alone.
    pub create_only: bool,
    /// Its Rust type is an `Option`.
    pub nullable: bool,
}

/// One `#[unique(..)]` of a model.
#[derive(Debug)]
pub struct Key {
    /// Indexes into the table's columns, ascending.
    pub columns: Vec<usize>,
    /// NULL matches NULL.
    pub nulls_not_distinct: bool,
}

/// A table as the derive writes it down, in one text: a constant of structs takes the compiler ten times as long. It is read on first use.
#[derive(Debug)]
pub struct Described {
    text: &'static str,
    nullable: &'static [bool],
    table: OnceLock<Table>,
}

impl Described {
    /// A table with this description: items of words, the first of which says what the item is, with a NUL between two items. `nullable` says
    /// it of the columns whose types the derive cannot tell, in their order.
    #[must_use]
    pub const fn new(text: &'static str, nullable: &'static [bool]) -> Self {
        Self { text, nullable, table: OnceLock::new() }
    }

    /// The table.
    #[must_use]
    pub fn get(&'static self) -> &'static Table {
        self.table.get_or_init(|| self.read())
    }

    fn read(&self) -> Table {
        let mut table = Table::default();
        let mut nullable = self.nullable.iter().copied();
        for item in self.text.split('\0') {
            let (what, rest) = item.split_once(' ').unwrap_or((item, ""));
            match what {
                "model" => table.model = rest,
                "schema" => table.schema = Some(rest),
                "table" => table.name = rest,
                "column" => table.columns.push(Column::read(rest, &mut nullable)),
                // A name may contain spaces, so it is an item of its own.
                "named" => table.columns.last_mut().into_iter().for_each(|column| column.name = rest),
                "key" => table.keys.push(Key::read(rest)),
                _ => {}
            }
        }
        table
    }
}

impl Column {
    fn read(item: &'static str, nullable: &mut impl Iterator<Item = bool>) -> Self {
        let mut words = item.split(' ');
        let field = words.next().unwrap_or_default();
        let mut column = Self { field, name: field, generated: false, create_only: false, nullable: false };
        for word in words {
            match word {
                "generated" => column.generated = true,
                "create_only" => column.create_only = true,
                "nullable" => column.nullable = true,
                "asked" => column.nullable = nullable.next().unwrap_or_default(),
                _ => {}
            }
        }
        column
    }
}

impl Key {
    fn read(item: &str) -> Self {
        let columns = item.split(' ').filter_map(|word| word.parse().ok()).collect();
        Self { columns, nulls_not_distinct: item.split(' ').any(|word| word == "nulls_not_distinct") }
    }
}

/// What a call is about: one key of one model, for messages and statements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) table: &'static Table,
    pub(crate) key: &'static Key,
    index: usize,
    pub(crate) operation: &'static str,
}

impl Target {
    /// The key with this number. The derive numbers them, so it is there; any other number means the first.
    pub(crate) fn new(table: &'static Table, index: usize, operation: &'static str) -> Self {
        let index = if index < table.keys.len() { index } else { 0 };
        Self { table, key: &table.keys[index], index, operation }
    }

    pub(crate) fn watch(self) -> Watch {
        Watch::begin(self.operation, self.table.name)
    }

    pub(crate) fn row_texts<DB: Backend>(self) -> &'static RowTexts {
        let make = || self.table.keys.iter().map(|key| DB::row_texts(self.table, key)).collect();
        &self.table.row_texts[DB::CACHE].get_or_init(make)[self.index]
    }

    /// Refuses a key that the database cannot keep unique.
    pub(crate) fn check<DB: Backend>(self) -> Result<(), Error> {
        match DB::refuse_key(self.key) {
            Some(reason) => Err(self.unsupported(reason.to_owned())),
            None => Ok(()),
        }
    }

    /// Gives an error of an insert its meaning: the key that was asked for is never what a unique index complains of.
    pub(crate) fn explain<DB: Backend>(self, error: sqlx::Error) -> Error {
        if let Some(reason) = DB::refusal(&error) {
            self.unsupported(reason.to_owned())
        } else if DB::is_missing_index(&error) {
            self.missing_unique_index::<DB>(Some(error))
        } else if backend::is_unique_violation(&error) {
            self.other_unique(Some(error))
        } else {
            error.into()
        }
    }

    pub(crate) fn missing_unique_index<DB: Backend>(self, source: Option<sqlx::Error>) -> Error {
        Error::MissingUniqueIndex {
            model: self.table.model,
            operation: self.operation,
            key: self.key_columns(),
            create: DB::create_unique_index(self.table, self.key),
            source: source.map(Box::new),
        }
    }

    pub(crate) fn other_unique(self, source: Option<sqlx::Error>) -> Error {
        Error::OtherUnique {
            model: self.table.model,
            operation: self.operation,
            key: self.key_columns(),
            source: source.map(Box::new),
        }
    }

    pub(crate) fn many_rows(self) -> Error {
        Error::ManyRows { model: self.table.model, operation: self.operation, key: self.key_columns() }
    }

    pub(crate) fn vanished(self) -> Error {
        Error::Vanished { model: self.table.model, operation: self.operation }
    }

    pub(crate) fn partly(self, committed: u64, source: Error) -> Error {
        let (model, operation) = (self.table.model, self.operation);
        Error::Partly { model, operation, committed, source: Box::new(source) }
    }

    pub(crate) fn unsupported(self, what: String) -> Error {
        Error::Unsupported { model: self.table.model, operation: self.operation, what }
    }

    fn key_columns(self) -> String {
        self.key.columns.iter().map(|&column| self.table.columns[column].name).collect::<Vec<_>>().join(", ")
    }
}

/// Where the values of a row are written to.
pub struct Values<'a, DB: Backend> {
    encoder: &'a mut DB::Encoder,
    table: &'static Table,
    only: Only,
    /// After an error no more is written.
    pub(crate) outcome: Result<(), sqlx::Error>,
}

/// Which of the columns that are put are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Only {
    Everything,
    Key(&'static Key),
    /// The columns that an upsert by the key gives new values.
    Updatable(&'static Key),
}

impl<'a, DB: Backend> Values<'a, DB> {
    pub(crate) fn new(table: &'static Table, only: Only, encoder: &'a mut DB::Encoder) -> Self {
        Self { encoder, table, only, outcome: Ok(()) }
    }

    /// Writes the value of the column with this index.
    pub fn put<T>(&mut self, column: usize, value: &T)
    where
        DB: Holds<T>,
    {
        if self.takes(column)
            && let Err(source) = DB::put(self.encoder, value, matches!(self.only, Only::Key(_)))
        {
            self.fail(column, source);
        }
    }

    /// Writes the values of columns that follow one another, from the one with this index on.
    pub fn put_all<T: Together<DB>>(&mut self, first: usize, values: T) {
        values.put(self, first);
    }

    fn takes(&self, column: usize) -> bool {
        self.outcome.is_ok()
            && match self.only {
                Only::Everything => true,
                Only::Key(key) => key.columns.contains(&column),
                Only::Updatable(key) => self.table.is_updatable(key, column),
            }
    }

    #[cold]
    fn fail(&mut self, column: usize, source: BoxDynError) {
        let field = self.table.columns.get(column).map_or("", |column| column.field);
        self.outcome = Err(sqlx::Error::Encode(Box::new(FieldError { model: self.table.model, field, source })));
    }
}

/// A row that a key is read from.
pub struct KeyRow<'r, DB: Backend> {
    row: &'r DB::Row,
    /// The key whose columns alone are in the row; without one, all of the table's are.
    only: Option<&'static Key>,
    error: Option<sqlx::Error>,
}

impl<'r, DB: Backend> KeyRow<'r, DB> {
    pub(crate) fn of_row(row: &'r DB::Row) -> Self {
        Self { row, only: None, error: None }
    }

    pub(crate) fn of_key(row: &'r DB::Row, key: &'static Key) -> Self {
        Self { row, only: Some(key), error: None }
    }

    /// The values of the table's columns with these indexes; nothing where one cannot be read, which is kept in mind.
    pub fn get_all<T: KeyParts<DB>>(&mut self, columns: &[usize]) -> Option<T> {
        T::get(self, columns)
    }

    fn get<T>(&mut self, column: usize) -> Option<T>
    where
        DB: HoldsKey<T>,
    {
        let position = match self.only {
            None => column,
            Some(key) => key.columns.iter().position(|of_key| *of_key == column).unwrap_or(column),
        };
        match <DB as HoldsKey<T>>::get(self.row, position) {
            Ok(value) => Some(value),
            Err(error) => {
                self.error.get_or_insert(error);
                None
            }
        }
    }
}

/// A value that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the value of `{model}::{field}` could not be encoded: {source}")]
pub(crate) struct FieldError {
    pub(crate) model: &'static str,
    pub(crate) field: &'static str,
    source: BoxDynError,
}

/// The database's types of a model's columns, in column order.
pub struct Types<DB: Backend>(pub(crate) Vec<DB::TypeInfo>);

impl<DB: Backend> Types<DB> {
    /// Adds the types of the next columns.
    pub fn put_all<T>(&mut self)
    where
        T: Kinds<DB>,
    {
        T::put(&mut self.0);
    }
}

/// References to the values of some columns. Of one call with a tuple the compiler asks less than of a call for each.
pub trait Together<DB: Backend> {
    /// Writes the values of columns from the one with the index `first` on.
    fn put(self, values: &mut Values<'_, DB>, first: usize);
}

/// Types of some columns.
pub trait Kinds<DB: Backend> {
    /// Adds the database's types.
    fn put(types: &mut Vec<DB::TypeInfo>);
}

/// Types of the columns of a key.
pub trait KeyParts<DB: Backend>: Sized {
    /// Reads the values of the table's columns with these indexes.
    fn get(row: &mut KeyRow<'_, DB>, columns: &[usize]) -> Option<Self>;
}

macro_rules! tuples {
    ([$($done:tt)*]) => {};
    ([$($done:tt)*] $next:tt $($rest:tt)*) => {
        tuple!($($done)* $next);
        tuples!([$($done)* $next] $($rest)*);
    };
}

macro_rules! tuple {
    ($(($part:ident $n:tt))*) => {
        impl<DB: Backend $(+ Holds<$part>)*, $($part),*> Together<DB> for ($(&$part,)*) {
            fn put(self, values: &mut Values<'_, DB>, first: usize) {
                $(values.put(first + $n, self.$n);)*
            }
        }

        impl<$($part: fmt::Debug),*> Shown for ($(&$part,)*) {
            fn show(self, fields: &mut Fields<'_, '_>) {
                $(fields.put(self.$n);)*
            }
        }

        impl<DB: Backend $(+ Holds<$part>)*, $($part),*> Kinds<DB> for ($($part,)*) {
            fn put(types: &mut Vec<DB::TypeInfo>) {
                types.extend([$(<DB as Holds<$part>>::kind()),*]);
            }
        }

        impl<DB: Backend $(+ HoldsKey<$part>)*, $($part),*> KeyParts<DB> for ($($part,)*) {
            fn get(row: &mut KeyRow<'_, DB>, columns: &[usize]) -> Option<Self> {
                Some(($(row.get::<$part>(*columns.get($n)?)?,)*))
            }
        }
    };
}

// The derive takes no more than so many at once.
tuples!([] (A 0) (B 1) (C 2) (D 3) (E 4) (F 5) (G 6) (H 7) (I 8) (J 9) (K 10) (L 11));

/// Tells whether a type is an `Option`, behind a type alias too: the inherent constant of `Probe<Option<T>>` is preferred to the trait's.
pub struct Probe<T>(PhantomData<T>);

/// See [`Probe`].
pub trait Plain {
    /// Whether the type is an `Option`.
    const NULLABLE: bool = false;
}

impl<T> Plain for Probe<T> {}

impl<T> Probe<Option<T>> {
    /// Whether the type is an `Option`.
    pub const NULLABLE: bool = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_the_derive_describes_it() {
        static TABLE: Described = Described::new(
            "model Song\0schema old music\0table songs\0column id generated\0column slug\0named the slug\0column artist create_only \
             nullable\0column kind asked\0column place asked\0key 1 2\0key 0 nulls_not_distinct",
            &[false, true],
        );
        let table = TABLE.get();
        assert_eq!((table.model, table.schema, table.name), ("Song", Some("old music"), "songs"));
        let columns: Vec<_> = table.columns.iter().map(|column| (column.field, column.name)).collect();
        assert_eq!(
            columns,
            [("id", "id"), ("slug", "the slug"), ("artist", "artist"), ("kind", "kind"), ("place", "place")]
        );
        let flags = |flag: fn(&Column) -> bool| -> Vec<&str> {
            table.columns.iter().filter(|column| flag(column)).map(|column| column.field).collect()
        };
        assert_eq!(flags(|column| column.generated), ["id"]);
        assert_eq!(flags(|column| column.create_only), ["artist"]);
        assert_eq!(flags(|column| column.nullable), ["artist", "place"]);
        let keys: Vec<_> = table.keys.iter().map(|key| (key.columns.as_slice(), key.nulls_not_distinct)).collect();
        assert_eq!(keys, [(&[1, 2][..], false), (&[0], true)]);
    }
}
