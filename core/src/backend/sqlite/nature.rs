//! What a table has that an INSERT does not show.

use sqlx::{Arguments as _, Row as _, Sqlite, sqlite::SqliteArguments};

use super::DIALECT;
use crate::{
    handle::Link,
    sql::{Sql, Statement},
    table::Table,
};

/// How an INSERT into a table behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nature {
    /// Whether a statement that fails is undone as a whole, though no transaction is around it: nothing in the table or its triggers can say
    /// FAIL, which keeps the rows before the one that failed. Where a transaction is around it, SQLite writes each page that it changes to a
    /// file first, to be able to undo the statement alone.
    pub(super) fails_as_a_whole: bool,
    /// Whether a row that a conflict clause skips leaves no trace either: it fires no trigger, and uses up no id of AUTOINCREMENT.
    pub(super) skips_quietly: bool,
}

impl Nature {
    pub(super) async fn ask(link: &mut Link<'_, Sqlite>, table: &Table) -> Result<Self, sqlx::Error> {
        // The name may also be that of a temporary table, which would be meant then, and a temporary trigger can be on any table.
        let schema = DIALECT.name(table.schema.unwrap_or("main"));
        let sql = Sql::from(format!(
            "SELECT instr(lower(sql), 'autoincrement') = 0 FROM {schema}.sqlite_schema \
             WHERE type = 'table' AND name = ?1 COLLATE NOCASE AND instr(lower(sql), 'conflict') = 0 \
             AND NOT EXISTS (SELECT 1 FROM {schema}.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE) \
             AND NOT EXISTS (SELECT 1 FROM temp.sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE)"
        ));
        let mut arguments = SqliteArguments::default();
        arguments.add(table.name).map_err(sqlx::Error::Encode)?;
        let counts = link.fetch(Statement::cached(&sql, arguments)).await?.pop();
        Ok(Self { fails_as_a_whole: counts.is_some(), skips_quietly: counts.map_or(Ok(false), |row| row.try_get(0))? })
    }
}
