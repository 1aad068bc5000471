//! Properties of a table that its INSERT does not show.

use sqlx::{Row as _, Sqlite, sqlite::SqliteRow};

use crate::{
    backend::sqlite::dialect::{DIALECT, OR_ABORT, StagingPlan, text},
    connection::link::Link,
    sql::statement::Statement,
    sql::table::Table,
    sql::text::Sql,
};

/// The behavior of a table's INSERT or UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InsertBehavior {
    /// True if the table has triggers, or may have them.
    ///
    /// One can store a row with another key, say FAIL, which keeps the rows before the one that failed, or say of its own statements what a
    /// conflict does.
    pub(super) triggers: bool,
    /// True if the table itself may say what a conflict does.
    says_conflict: bool,
    /// True if a row that a conflict skips leaves no trace.
    ///
    /// It fires no trigger, and uses up no id of AUTOINCREMENT.
    pub(super) skips_quietly: bool,
}

impl InsertBehavior {
    /// Asks for the behavior of a table.
    ///
    /// Of a table that is in a database that its model does not name, the database is looked for.
    pub(super) async fn ask(link: &mut Link<'_, Sqlite>, table: &Table) -> Result<Self, sqlx::Error> {
        let named = table.schema.unwrap_or("main");
        let row = link.fetch(Statement::plain(&ask(table, named))).await?.pop();
        if let Some(found) = row.map(|row| Self::read(&row)).transpose()?.flatten() {
            return Ok(found);
        }
        for row in link.fetch(Statement::plain(&"PRAGMA database_list".into())).await? {
            let row = link.fetch(Statement::plain(&ask(table, row.try_get(1)?))).await?.pop();
            if let Some(found) = row.map(|row| Self::read(&row)).transpose()?.flatten() {
                return Ok(found);
            }
        }
        Ok(Self { triggers: true, says_conflict: true, skips_quietly: false })
    }

    /// Reads the behavior, or `None` if the table is not there.
    pub(super) fn read(row: &SqliteRow) -> Result<Option<Self>, sqlx::Error> {
        if row.try_get::<i64, _>(0)? == 0 {
            return Ok(None);
        }
        let (triggers, says_conflict, counts) = (row.try_get(1)?, row.try_get(2)?, row.try_get::<bool, _>(3)?);
        Ok(Some(Self { triggers, says_conflict, skips_quietly: !triggers && !counts }))
    }

    /// Returns true if a failed statement is undone as a whole.
    ///
    /// That holds though no transaction is around it. Where a transaction is around it, SQLite writes each page that it changes to a file
    /// first, to be able to undo the statement alone.
    pub(super) fn fails_as_a_whole(self) -> bool {
        !self.triggers
    }

    /// Returns the conflict clause of an INSERT or UPDATE.
    ///
    /// It is empty where it would count for the statements of triggers, and the table says nothing.
    pub(super) fn or_abort(self) -> &'static str {
        if self.leaves_to_triggers() { "" } else { OR_ABORT }
    }

    pub(super) fn leaves_to_triggers(self) -> bool {
        self.triggers && !self.says_conflict
    }
}

/// Counts the tables of that name, and asks for their behavior.
///
/// The answer says whether they or their triggers say what [`InsertBehavior`] is made of. A temporary table of the name would be meant, and
/// a temporary trigger can be on any table, so what is temporary counts with the rest.
pub(super) fn ask(table: &Table, schema: &str) -> Sql {
    let name = text(table.name);
    let of = |schema: &str| {
        format!("SELECT type, sql FROM {}.sqlite_schema WHERE tbl_name = {name} COLLATE NOCASE", DIALECT.name(schema))
    };
    format!(
        "SELECT coalesce(sum(type IN ('table', 'view')), 0), coalesce(max(type = 'trigger'), 0), \
         coalesce(max(type = 'table' AND instr(lower(sql), 'conflict') > 0), 0), \
         coalesce(max(type = 'table' AND instr(lower(sql), 'autoincrement') > 0), 0) FROM ({} UNION ALL {})",
        of(schema),
        of("temp")
    )
    .into()
}

/// Returns the INSERT behavior of the target, asked once a call.
pub(super) async fn of_stage(link: &mut Link<'_, Sqlite>, stage: &StagingPlan) -> Result<InsertBehavior, sqlx::Error> {
    if let Some(nature) = stage.notes.get() {
        return Ok(*nature);
    }
    let nature = InsertBehavior::ask(link, stage.table).await?;
    Ok(*stage.notes.get_or_init(|| nature))
}
