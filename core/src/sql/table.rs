//! A model's table, as the derive describes it.

use std::{
    any::TypeId,
    collections::BTreeMap,
    sync::{OnceLock, PoisonError, RwLock},
};

use crate::sql::row_statements::RowStatements;

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
    pub(crate) row_statements: [OnceLock<Vec<RowStatements>>; 3],
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
    pub(crate) fn of_model(model: TypeId, text: &'static str, nullable: &[bool]) -> &'static Self {
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
                unknown => debug_assert!(false, "the derive wrote an item that is not known here: {unknown}"),
            }
        }
        table
    }

    /// The columns that a caller supplies.
    pub(crate) fn supplied(&self) -> impl Iterator<Item = usize> + Clone {
        self.columns.iter().enumerate().filter(|(_, column)| !column.generated).map(|(index, _)| index)
    }

    /// The columns that an upsert by this key gives new values.
    pub(crate) fn updatable(&self, key: &Key) -> impl Iterator<Item = usize> {
        self.supplied().filter(|&column| self.is_updatable(key, column))
    }

    /// Tests if an upsert by this key updates this column.
    pub(crate) fn is_updatable(&self, key: &Key, column: usize) -> bool {
        let Column { generated, create_only, .. } = self.columns[column];
        !generated && !create_only && !key.columns.contains(&column)
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
                unknown => debug_assert!(false, "the derive wrote a word that is not known here: {unknown}"),
            }
        }
        column
    }
}

impl Key {
    fn read(item: &str) -> Self {
        let mut key = Self { columns: Vec::new(), nulls_not_distinct: false };
        for word in item.split(' ') {
            match (word, word.parse()) {
                (_, Ok(column)) => key.columns.push(column),
                ("nulls_not_distinct", _) => key.nulls_not_distinct = true,
                (unknown, _) => debug_assert!(false, "the derive wrote a word that is not known here: {unknown}"),
            }
        }
        key
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

    #[test]
    #[should_panic(expected = "not known here")]
    fn a_word_that_is_not_known_fails_loudly() {
        Table::read("model Song\0column id generted", &[]);
    }
}
