//! One row by a key: found, made or updated.

use sqlx::Database;

use crate::{
    connection::link::Link,
    driver::bind::Write,
    driver::encoding::Encoding,
    outcome::SqlFuture,
    sql::row_statements::RowStatements,
    sql::table::{Key, Table},
    sql::text::Sql,
};

/// The statements for rows by key, and what runs them.
pub trait OneRow: Encoding {
    /// Index of this database's texts in a table's cache.
    const CACHE: usize;

    /// The values and keys that one statement carries.
    const LIMITS: Limits;

    /// The reason why no key can be `nulls_not_distinct`, where none can.
    const NULLS_ARE_DISTINCT: Option<&'static str> = None;

    /// The statements for one row, by one key.
    fn row_statements(table: &Table, key: &Key) -> RowStatements;

    /// Inserts a row unless its key is there.
    fn create_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        write: Write<'l, Self>,
    ) -> SqlFuture<'l, InsertOutcome<Self>>;

    /// Updates the row with this key by `update`, and returns it.
    ///
    /// `None` if there is no such row.
    fn update_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        update: &'l Sql,
        write: Write<'l, Self>,
    ) -> SqlFuture<'l, Option<Self::Row>>;

    /// Finds the row in the way, as the unique index compares.
    ///
    /// It stood in the way of an insert. Used where the index can compare otherwise than the column does.
    fn find_as_index<'l>(
        _link: &'l mut Link<'_, Self>,
        _table: &'static Table,
        _key: &'static Key,
        _write: Write<'l, Self>,
    ) -> SqlFuture<'l, Option<Self::Row>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Updates the row in the way, as the unique index compares.
    ///
    /// It stood in the way of an insert. Used where the index can compare otherwise than the column does.
    fn update_as_index<'l>(
        _link: &'l mut Link<'_, Self>,
        _table: &'static Table,
        _key: &'static Key,
        _write: Write<'l, Self>,
    ) -> SqlFuture<'l, Option<Self::Row>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Tests if a unique violation is of the key's own index.
    ///
    /// Asked if the row in the way was not found.
    fn blames_key<'l>(
        _link: &'l mut Link<'_, Self>,
        _table: &'static Table,
        _key: &'static Key,
        _error: &'l sqlx::Error,
    ) -> SqlFuture<'l, bool> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Finds a row for each of these keys, in their order.
    ///
    /// A [`Mark`](crate::backend::staging::Mark) comes after the model's columns.
    fn find_keys<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        keys: usize,
        values: Self::Encoder,
    ) -> SqlFuture<'l, Vec<Self::Row>>;

    /// Returns all columns of a model as they are read.
    ///
    /// Each is found by its name.
    fn selected(table: &Table) -> String {
        Self::DIALECT.columns(table, 0..table.columns.len(), "")
    }
}

/// The values and keys that one statement carries.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The values that can be bound.
    pub(crate) binds: usize,
    /// The keys that are looked for at once.
    pub(crate) keys: usize,
}

impl Limits {
    /// Returns the number of keys that one statement looks for.
    pub(crate) fn keys_at_once(self, key: &Key) -> usize {
        (self.binds / key.columns.len().max(1)).clamp(1, self.keys)
    }
}

/// The outcome of an insert.
pub enum InsertOutcome<DB: Database> {
    /// It made this row.
    Made(DB::Row),
    /// A row with the key is there.
    KeyExists,
    /// A row has the same value in some unique index.
    ///
    /// The database did not say in which.
    SomethingExists(sqlx::Error),
}

/// Fetches the rows of a statement that was padded to a prepared size.
///
/// The keys that were repeated give rows that nobody asked for.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) async fn fetch_padded<DB: Encoding>(
    link: &mut Link<'_, DB>,
    find: crate::sql::statement::Statement<DB>,
    keys: usize,
    padded: usize,
) -> Result<Vec<DB::Row>, sqlx::Error> {
    let mut rows = link.fetch(find).await?;
    if rows.len() == padded {
        rows.truncate(keys);
    }
    Ok(rows)
}
