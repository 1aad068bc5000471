//! Binds the values of a row or key to a statement.

use crate::{driver::encoding::Encoding, sql::statement::Statement, sql::text::Sql};

/// Columns whose values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// Those of the key, in the order of the table.
    Key,
    /// All that a caller supplies.
    Row,
    /// Those that an upsert may change.
    Updatable,
}

/// Writes values of the row or key that a call is about.
pub(crate) type Write<'w, DB> =
    &'w mut (dyn FnMut(Columns, &mut <DB as Encoding>::Encoder) -> Result<(), sqlx::Error> + Send);

/// Returns a statement that is kept prepared, with these values.
pub(crate) fn statement<DB: Encoding>(
    sql: &Sql,
    write: Write<'_, DB>,
    columns: &[Columns],
) -> Result<Statement<DB>, sqlx::Error> {
    let mut encoder = DB::Encoder::default();
    for &columns in columns {
        write(columns, &mut encoder)?;
    }
    Ok(Statement::cached(sql, DB::arguments(encoder)))
}
