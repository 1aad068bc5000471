//! Rows by key.

use sqlx::{Arguments as _, Connection as _, Executor as _, Postgres, postgres::PgRow};

use crate::{
    backend::one_row::{InsertOutcome, Limits, OneRow, fetch_padded},
    backend::postgres::dialect::MAX_BINDS,
    backend::postgres::encoding::{self, Encoder},
    backend::postgres::{row_statements, text_columns},
    connection::link::Link,
    connection::savepoint_guard::{Guarding, SavepointGuard},
    driver::bind::{Columns, Write, statement},
    error::classify::is_unique_violation,
    outcome::SqlFuture,
    sql::row_statements::RowStatements,
    sql::statement::Statement,
    sql::table::{Key, Table},
    sql::text::Sql,
};

/// Keys of one statement.
///
/// Each is a row of placeholders, which the server has to read.
const FIND_ROWS: usize = 5_000;

/// The most keys whose statement is kept prepared.
///
/// There is one for each power of two.
const PREPARED_KEYS: usize = 512;

impl OneRow for Postgres {
    const CACHE: usize = 1;
    const LIMITS: Limits = Limits { binds: MAX_BINDS, keys: FIND_ROWS };

    fn row_statements(table: &Table, key: &Key) -> RowStatements {
        row_statements::row_statements(table, key)
    }

    fn create_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        write: Write<'l, Self>,
    ) -> SqlFuture<'l, InsertOutcome<Self>> {
        Box::pin(async move {
            let mut values = Encoder::default();
            write(Columns::Row, &mut values)?;
            write(Columns::Key, &mut values)?;
            match attempt(link, Statement::cached(&texts.create, values.arguments())).await {
                // Another writer of the same row may have been in another index first: the server looks only into the key's again.
                Err(error) if is_unique_violation(&error) && goes_on(link).await => {
                    Ok(InsertOutcome::SomethingExists(error))
                }
                made => Ok(made?.map_or(InsertOutcome::KeyExists, InsertOutcome::Made)),
            }
        })
    }

    fn update_row<'l>(
        link: &'l mut Link<'_, Self>,
        _: &'l RowStatements,
        update: &'l Sql,
        write: Write<'l, Self>,
    ) -> SqlFuture<'l, Option<PgRow>> {
        Box::pin(async move { attempt(link, statement(update, write, &[Columns::Updatable, Columns::Key])?).await })
    }

    // A text in a list of rows is a `text`, and has to be made what the column is to compare as the column does.
    fn find_keys<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        keys: usize,
        values: Encoder,
    ) -> SqlFuture<'l, Vec<PgRow>> {
        Box::pin(async move {
            let texts = if values.has_key_text() { text_columns::of_table(link, table).await? } else { Vec::new() };
            let cast = |&column: &usize| {
                let text = texts.iter().find(|text| text.column == table.columns[column].name)?;
                (!text.is_plain).then(|| text.kind.clone())
            };
            let casts: Vec<Option<String>> = key.columns.iter().map(cast).collect();
            know_types(link, table, key).await?;
            let mut values = values.arguments();
            if keys <= PREPARED_KEYS {
                let padded = keys.next_power_of_two();
                for _ in 0..(padded - keys) * key.columns.len() {
                    values.add(encoding::Null).map_err(sqlx::Error::Encode)?;
                }
                let find = Statement::cached(&row_statements::find_many(table, key, padded, &casts), values);
                return fetch_padded(link, find, keys, padded).await;
            }
            let guard = SavepointGuard::begin(link, Guarding::Statements).await?;
            let find = Statement::once(&row_statements::find_many(table, key, keys, &casts), values);
            let rows = guard.link.fetch(find).await;
            guard.end(rows).await
        })
    }
}

/// Lets the driver learn the types of the table's columns.
///
/// It would ask between the two messages of a statement that runs once, and the server has forgotten the first then (error 26000).
pub(super) async fn know_types(link: &mut Link<'_, Postgres>, table: &Table, key: &Key) -> Result<(), sqlx::Error> {
    let prepared = link.raw().prepare(row_statements::find(table, key).text()).await.map(drop);
    link.track_result(prepared)
}

/// Runs a statement whose failure a transaction outlives.
///
/// It gives one row at most.
async fn attempt(link: &mut Link<'_, Postgres>, statement: Statement<Postgres>) -> Result<Option<PgRow>, sqlx::Error> {
    let guard = SavepointGuard::begin(link, Guarding::Transaction).await?;
    let outcome = guard.link.fetch(statement).await;
    Ok(guard.end(outcome).await?.into_iter().next())
}

/// Tests if statements run after one that failed.
///
/// They do not in a transaction begun with plain SQL, where no savepoint is set.
async fn goes_on(link: &mut Link<'_, Postgres>) -> bool {
    match link {
        Link::Bare(conn) if !conn.is_in_transaction() => {
            link.execute(Statement::plain(&"SELECT 1".into())).await.is_ok()
        }
        _ => true,
    }
}
