//! A model's table, as the derive describes it.

use std::{
    any::TypeId,
    collections::BTreeMap,
    sync::{OnceLock, PoisonError, RwLock},
};

use crate::{
    Error, Upsertable,
    backend::{self, Backend, Mend, RowStatements},
    connection::handle::Session,
    operations::verify,
    trace::span::CallSpan,
};

/// A model's table, with its columns and keys.
#[derive(Debug, Default)]
pub struct Table {
    pub(crate) model: &'static str,
    pub(crate) schema: Option<&'static str>,
    pub(crate) name: &'static str,
    pub(crate) columns: Vec<Column>,
    pub(crate) keys: Vec<Key>,
    /// The statements for one row, by database and key.
    ///
    /// They are made on first use.
    row_statements: [OnceLock<Vec<RowStatements>>; 3],
}

/// One column of a model.
#[derive(Debug)]
pub struct Column {
    /// The name of the struct's field.
    pub field: &'static str,
    /// The name of the column.
    pub name: &'static str,
    /// True where the database fills the column in.
    pub generated: bool,
    /// True where an upsert leaves the column alone.
    pub create_only: bool,
    /// True where the Rust type is an `Option`.
    pub nullable: bool,
}

/// One `#[unique(..)]` of a model.
#[derive(Debug)]
pub struct Key {
    /// Indexes into the table's columns, ascending.
    pub columns: Vec<usize>,
    /// True where NULL matches NULL.
    pub nulls_not_distinct: bool,
}

/// The tables of the models that were used.
///
/// With a static of its own for each model, a twelfth of what the derive costs a build would be these.
static TABLES: RwLock<BTreeMap<TypeId, &'static Table>> = RwLock::new(BTreeMap::new());

impl Table {
    /// The table of a model, which is read on first use.
    pub(crate) fn of<M: Upsertable>() -> &'static Self {
        Self::get(TypeId::of::<M>(), M::TABLE, M::NULLABLE)
    }

    fn get(model: TypeId, text: &'static str, nullable: &[bool]) -> &'static Self {
        let known = TABLES.read().unwrap_or_else(PoisonError::into_inner).get(&model).copied();
        known.unwrap_or_else(|| {
            let mut tables = TABLES.write().unwrap_or_else(PoisonError::into_inner);
            tables.entry(model).or_insert_with(|| Box::leak(Box::new(Self::read(text, nullable))))
        })
    }

    /// Reads the text in which the derive describes a table.
    ///
    /// It is one text, as a constant of structs takes the compiler ten times as long. It is items of words, the first of which says what
    /// the item is, with a NUL between two items.
    fn read(text: &'static str, nullable: &[bool]) -> Self {
        let mut table = Self::default();
        let mut nullable = nullable.iter().copied();
        for item in text.split('\0') {
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

/// One key of one model, and the operation on it.
///
/// It is for messages and statements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) table: &'static Table,
    pub(crate) key: &'static Key,
    index: usize,
    pub(crate) operation: &'static str,
}

impl Target {
    /// The key with this number.
    ///
    /// The derive numbers the keys, so it is there; any other number means the first.
    pub(crate) fn new(table: &'static Table, index: usize, operation: &'static str) -> Self {
        let index = if index < table.keys.len() { index } else { 0 };
        Self { table, key: &table.keys[index], index, operation }
    }

    pub(crate) fn watch(self) -> CallSpan {
        CallSpan::begin(self.operation, self.table.name)
    }

    pub(crate) fn row_statements<DB: Backend>(self) -> &'static RowStatements {
        let make = || self.table.keys.iter().map(|key| DB::row_statements(self.table, key)).collect();
        &self.table.row_statements[DB::CACHE].get_or_init(make)[self.index]
    }

    /// Refuses a key that the database cannot keep unique.
    pub(crate) fn check<DB: Backend>(self) -> Result<(), Error> {
        match DB::refuse_key(self.key) {
            Some(reason) => Err(self.unsupported(reason.to_owned())),
            None => Ok(()),
        }
    }

    /// Gives an error of an insert its meaning.
    ///
    /// The key that was asked for is never what a unique index complains of.
    pub(crate) fn explain<DB: Backend>(self, error: sqlx::Error) -> Error {
        if let Some(cause) = DB::key_mismatch(&error) {
            self.key_mismatch(cause.into_owned())
        } else if let Some(reason) = DB::refusal(&error) {
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
            why: None,
            source: source.map(Box::new),
        }
    }

    /// Adds to an error what mends the table.
    ///
    /// Only the catalogue knows that, and it is asked once the call has ended.
    pub(crate) async fn completed<DB: Backend>(self, session: &mut Session<'_, DB>, mut error: Error) -> Error {
        if let Error::MissingUniqueIndex { create, why, .. } = &mut error
            && let Ok(mut link) = session.link().await
        {
            let mend = verify::mend::<DB>(&mut link, self.table, self.key).await;
            match link.end_implicit_transaction(mend).await {
                Ok(Mend::By(sql)) => *create = sql,
                Ok(Mend::Not(reason)) => {
                    create.clear();
                    *why = Some(reason);
                }
                // The transaction is one that runs no further statement.
                Err(_) => {}
            }
        }
        error
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

    pub(crate) fn key_mismatch(self, cause: String) -> Error {
        let (model, operation) = (self.table.model, self.operation);
        Error::KeyMismatch { model, operation, key: self.key_columns(), cause }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_the_derive_describes_it() {
        let table = Table::read(
            "model Song\0schema old music\0table songs\0column id generated\0column slug\0named the slug\0column artist create_only \
             nullable\0column kind asked\0column place asked\0key 1 2\0key 0 nulls_not_distinct",
            &[false, true],
        );
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
