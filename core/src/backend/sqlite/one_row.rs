//! Rows by key.
//!
//! A trigger can store a row with another key, so on a table with triggers the row is read before it is kept.

use sqlx::{
    Row as _, Sqlite,
    sqlite::{SqliteArguments, SqliteRow},
};

use crate::{
    backend::one_row::{InsertOutcome, Limits, OneRow},
    backend::sqlite::dialect::{MAX_BINDS, OR_ABORT},
    backend::sqlite::insert_behavior::InsertBehavior,
    backend::sqlite::key_index,
    backend::sqlite::row_statements::{self, ASK_CAUSE, ASK_NATURE, CREATE_WATCHED, FAILED_KEY, FAILED_TRIGGERS},
    connection::link::Link,
    connection::savepoint_guard::{Guarding, SavepointGuard},
    driver::bind::{Columns, Write, statement},
    error::finding::other_key,
    error::sqlite::{is_constraint, says},
    outcome::SqlFuture,
    sql::row_statements::RowStatements,
    sql::statement::Statement,
    sql::table::{Key, Table},
    sql::text::Sql,
};

impl OneRow for Sqlite {
    const CACHE: usize = 0;
    const LIMITS: Limits = Limits { binds: MAX_BINDS, keys: MAX_BINDS };
    const NULLS_ARE_DISTINCT: Option<&'static str> = Some(
        "a unique index of SQLite never takes two NULLs for equal, so a key with `nulls_not_distinct` works on PostgreSQL 15 and later only",
    );

    fn selected(table: &Table) -> String {
        row_statements::selected(table, "")
    }

    fn row_statements(table: &Table, key: &Key) -> RowStatements {
        row_statements::row_statements(table, key)
    }

    fn create_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        write: Write<'l, Self>,
    ) -> SqlFuture<'l, InsertOutcome<Self>> {
        Box::pin(create(link, texts, write))
    }

    // An index on a column of another collation, as in `CREATE UNIQUE INDEX .. (email COLLATE NOCASE)`.
    fn find_as_index<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        write: Write<'l, Self>,
    ) -> SqlFuture<'l, Option<SqliteRow>> {
        Box::pin(async move {
            let Some(columns) = key_index::key_columns(link, table, key).await? else { return Ok(None) };
            let find = row_statements::find_as_index(table, key, &columns);
            Ok(link.fetch(statement(&find, write, &[Columns::Key])?).await?.pop())
        })
    }

    fn update_as_index<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        write: Write<'l, Self>,
    ) -> SqlFuture<'l, Option<SqliteRow>> {
        Box::pin(async move {
            let columns = key_index::key_columns(link, table, key).await?;
            let Some(update) = columns.and_then(|columns| row_statements::update_as_index(table, key, &columns)) else {
                return Ok(None);
            };
            run_update(link, &row_statements::row_statements(table, key), &update, write).await
        })
    }

    fn update_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        update: &'l Sql,
        write: Write<'l, Self>,
    ) -> SqlFuture<'l, Option<SqliteRow>> {
        Box::pin(run_update(link, texts, update, write))
    }

    fn find_keys<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        keys: usize,
        values: SqliteArguments,
    ) -> SqlFuture<'l, Vec<SqliteRow>> {
        let find = Statement::once(&row_statements::find_many(table, key, keys), values);
        Box::pin(async move { link.fetch(find).await })
    }
}

/// Asks what in the table can change a stored key.
pub(super) async fn cause(link: &mut Link<'_, Sqlite>, ask: &Sql) -> Result<Option<String>, sqlx::Error> {
    link.fetch(Statement::plain(ask)).await?.first().map_or(Ok(None), |row| row.try_get(0))
}

/// Returns true if a statement stopped because its table has triggers.
///
/// It has done nothing then.
pub(super) fn finds_triggers(error: &sqlx::Error) -> bool {
    says(error, FAILED_TRIGGERS)
}

/// Inserts the row unless its key is there.
async fn create(
    link: &mut Link<'_, Sqlite>,
    texts: &RowStatements,
    write: Write<'_, Sqlite>,
) -> Result<InsertOutcome<Sqlite>, sqlx::Error> {
    let mut values = SqliteArguments::default();
    write(Columns::Row, &mut values)?;
    write(Columns::Key, &mut values)?;
    match link.fetch_written(Statement::cached(&texts.create, values)).await {
        Ok(made) => Ok(made.into_iter().next().map_or(InsertOutcome::KeyExists, InsertOutcome::Made)),
        Err(error) if finds_triggers(&error) => create_watched(link, texts, write).await,
        Err(error) if says(&error, FAILED_KEY) => Err(other_key(cause(link, &texts.others[ASK_CAUSE]).await?)),
        Err(error) => Err(error),
    }
}

/// Inserts the row unless its key exists, and reads it back.
///
/// A trigger may do anything with the row: what is given is what is stored after it.
async fn create_watched(
    link: &mut Link<'_, Sqlite>,
    texts: &RowStatements,
    write: Write<'_, Sqlite>,
) -> Result<InsertOutcome<Sqlite>, sqlx::Error> {
    let leaves = leaves_to_triggers(link, texts).await?;
    let guard = SavepointGuard::begin(link, Guarding::Both).await?;
    let outcome = insert_and_read(guard.link, texts, write, leaves).await;
    let keep = matches!(outcome, Ok(InsertOutcome::Made(_)));
    guard.end_as(keep, outcome).await
}

async fn insert_and_read(
    link: &mut Link<'_, Sqlite>,
    texts: &RowStatements,
    write: Write<'_, Sqlite>,
    leaves: bool,
) -> Result<InsertOutcome<Sqlite>, sqlx::Error> {
    let plain = &texts.others[CREATE_WATCHED];
    let with_abort;
    let insert = if leaves {
        plain
    } else {
        with_abort = Sql::from(plain.as_str().replacen("INSERT", &format!("INSERT{OR_ABORT}"), 1));
        &with_abort
    };
    if link.fetch_written(statement(insert, &mut *write, &[Columns::Row])?).await?.is_empty() {
        return Ok(InsertOutcome::KeyExists);
    }
    let made = link.fetch_written(statement(&texts.find, write, &[Columns::Key])?).await?;
    match made.into_iter().next() {
        Some(row) => Ok(InsertOutcome::Made(row)),
        None => Err(other_key(cause(link, &texts.others[ASK_CAUSE]).await?)),
    }
}

/// Returns true if triggers decide what a conflict does.
async fn leaves_to_triggers(link: &mut Link<'_, Sqlite>, texts: &RowStatements) -> Result<bool, sqlx::Error> {
    let row = link.fetch(Statement::plain(&texts.others[ASK_NATURE])).await?.pop();
    Ok(row.map(|row| InsertBehavior::read(&row)).transpose()?.flatten().is_none_or(InsertBehavior::leaves_to_triggers))
}

/// Updates a row and returns it.
///
/// Where the table has triggers that say what a conflict of theirs does, a statement that says it too fails, and is done again without.
async fn run_update(
    link: &mut Link<'_, Sqlite>,
    texts: &RowStatements,
    update: &Sql,
    write: Write<'_, Sqlite>,
) -> Result<Option<SqliteRow>, sqlx::Error> {
    let updated = link.fetch_written(statement(update, &mut *write, &[Columns::Updatable, Columns::Key])?).await;
    let updated = match updated {
        Err(error) if is_constraint(&error) && leaves_to_triggers(link, texts).await? => {
            link.fetch_written(statement(
                &row_statements::without_abort(update),
                write,
                &[Columns::Updatable, Columns::Key],
            )?)
            .await?
        }
        updated => updated?,
    };
    Ok(updated.into_iter().next())
}
