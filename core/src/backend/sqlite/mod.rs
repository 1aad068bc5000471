//! SQLite: its text, its limits and its errors.

mod catalogue;
mod insert_behavior;
mod insert_few;
mod key_index;
mod one_row;
mod places;
mod presence_sample;
mod staging;
mod watched;

use std::{borrow::Cow, collections::HashMap, sync::OnceLock};

use futures_core::future::BoxFuture;
use futures_util::{
    FutureExt as _,
    future::{join, lazy},
};
use sqlx::{
    Arguments as _, Database, Decode, Encode, Executor as _, Row as _, Sqlite, SqliteConnection, Type, TypeInfo as _,
    error::{BoxDynError, DatabaseError},
    sqlite::{SqliteArguments, SqliteError, SqliteQueryResult, SqliteRow, SqliteTypeInfo},
};
use sqlx_core::transaction::TransactionManager as _;

use self::{
    insert_behavior::InsertBehavior,
    staging::{STAGE, StagingPlan},
};
use super::{
    Backend, Begin, CatalogColumn, CatalogTable, Engine, Fit, InsertOutcome, Mark, Mend, RowStatements, StageError,
    Steps, TransactionEffect, Which, account_for,
};
use crate::{
    connection::handle::Link,
    connection::scope::CallScope,
    operations::bulk::{Chunk, Failure, RowFeed},
    operations::find::{Part, Write, statement},
    sql::placeholders::QuotingRules,
    sql::table::{Column, Key, Table},
    sql::{Bound, Dialect, Sql, Statement, index_name},
    transaction::{Enders, TransactionOptions},
};

/// The most values that one statement can carry.
///
/// It is SQLite's default `SQLITE_MAX_VARIABLE_NUMBER` since 3.32.
const MAX_BINDS: usize = 32_766;

/// Rows of one staging statement.
///
/// Each statement is a hop to the connection's thread; and the last one, of fewer rows, has to be parsed for itself.
const CHUNK_ROWS: usize = 1_000;

/// Rows of one staging statement once there are [`MANY_STAGED`].
///
/// The last statement hardly counts then: 200,000 rows of 3 integers are staged in 0.8 of the time so.
const LONG_CHUNK_ROWS: usize = 4_000;
const MANY_STAGED: u64 = 20_000;

/// The dialect of statements that are run.
///
/// In double quotes, a name that is no column would be read as a string: <https://www.sqlite.org/quirks.html#dblquote>. In backticks it
/// never is.
const DIALECT: Dialect = Dialect { quote: '`', numbered: false };

/// The dialect of statements that are shown and not run.
const SHOWN: Dialect = Dialect { quote: '"', numbered: false };

impl Backend for Sqlite {}

impl Engine for Sqlite {
    type Encoder = SqliteArguments;
    type StageState = OnceLock<InsertBehavior>;
    type Paging = places::Paging;
    type Place = places::Place;

    const CACHE: usize = 0;
    const DIALECT: Dialect = DIALECT;
    const SHOWN: Dialect = SHOWN;

    // A deferred transaction that has read fails at once, without waiting, when it writes after another has written:
    // https://www.sqlite.org/isolation.html
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    // Not used: a transaction that has read the schema for staging could not write after another has written.
    const BEGIN_STAGING: &'static str = "BEGIN";

    // Closing the only connection to a database in memory would delete the database. A statement given up half-way is finished or
    // undone by the connection's thread, so a rollback is enough.
    const CLOSE_UNFINISHED: bool = false;
    const SAVEPOINT_BEGINS: bool = true;

    // Every transaction of SQLite is serializable.
    fn begin(options: &TransactionOptions) -> Begin {
        Begin { before: None, begin: if options.read_only { "BEGIN" } else { Self::BEGIN }.into() }
    }

    fn run(conn: &mut SqliteConnection, statement: Statement<Self>) -> Steps<'_, Self> {
        conn.fetch_many(statement)
    }

    fn rows_affected(result: &SqliteQueryResult) -> u64 {
        result.rows_affected()
    }

    fn encode<'q, T: Encode<'q, Self> + Type<Self>>(
        encoder: &mut SqliteArguments,
        value: &T,
    ) -> Result<(), BoxDynError> {
        encoder.add(value)
    }

    fn value<T>(row: &SqliteRow, index: usize) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, Self> + Type<Self>,
    {
        row.try_get(index)
    }

    fn number(row: &SqliteRow) -> Result<i64, sqlx::Error> {
        row.try_get(0)
    }

    const QUOTING: QuotingRules = QuotingRules { names: &[('`', '`'), ('[', ']')], ..QuotingRules::STANDARD };

    fn arguments(encoder: SqliteArguments) -> SqliteArguments {
        encoder
    }

    fn transaction_effect(error: &sqlx::Error) -> TransactionEffect {
        // A full disk, an I/O error, ON CONFLICT ROLLBACK or RAISE(ROLLBACK) end the transaction, and the error's code does not say so.
        if error.as_database_error().is_some() { TransactionEffect::Ask } else { TransactionEffect::Alive }
    }

    fn is_missing_index(error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .is_some_and(|error| error.message().contains("does not match any PRIMARY KEY or UNIQUE constraint"))
    }

    const ENDERS: Enders = Enders::Only(&["COMMIT", "END", "ROLLBACK", "BEGIN"]);

    fn is_no_savepoint(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(|error| error.message().starts_with("no such savepoint"))
    }

    // The autocommit flag cannot be read without unsafe code. This pragma asks for it, and on the temporary database does nothing else:
    // https://www.sqlite.org/src/file/src/pragma.c, PragTyp_SYNCHRONOUS.
    fn is_open(conn: &mut SqliteConnection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            match conn.execute("PRAGMA temp.synchronous = OFF").await {
                Ok(_) => Ok(false),
                Err(sqlx::Error::Database(error)) if error.message().contains("inside a transaction") => Ok(true),
                Err(error) => Err(error),
            }
        })
    }

    fn save_if_open<'c>(
        conn: &'c mut SqliteConnection,
        savepoint: &'static str,
    ) -> BoxFuture<'c, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            let open = Self::is_open(conn).await?;
            if open {
                conn.execute(Statement::plain(&format!("SAVEPOINT {savepoint}").into())).await?;
            }
            Ok(open)
        })
    }

    fn queue_rollback_to(conn: &mut SqliteConnection, savepoint: &'static str) {
        // Where the savepoint was never set, both fail and change nothing.
        queue(conn, format!("ROLLBACK TO SAVEPOINT {savepoint}"));
        queue(conn, format!("RELEASE SAVEPOINT {savepoint}"));
    }

    fn paging_bound(table: &Table, key: &Key, paging: Option<&places::Paging>, first: usize, bound: Bound) -> String {
        places::bound(table, key, paging, first, bound)
    }

    fn paging_order(table: &Table, key: &Key, paging: Option<&places::Paging>) -> Vec<String> {
        places::order(table, key, paging)
    }

    fn selected(table: &Table) -> String {
        one_row::selected(table, "")
    }

    fn place_columns(table: &Table, key: &Key, paging: Option<&places::Paging>) -> String {
        places::columns(table, key, paging)
    }

    fn paging(row: &SqliteRow, table: &Table, key: &Key) -> Result<(places::Paging, bool), sqlx::Error> {
        places::learn(row, table, key)
    }

    fn place(
        row: &SqliteRow,
        _: &Key,
        positions: &[usize],
        _: &[SqliteTypeInfo],
        _: &places::Paging,
    ) -> Result<Option<places::Place>, sqlx::Error> {
        places::place(row, positions).map(Some)
    }

    fn identity(
        place: Option<&places::Place>,
        _: impl FnOnce(&mut SqliteArguments) -> Result<(), sqlx::Error>,
    ) -> Result<Vec<u8>, sqlx::Error> {
        Ok(place.map_or_else(Vec::new, places::identity))
    }

    fn put_place(encoder: &mut SqliteArguments, place: &places::Place) {
        places::put(encoder, place);
    }

    // What a session can be set to, so that it writes nothing.
    fn refusal(error: &sqlx::Error) -> Option<&'static str> {
        // Not "virtual table", which is worded alike.
        if error.as_database_error().is_some_and(|error| error.message().contains("cannot UPSERT a view")) {
            return Some("a view has no unique index, so that no call can write to it: name the table behind it");
        }
        error.as_database_error().filter(|error| primary_code(*error) == Some(8)).map(|_| {
            "the connection may not write (\"attempt to write a readonly database\"): turn `PRAGMA query_only` off, or open a database that can be written"
        })
    }

    fn key_mismatch(error: &sqlx::Error) -> Option<Cow<'static, str>> {
        watched::mismatch_cause(error).map(|cause| cause.to_owned().into())
    }

    fn mismatch_cause<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>> {
        Box::pin(async move { watched::cause(link, &one_row::mismatch_cause(table, key)).await })
    }

    fn refuse_key(key: &Key) -> Option<&'static str> {
        key.nulls_not_distinct.then_some(
            "a unique index of SQLite never takes two NULLs for equal, so a key with `nulls_not_distinct` works on PostgreSQL 15 and later only",
        )
    }

    fn row_statements(table: &Table, key: &Key) -> RowStatements {
        one_row::row_statements(table, key)
    }

    fn create_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<InsertOutcome<Self>, sqlx::Error>> {
        Box::pin(watched::create(link, texts, write))
    }

    // An index on a column of another collation, as in `CREATE UNIQUE INDEX .. (email COLLATE NOCASE)`.
    fn find_as_index<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<Option<SqliteRow>, sqlx::Error>> {
        Box::pin(async move {
            let Some(columns) = key_index::key_columns(link, table, key).await? else { return Ok(None) };
            let find = one_row::find_as_index(table, key, &columns);
            Ok(link.fetch(statement(&find, write, Part::Key)?).await?.pop())
        })
    }

    fn update_as_index<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<Option<SqliteRow>, sqlx::Error>> {
        Box::pin(async move {
            let columns = key_index::key_columns(link, table, key).await?;
            let Some(update) = columns.and_then(|columns| one_row::update_as_index(table, key, &columns)) else {
                return Ok(None);
            };
            watched::update(link, &one_row::row_statements(table, key), &update, write).await
        })
    }

    fn create_unique_index(table: &Table, key: &Key) -> String {
        catalogue::create_index(table, key, &index_name(table, key), table.schema)
    }

    fn mend_index<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
    ) -> BoxFuture<'l, Result<Mend, sqlx::Error>> {
        Box::pin(catalogue::mend_index(link, table, key))
    }

    fn update_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        update: &'l Sql,
        write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<Option<SqliteRow>, sqlx::Error>> {
        Box::pin(watched::update(link, texts, update, write))
    }

    fn inspect<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
    ) -> BoxFuture<'l, Result<Option<CatalogTable>, sqlx::Error>> {
        Box::pin(catalogue::inspect(link, table))
    }

    fn refuse_table<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>> {
        Box::pin(catalogue::refuse_table(link, table))
    }

    fn add_column(table: &Table, column: &Column, kind: &SqliteTypeInfo) -> Option<String> {
        catalogue::add_column(table, column, kind.name())
    }

    fn fit(kind: &SqliteTypeInfo, column: &CatalogColumn) -> Fit {
        catalogue::fit(kind.name(), column)
    }

    fn insert_few<'l>(
        unit: &'l mut CallScope<'_, Self>,
        stage: &'l StagingPlan,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> BoxFuture<'l, Result<Option<u64>, Failure>> {
        Box::pin(insert_few::insert_few(unit, stage, feed))
    }

    fn open_stage<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> BoxFuture<'l, Result<(), StageError>> {
        Box::pin(async move {
            let key =
                key_index::key_columns(link, stage.table, stage.key).await?.ok_or(StageError::MissingUniqueIndex)?;
            link.execute(Statement::plain(&format!("DROP TABLE IF EXISTS {STAGE}").into())).await?;
            link.execute(Statement::plain(&staging::create_stage(stage, &key))).await?;
            Ok(())
        })
    }

    fn fill_stage<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> BoxFuture<'l, Result<(), Failure>> {
        Box::pin(async move {
            feed.note_way("stage");
            let mut texts = HashMap::new();
            while let Some(Chunk { rows, values }) = feed.chunk(stage_chunk(stage, feed.sent())).await? {
                let statement = if rows == stage_chunk(stage, feed.sent()) {
                    Statement::cached(texts.entry(rows).or_insert_with(|| staging::stage_rows(stage, rows)), values)
                } else {
                    Statement::once(&staging::stage_rows(stage, rows), values)
                };
                let next = stage_chunk(stage, feed.sent() + rows as u64);
                // The connection's thread works on them while the next are written here.
                let (sent, ahead) = join(link.execute(statement), lazy(|_| feed.read_ahead(next))).await;
                let staged = sent?;
                account_for("staged", rows as u64, staged)?;
                feed.note_sent(rows);
                ahead?;
            }
            Ok(())
        })
    }

    fn merges_whole<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
    ) -> BoxFuture<'l, Result<bool, sqlx::Error>> {
        Box::pin(async move { Ok(nature(link, stage).await?.fails_as_a_whole()) })
    }

    fn merge_new<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> BoxFuture<'l, Result<u64, sqlx::Error>> {
        Box::pin(async move {
            if staging::has_many_rows(stage) {
                link.execute(Statement::plain(&staging::FREE_PAGES.into())).await?;
            }
            let nature = nature(link, stage).await?;
            if nature.triggers {
                return merge_watched(
                    link,
                    stage,
                    &staging::merge_new(stage, nature.or_abort()),
                    &staging::count_new(stage),
                )
                .await;
            }
            if nature.skips_quietly && presence_sample::is_fastest_as_it_came(link, stage).await? {
                match link.execute(Statement::plain(&staging::merge_as_it_came(stage))).await {
                    Err(error) if is_refused(&error) => {}
                    merged => return merged,
                }
            }
            link.execute(Statement::plain(&staging::merge_new(stage, nature.or_abort()))).await
        })
    }

    fn merge_marked<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
    ) -> BoxFuture<'l, Result<u64, sqlx::Error>> {
        Box::pin(async move {
            link.execute(Statement::plain(&staging::take_write_lock(stage))).await?;
            link.execute(Statement::plain(&staging::mark_new(stage))).await?;
            let nature = nature(link, stage).await?;
            let created = link.execute(Statement::plain(&staging::insert_marked(stage, nature.or_abort()))).await?;
            // A row that a trigger has dropped is not counted, and one that it has stored with another key is.
            if nature.triggers && count(link, Statement::plain(&staging::count_made(stage))).await? < created {
                return Err(watched::mismatch(
                    watched::cause(link, &one_row::mismatch_cause(stage.table, stage.key)).await?,
                ));
            }
            Ok(created)
        })
    }

    fn update_existing<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
    ) -> BoxFuture<'l, Result<u64, sqlx::Error>> {
        Box::pin(async move {
            let existing = link
                .execute(Statement::plain(&staging::mark_last(stage, staging::CREATED_NOWHERE, staging::MARK_UPDATE)))
                .await?;
            let or_abort = nature(link, stage).await?.or_abort();
            let Some(update) = staging::update_marked(stage, or_abort) else { return Ok(existing) };
            link.execute(Statement::plain(&staging::mark_last(stage, staging::CREATED_HERE, staging::MARK_AGAIN)))
                .await?;
            link.execute(Statement::plain(&update)).await?;
            Ok(existing)
        })
    }

    fn read_staged<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
        which: Which,
    ) -> BoxFuture<'l, Result<Vec<SqliteRow>, sqlx::Error>> {
        Box::pin(async move { link.fetch(Statement::plain(&staging::read_staged(stage, which))).await })
    }

    fn find_rows(key: &Key) -> usize {
        (MAX_BINDS / key.columns.len().max(1)).max(1)
    }

    fn find_many(table: &Table, key: &Key, keys: usize) -> Sql {
        one_row::find_many(table, key, keys)
    }

    fn mark(row: &SqliteRow) -> Result<Mark, sqlx::Error> {
        let behind = row.len().saturating_sub(3);
        Ok(Mark { number: row.try_get(behind)?, found: row.try_get(behind + 1)?, created: row.try_get(behind + 2)? })
    }

    fn merge_text(stage: &StagingPlan) -> Sql {
        staging::merge_new(stage, one_row::OR_ABORT)
    }

    fn explain_merge(stage: &StagingPlan) -> Sql {
        format!("EXPLAIN QUERY PLAN {}", Self::merge_text(stage).as_str()).into()
    }

    fn plan_line(row: &SqliteRow) -> Result<String, sqlx::Error> {
        row.try_get("detail")
    }

    fn close_stage<'l>(link: &'l mut Link<'_, Self>, _: &'l StagingPlan) -> BoxFuture<'l, Result<(), sqlx::Error>> {
        Self::clean_undone(link)
    }

    // Made outside a transaction, it outlives the rollback of the merge.
    fn clean_undone<'l>(link: &'l mut Link<'_, Self>) -> BoxFuture<'l, Result<(), sqlx::Error>> {
        Box::pin(async move {
            link.execute(Statement::plain(&format!("DROP TABLE IF EXISTS {STAGE}").into())).await.map(drop)
        })
    }

    fn queue_clean(conn: &mut SqliteConnection) {
        queue(conn, format!("DROP TABLE IF EXISTS {STAGE}"));
    }

    // sqlx's count of open transactions can be wrong in two ways, and a wrong count would meet the connection's next user: SQLite has ended
    // the transaction by itself (then the ROLLBACK of sqlx fails and the count stays), or a BEGIN or COMMIT was done and never acknowledged
    // (then sqlx has corrected the count itself). So a transaction is begun where there is none, which fails where there is one; sqlx
    // rolls back what it counts; and what is still open then is rolled back by text.
    fn queue_rollback(conn: &mut SqliteConnection, levels: usize) {
        queue(conn, "BEGIN".to_owned());
        for level in 1..levels {
            queue(conn, format!("SAVEPOINT _sqlx_savepoint_{level}"));
        }
        for _ in 0..levels {
            <Self as Database>::TransactionManager::start_rollback(conn);
        }
        queue(conn, "ROLLBACK".to_owned());
    }
}

/// Returns the INSERT behavior of the target, asked once a call.
async fn nature(link: &mut Link<'_, Sqlite>, stage: &StagingPlan) -> Result<InsertBehavior, sqlx::Error> {
    if let Some(nature) = stage.notes.get() {
        return Ok(*nature);
    }
    let nature = InsertBehavior::ask(link, stage.table).await?;
    Ok(*stage.notes.get_or_init(|| nature))
}

/// Returns the first number of a statement's first row.
async fn count(link: &mut Link<'_, Sqlite>, count: Statement<Sqlite>) -> Result<u64, sqlx::Error> {
    let row = link.fetch(count).await?.pop();
    let number: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// Merges and checks that no trigger changed the rows' keys.
///
/// A trigger may store a row with another key: as many keys have to be there more as rows were made.
async fn merge_watched(
    link: &mut Link<'_, Sqlite>,
    stage: &StagingPlan,
    merge: &Sql,
    count_new: &Sql,
) -> Result<u64, sqlx::Error> {
    link.execute(Statement::plain(&staging::take_write_lock(stage))).await?;
    let before = count(link, Statement::plain(count_new)).await?;
    let created = link.execute(Statement::plain(merge)).await?;
    let after = count(link, Statement::plain(count_new)).await?;
    if before.saturating_sub(after) < created {
        return Err(watched::mismatch(watched::cause(link, &one_row::mismatch_cause(stage.table, stage.key)).await?));
    }
    Ok(created)
}

/// Returns true if a row was refused, also one that exists.
///
/// Where a conflict clause alone is to skip rows that are there, they are checked before they are skipped. The causes are an expression
/// that fails in a CHECK (`SQLITE_ERROR`), a value too long, a constraint, or a value of another type.
fn is_refused(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| matches!(primary_code(error), Some(1 | 18..=20)))
}

/// Returns the most rows of a call that is not staged.
fn chunk_rows(stage: &StagingPlan) -> usize {
    (MAX_BINDS / stage.columns.len().max(1)).clamp(1, CHUNK_ROWS)
}

/// Returns the rows of a staging statement.
///
/// It goes by the rows that are staged already.
fn stage_chunk(stage: &StagingPlan, staged: u64) -> usize {
    let most = if staged < MANY_STAGED { CHUNK_ROWS } else { LONG_CHUNK_ROWS };
    (MAX_BINDS / stage.columns.len().max(1)).clamp(1, most)
}

/// Sends a statement to the connection's thread without waiting.
///
/// What comes of it is not awaited: the first poll hands it over.
fn queue(conn: &mut SqliteConnection, sql: String) {
    let statement = Statement::<Sqlite>::plain(&sql.into());
    drop(conn.execute(statement).now_or_never());
}

/// Returns true if another connection stood in the way.
///
/// The codes are `SQLITE_BUSY` (5) and `SQLITE_LOCKED` (6), whatever the extended code adds.
pub(super) fn is_retryable(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<SqliteError>().is_some() && matches!(primary_code(error), Some(5 | 6))
}

/// Returns the error's code without its extension.
///
/// See <https://www.sqlite.org/rescode.html>.
fn primary_code(error: &dyn DatabaseError) -> Option<i32> {
    error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff)
}

/// Formats errors without row values.
///
/// SQLite names tables and columns only, but a trigger may put values of rows into its words.
pub(super) fn told(error: &SqliteError) -> Cow<'_, str> {
    const CONSTRAINT_TRIGGER: &str = "1811";
    if error.code().as_deref() == Some(CONSTRAINT_TRIGGER) {
        return "a trigger of the database refused it (code 1811)".into();
    }
    error.message().into()
}
