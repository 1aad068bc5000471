//! Rows by key.

use std::sync::atomic::Ordering;

use sqlx::{
    MySql, Row as _,
    mysql::{MySqlArguments, MySqlRow},
};

use crate::{
    backend::mysql::dialect::MAX_BINDS,
    backend::mysql::encoding::Encoder,
    backend::mysql::row_statements::{
        self, ASK_CAUSE, ASK_INDEX, ASK_TABLE, CREATE_PLAIN, ROW_SAVEPOINT, SAVE_AND_ASK,
    },
    backend::mysql::server::NO_RETURNING,
    backend::mysql::{catalogue, key_index},
    backend::one_row::{InsertOutcome, Limits, OneRow, fetch_padded},
    connection::link::Link,
    connection::savepoint_guard::{Guarding, SavepointGuard},
    driver::Driver as _,
    driver::bind::{Columns, Write, statement},
    error::classify::is_unique_violation,
    error::finding::{Finding, other_key},
    error::meaning::Meaning,
    error::mysql::{DATA_OUT_OF_RANGE, NO_AUTO_INCREMENT, SYNTAX, has_number, is_other_key, used_up},
    outcome::SqlFuture,
    sql::row_statements::RowStatements,
    sql::statement::Statement,
    sql::table::{Key, Table},
    sql::text::Sql,
};

/// The most keys that one statement looks for.
const FIND_KEYS: usize = 10_000;

/// The most keys whose statement is kept prepared.
///
/// Their numbers are those of `merge::parts`.
const PREPARED_KEYS: usize = 512;

impl OneRow for MySql {
    const CACHE: usize = 2;
    const LIMITS: Limits = Limits { binds: MAX_BINDS, keys: FIND_KEYS };
    const NULLS_ARE_DISTINCT: Option<&'static str> = Some(
        "a unique index of MySQL and MariaDB never takes two NULLs for equal, so a key with `nulls_not_distinct` works on PostgreSQL 15 and later only",
    );

    fn row_statements(table: &Table, key: &Key) -> RowStatements {
        row_statements::row_statements(table, key)
    }

    fn create_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        write: Write<'l, Self>,
    ) -> SqlFuture<'l, InsertOutcome<Self>> {
        Box::pin(async move {
            if !NO_RETURNING.load(Ordering::Relaxed) {
                match create_returning(link, texts, &mut *write).await {
                    Err(error) if has_number(&error, SYNTAX) => NO_RETURNING.store(true, Ordering::Relaxed),
                    outcome => return outcome,
                }
            }
            create_and_read(link, texts, write).await
        })
    }

    fn update_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        update: &'l Sql,
        write: Write<'l, Self>,
    ) -> SqlFuture<'l, Option<MySqlRow>> {
        Box::pin(update_and_read(link, texts, update, write))
    }

    // Neither updated nor inserted: an index that is not the key's refuses the row, and there may be none on the key.
    fn update_as_index<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        _: Write<'l, Self>,
    ) -> SqlFuture<'l, Option<MySqlRow>> {
        Box::pin(async move {
            let index = Sql::from(format!("{} LIMIT 1", key_index::unique_index(table, key, "1")));
            if link.fetch(Statement::plain(&index)).await?.is_empty() {
                Err(Finding::NoUniqueIndex.into())
            } else {
                Ok(None)
            }
        })
    }

    fn blames_key<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        error: &'l sqlx::Error,
    ) -> SqlFuture<'l, bool> {
        Box::pin(key_index::blames_key(link, table, key, error))
    }

    fn find_keys<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        keys: usize,
        mut values: Encoder,
    ) -> SqlFuture<'l, Vec<MySqlRow>> {
        Box::pin(async move {
            if keys > PREPARED_KEYS {
                let find = row_statements::find_many(table, key, keys);
                return link.fetch(Statement::once(&find, values.into_arguments())).await;
            }
            let padded = keys.next_power_of_two();
            values.repeat_last(key.columns.len(), padded - keys);
            let find = row_statements::find_many(table, key, padded);
            fetch_padded(link, Statement::cached(&find, values.into_arguments()), keys, padded).await
        })
    }
}

/// Creates a row on MariaDB, where INSERT checks the index.
///
/// The INSERT gives the row too.
async fn create_returning(
    link: &mut Link<'_, MySql>,
    texts: &RowStatements,
    write: Write<'_, MySql>,
) -> Result<InsertOutcome<MySql>, sqlx::Error> {
    let mut values = Encoder::default();
    write(Columns::Row, &mut values)?;
    write(Columns::Key, &mut values)?;
    match link.fetch_written(Statement::cached(&texts.create, values.into_arguments())).await {
        Ok(made) => {
            let made = made.into_iter().next().inspect(|row| link.note_session(row, 1));
            Ok(made.map_or(InsertOutcome::KeyExists, InsertOutcome::Made))
        }
        Err(error) if is_unique_violation(&error) => Ok(InsertOutcome::SomethingExists(error)),
        Err(error) if is_other_key(&error) => Err(cause(link, texts).await),
        Err(error) if has_number(&error, DATA_OUT_OF_RANGE) => {
            check_index(link, texts, ASK_INDEX).await?;
            Err(error)
        }
        Err(error) => Err(explained(link, error).await),
    }
}

/// Returns why a new row is not found by its key.
async fn cause(link: &mut Link<'_, MySql>, texts: &RowStatements) -> sqlx::Error {
    let found = catalogue::causes(link, &texts.others[ASK_CAUSE]).await;
    match found {
        Ok(cause) => other_key(cause),
        Err(error) => error,
    }
}

/// Creates a row on any server, in several statements.
///
/// The index is asked for first, and the row is read after.
async fn create_and_read(
    link: &mut Link<'_, MySql>,
    texts: &RowStatements,
    write: Write<'_, MySql>,
) -> Result<InsertOutcome<MySql>, sqlx::Error> {
    let is_pool = matches!(link, Link::Pooled(..));
    if is_pool {
        check_index(link, texts, ASK_INDEX).await?;
    }
    // Else the row could be deleted before it is read, and nobody would know that it was made here.
    let guard = SavepointGuard::begin(link, Guarding::Statements).await?;
    let outcome = async {
        if !is_pool {
            check_index(guard.link, texts, SAVE_AND_ASK).await?;
        }
        let made = insert_and_read(guard.link, texts, write).await;
        // A pool's transaction is rolled back as a whole.
        if matches!(&made, Err(error) if Meaning::of(error).mismatch.is_some()) && !is_pool {
            let undo = Sql::from(format!("ROLLBACK TO SAVEPOINT {ROW_SAVEPOINT}"));
            guard.link.execute_written(Statement::plain(&undo)).await?;
        }
        made
    };
    let outcome = outcome.await;
    guard.end(outcome).await
}

async fn insert_and_read(
    link: &mut Link<'_, MySql>,
    texts: &RowStatements,
    write: Write<'_, MySql>,
) -> Result<InsertOutcome<MySql>, sqlx::Error> {
    match link.execute_written(statement(&texts.others[CREATE_PLAIN], &mut *write, &[Columns::Row])?).await {
        Ok(_) => {}
        Err(error) if is_unique_violation(&error) => return Ok(InsertOutcome::SomethingExists(error)),
        Err(error) => return Err(explained(link, error).await),
    }
    // Given up here, the row would be made and nobody would know.
    let made = link.fetch_written(statement(&texts.find, write, &[Columns::Key])?).await?;
    match made.into_iter().next() {
        Some(row) => Ok(InsertOutcome::Made(row)),
        None => Err(cause(link, texts).await),
    }
}

/// Fails where there is no unique index on the key.
async fn check_index(link: &mut Link<'_, MySql>, texts: &RowStatements, ask: usize) -> Result<(), sqlx::Error> {
    let question = &texts.others[ask];
    let answer = link.fetch(match ask {
        // Two statements in one text cannot be prepared.
        SAVE_AND_ASK => Statement::plain(question),
        _ => Statement::cached(question, MySqlArguments::default()),
    });
    let answer = answer.await?;
    if answer.first().map_or(Ok(false), |row| row.try_get::<bool, _>(0))? {
        return Ok(());
    }
    link.execute(Statement::plain(&texts.others[ASK_TABLE])).await?;
    Err(Finding::NoUniqueIndex.into())
}

/// Updates a row and reads it back.
///
/// Neither server gives back what an UPDATE wrote, so the row is read after it, and kept from others meanwhile.
async fn update_and_read(
    link: &mut Link<'_, MySql>,
    texts: &RowStatements,
    update: &Sql,
    mut write: Write<'_, MySql>,
) -> Result<Option<MySqlRow>, sqlx::Error> {
    let guard = SavepointGuard::begin(link, Guarding::Statements).await?;
    let outcome = in_one(guard.link, texts, update, &mut write).await;
    guard.end(outcome).await
}

async fn in_one(
    link: &mut Link<'_, MySql>,
    texts: &RowStatements,
    update: &Sql,
    write: &mut Write<'_, MySql>,
) -> Result<Option<MySqlRow>, sqlx::Error> {
    // sqlx has the server count the rows found, not the rows that got other values.
    let found = link.execute_written(statement(update, &mut **write, &[Columns::Updatable, Columns::Key])?).await?;
    if found == 0 {
        return Ok(None);
    }
    Ok(link.fetch(statement(&texts.find, &mut **write, &[Columns::Key])?).await?.into_iter().next())
}

/// Tells used-up numbers from a deadlock on the table's counter.
///
/// The deadlock ends the transaction.
pub(super) async fn explained(link: &mut Link<'_, MySql>, error: sqlx::Error) -> sqlx::Error {
    if has_number(&error, NO_AUTO_INCREMENT) && matches!(MySql::is_open(link.raw()).await, Ok(true)) {
        return used_up();
    }
    error
}
