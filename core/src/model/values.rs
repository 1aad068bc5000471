//! Writes and reads the values of rows and keys.
//!
//! It does so for some columns at a time.

use std::{fmt, marker::PhantomData};

use sqlx::error::BoxDynError;

use crate::{
    driver::bind::Columns,
    driver::encoding::Encoding,
    error::redact::FieldError,
    model::column::{Holds, HoldsKey},
    model::debug::{Fields, Shown},
    sql::table::{Key, Table},
};

/// Destination of a row's values.
pub struct Values<'a, DB: Encoding> {
    encoder: &'a mut DB::Encoder,
    table: &'static Table,
    key: Option<&'static Key>,
    columns: Columns,
    /// Result so far; after an error no more is written.
    pub(crate) outcome: Result<(), sqlx::Error>,
}

impl<'a, DB: Encoding> Values<'a, DB> {
    pub(crate) fn new(
        table: &'static Table,
        key: Option<&'static Key>,
        columns: Columns,
        encoder: &'a mut DB::Encoder,
    ) -> Self {
        Self { encoder, table, key, columns, outcome: Ok(()) }
    }

    /// Writes the value of the column with this index.
    pub fn put<T>(&mut self, column: usize, value: &T)
    where
        DB: Holds<T>,
    {
        if self.takes(column)
            && let Err(source) = DB::write(self.encoder, value, self.columns == Columns::Key)
        {
            self.fail(column, source);
        }
    }

    /// Writes the values of consecutive columns, from the index `first` on.
    pub fn put_all<T: WriteTuple<DB>>(&mut self, first: usize, values: T) {
        values.put(self, first);
    }

    fn takes(&self, column: usize) -> bool {
        self.outcome.is_ok()
            && match self.columns {
                Columns::Row => true,
                Columns::Key => self.key.is_some_and(|key| key.columns.contains(&column)),
                Columns::Updatable => self.key.is_some_and(|key| self.table.is_updatable(key, column)),
            }
    }

    #[cold]
    fn fail(&mut self, column: usize, source: BoxDynError) {
        let field = self.table.columns.get(column).map_or("", |column| column.field);
        self.outcome = Err(sqlx::Error::Encode(Box::new(FieldError { model: self.table.model, field, source })));
    }
}

/// A row that a key is read from.
pub struct KeyRow<'r, DB: Encoding> {
    row: &'r DB::Row,
    key: &'static Key,
    /// True where the row has only the key's columns.
    ///
    /// Elsewhere it has all of the table's.
    is_key: bool,
    /// The error of the first value that could not be read.
    pub(crate) error: Option<sqlx::Error>,
}

impl<'r, DB: Encoding> KeyRow<'r, DB> {
    pub(crate) fn of_row(row: &'r DB::Row, key: &'static Key) -> Self {
        Self { row, key, is_key: false, error: None }
    }

    pub(crate) fn of_key(row: &'r DB::Row, key: &'static Key) -> Self {
        Self { row, key, is_key: true, error: None }
    }

    /// Reads values of the key's columns, from the number `first` on.
    ///
    /// Gives `None` where one cannot be read, and keeps its error.
    pub fn get_all<T: ReadTuple<DB>>(&mut self, first: usize) -> Option<T> {
        T::get(self, first)
    }

    fn get<T>(&mut self, number: usize) -> Option<T>
    where
        DB: HoldsKey<T>,
    {
        let position = if self.is_key { number } else { *self.key.columns.get(number)? };
        match <DB as HoldsKey<T>>::get(self.row, position) {
            Ok(value) => Some(value),
            Err(error) => {
                self.error.get_or_insert(error);
                None
            }
        }
    }
}

/// The database's types of a model's columns, in column order.
pub struct Types<DB: Encoding>(pub(crate) Vec<DB::TypeInfo>);

impl<DB: Encoding> Types<DB> {
    /// Adds the types of the next columns.
    pub fn put_all<T>(&mut self)
    where
        T: TypeTuple<DB>,
    {
        T::put(&mut self.0);
    }
}

/// References to the values of some columns.
///
/// Of one call with a tuple the compiler asks less than of a call for each.
pub trait WriteTuple<DB: Encoding> {
    /// Writes the values of columns, from the index `first` on.
    fn put(self, values: &mut Values<'_, DB>, first: usize);
}

/// Types of some columns.
pub trait TypeTuple<DB: Encoding> {
    /// Adds the database's types.
    fn put(types: &mut Vec<DB::TypeInfo>);
}

/// Types of the columns of a key.
pub trait ReadTuple<DB: Encoding>: Sized {
    /// Reads values of the key's columns, from the number `first` on.
    fn get(row: &mut KeyRow<'_, DB>, first: usize) -> Option<Self>;
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
        impl<DB: Encoding $(+ Holds<$part>)*, $($part),*> WriteTuple<DB> for ($(&$part,)*) {
            fn put(self, values: &mut Values<'_, DB>, first: usize) {
                $(values.put(first + $n, self.$n);)*
            }
        }

        impl<$($part: fmt::Debug),*> Shown for ($(&$part,)*) {
            fn show(self, fields: &mut Fields<'_, '_>) {
                $(fields.put(self.$n);)*
            }
        }

        impl<DB: Encoding $(+ Holds<$part>)*, $($part),*> TypeTuple<DB> for ($($part,)*) {
            fn put(types: &mut Vec<DB::TypeInfo>) {
                types.extend([$(<DB as Holds<$part>>::type_info()),*]);
            }
        }

        impl<DB: Encoding $(+ HoldsKey<$part>)*, $($part),*> ReadTuple<DB> for ($($part,)*) {
            fn get(row: &mut KeyRow<'_, DB>, first: usize) -> Option<Self> {
                Some(($(row.get::<$part>(first + $n)?,)*))
            }
        }
    };
}

// The derive takes no more than so many at once.
tuples!([] (A 0) (B 1) (C 2) (D 3) (E 4) (F 5) (G 6) (H 7) (I 8) (J 9) (K 10) (L 11));

/// Tells whether a type is an `Option`, behind an alias too.
///
/// The inherent constant of `OptionProbe<Option<T>>` is preferred to the trait's.
pub struct OptionProbe<T>(PhantomData<T>);

/// The answer of [`OptionProbe`] for a type that is no `Option`.
pub trait NotAnOption {
    /// False, as the type is no `Option`.
    const NULLABLE: bool = false;
}

impl<T> NotAnOption for OptionProbe<T> {}

impl<T> OptionProbe<Option<T>> {
    /// True, as the type is an `Option`.
    pub const NULLABLE: bool = true;
}
