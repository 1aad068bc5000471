//! MySQL and MariaDB: their text, their limits and their errors.

mod catalogue;
mod column_types;
mod encoding;
mod errors;
mod hold;
mod insert_few;
mod key_order;
mod merge;
mod one_row;
mod places;
mod staging;
mod told;

use std::{
    borrow::Cow,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_core::future::BoxFuture;
use futures_util::FutureExt as _;
use sqlx::{
    Database, Decode, Encode, Executor as _, MySql, MySqlConnection, Row as _, Type, TypeInfo as _,
    error::BoxDynError,
    mysql::{MySqlArguments, MySqlQueryResult, MySqlRow, MySqlTypeInfo},
};

use self::{
    encoding::Encoder,
    hold::Kept,
    key_order::Order,
    one_row::{ASK_CAUSE, ASK_INDEX, ASK_TABLE, CREATE_PLAIN, SAVE_AND_ASK},
    staging::StagingPlan,
};
use super::{
    Backend, Begin, CatalogColumn, CatalogTable, Engine, Fit, InsertOutcome, Mark, Mend, RowStatements, StageError,
    Steps, TransactionEffect, Which,
};
use crate::{
    connection::handle::Link,
    connection::scope::CallScope,
    operations::bulk::{Failure, RowFeed},
    operations::find::{Part, Write, statement},
    retry::TRIES,
    sql::placeholders::QuotingRules,
    sql::table::{Column, Key, Table},
    sql::{Bound, Dialect, Sql, Statement},
    testing,
    transaction::{Enders, Isolation, TransactionOptions},
};
pub(super) use errors::{is_connection_lost, is_retryable};
pub(super) use told::told;

/// The most values that one prepared statement can carry.
///
/// Their number has two bytes.
const MAX_BINDS: usize = 65_535;

/// Rows of one staging statement.
///
/// The server keeps a prepared statement of this size for as long as the connection lives.
const CHUNK_ROWS: usize = 2_000;

/// Bytes of one staging statement.
///
/// They are limited so that long values do not pile up.
const CHUNK_BYTES: usize = 1 << 20;

/// Keys of one [`Engine::find_many`].
const FIND_KEYS: usize = 10_000;

/// The most keys whose statement is kept prepared.
///
/// Their numbers are those of `merge::parts`.
const PREPARED_KEYS: usize = 512;

/// Bytes of a statement beside its values.
const STATEMENT_OVERHEAD: usize = 1_024;

/// The limit of a statement that returns several rows.
///
/// `sql_select_limit` cuts every SELECT that has no limit of its own.
const NO_LIMIT: &str = "LIMIT 18446744073709551615";

const DIALECT: Dialect = Dialect { quote: '`', numbered: false };

/// The columns of a [`Mark`], after those of the model.
///
/// The names are none that a model would give, for sqlx reads columns by name.
const NUMBER: &str = "`upsertable_number`";
const FOUND: &str = "`upsertable_found`";
const CREATED: &str = "`upsertable_created`";

/// Set once a server did not know `INSERT .. RETURNING`.
///
/// It is tried no more then. Either way works on every server.
static NO_RETURNING: AtomicBool = AtomicBool::new(false);

/// Set once a server did not know `SKIP LOCKED`.
///
/// That is MySQL before 8, and MariaDB before 10.6. Waiting for locked rows works on every server.
static NO_SKIP_LOCKED: AtomicBool = AtomicBool::new(false);

/// True if a statement outside a transaction commits itself.
///
/// Without autocommit a session begins transactions by itself, and with `completion_type = CHAIN` each COMMIT begins the next one.
const COMMITS_ITSELF: &str = "(@@autocommit AND @@completion_type <> 'CHAIN')";

/// Set once a session began transactions by itself.
///
/// From here on each call asks for it at its end.
static BEGINS_UNASKED: AtomicBool = AtomicBool::new(false);

fn note_session(commits_itself: bool) {
    if !commits_itself {
        BEGINS_UNASKED.store(true, Ordering::Relaxed);
    }
}

impl Backend for MySql {}

impl Engine for MySql {
    type Encoder = Encoder;
    type StageState = OnceLock<Found>;
    type Paging = places::Paging;
    type Place = places::Place;

    const CACHE: usize = 2;
    const DIALECT: Dialect = DIALECT;

    // In MariaDB's mode ORACLE the word BEGIN alone begins a block of statements.
    const BEGIN: &'static str = "START TRANSACTION";
    const BEGIN_STAGING: &'static str = Self::BEGIN;

    // A statement given up half-way leaves the driver and the server in the middle of their talk, and a temporary table outlives ROLLBACK.
    const CLOSE_UNFINISHED: bool = true;
    // Where many write one row and others delete it, InnoDB finds a deadlock in a good part of the tries.
    const CALL_TRIES: u32 = 20;

    // Who has waited for a lock in vain has waited for long: 50 seconds, unless the server is told otherwise.
    fn tries_spent(error: &sqlx::Error) -> u32 {
        if errors::is_lock_wait_timeout(error) { Self::CALL_TRIES / TRIES } else { 1 }
    }

    // sqlx loses its place in the answers when a statement is given up while it is prepared, and may then wait for ever for one more.
    const BROKEN_WHEN_GIVEN_UP: bool = true;

    fn begin(options: &TransactionOptions) -> Begin {
        // Said for the next transaction only: the session's own level stays as it is.
        let isolation = |name: &str| Sql::from(format!("SET TRANSACTION ISOLATION LEVEL {name}"));
        Begin {
            before: options.isolation.map(|level| isolation(level.name())),
            begin: if options.read_only { "START TRANSACTION READ ONLY" } else { Self::BEGIN }.into(),
        }
    }

    // At REPEATABLE READ the rows that an INSERT .. SELECT reads, and the gaps where it finds none, are locked, so that two merges deadlock
    // by nature.
    fn begin_merge() -> Begin {
        Begin { before: Some("SET TRANSACTION ISOLATION LEVEL READ COMMITTED".into()), begin: Self::BEGIN.into() }
    }

    // BEGIN would commit it. Outside a transaction a savepoint is gone as soon as it is set.
    fn save_if_open<'c>(
        conn: &'c mut MySqlConnection,
        savepoint: &'static str,
    ) -> BoxFuture<'c, Result<bool, sqlx::Error>> {
        Box::pin(is_savepoint_kept(conn, savepoint, "ROLLBACK TO SAVEPOINT"))
    }

    fn run(conn: &mut MySqlConnection, statement: Statement<Self>) -> Steps<'_, Self> {
        conn.fetch_many(statement)
    }

    fn is_begun_already(error: &sqlx::Error) -> bool {
        errors::is_begun_already(error)
    }

    fn note_session(row: &MySqlRow, behind: usize) {
        if let Some(commits_itself) = row.len().checked_sub(behind) {
            note_session(row.try_get(commits_itself).unwrap_or(true));
        }
    }

    fn begins_unasked() -> bool {
        BEGINS_UNASKED.load(Ordering::Relaxed)
    }

    fn end_unasked<'l>(link: &'l mut Link<'_, Self>) -> BoxFuture<'l, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            let ask = Sql::from(format!("SELECT {COMMITS_ITSELF} LIMIT 1"));
            let session = link.fetch(Statement::plain(&ask)).await?;
            let commits_itself = session.first().map_or(Ok(true), |row| row.try_get(0))?;
            if !commits_itself {
                link.execute(Statement::plain(&"COMMIT AND NO CHAIN NO RELEASE".into())).await?;
            }
            Ok(!commits_itself)
        })
    }

    fn rows_affected(result: &MySqlQueryResult) -> u64 {
        result.rows_affected()
    }

    fn encode<'q, T: Encode<'q, Self> + Type<Self>>(encoder: &mut Encoder, value: &T) -> Result<(), BoxDynError> {
        encoder.add(value)
    }

    fn value<T>(row: &MySqlRow, index: usize) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, Self> + Type<Self>,
    {
        row.try_get(index)
    }

    fn number(row: &MySqlRow) -> Result<i64, sqlx::Error> {
        row.try_get(0)
    }

    const QUOTING: QuotingRules =
        QuotingRules { names: &[('`', '`')], backslashes: true, hash_comments: true, ..QuotingRules::STANDARD };

    // At REPEATABLE READ every row that is looked at stays locked, and the gaps beside it, whether the filter wants it or not.
    const BATCH_ISOLATION: Option<Isolation> = Some(Isolation::ReadCommitted);

    // Whoever inserts a row that refers to one of these waits. InnoDB has no lock of a row that keeps out another of its kind and not
    // theirs.
    fn lock_rows(wait: bool) -> &'static str {
        if wait || NO_SKIP_LOCKED.load(Ordering::Relaxed) { " FOR UPDATE" } else { " FOR UPDATE SKIP LOCKED" }
    }

    fn cannot_skip(error: &sqlx::Error) -> bool {
        errors::is_syntax_error(error) && !NO_SKIP_LOCKED.swap(true, Ordering::Relaxed)
    }

    fn key_bound(table: &Table, key: &Key, _: usize, bound: Bound) -> String {
        one_row::key_bound(table, key, bound)
    }

    fn repeat_bound(encoder: &mut Encoder, key: &Key) {
        encoder.repeat_prefixes(key.columns.len());
    }

    fn select_sorted(key: &Key, types: &[MySqlTypeInfo]) -> String {
        let is_long = |&column: &usize| staging::is_long_type(types[column].name());
        staging::set_for(&[if key.columns.iter().any(is_long) { staging::SORTS_ALL } else { "" }], "SELECT")
    }

    fn place_columns(table: &Table, key: &Key, paging: Option<&places::Paging>) -> String {
        places::columns(table, key, paging)
    }

    fn paging(row: &MySqlRow, table: &Table, key: &Key) -> Result<(places::Paging, bool), sqlx::Error> {
        places::learn(row, table, key)
    }

    fn place(
        row: &MySqlRow,
        key: &Key,
        positions: &[usize],
        types: &[MySqlTypeInfo],
        paging: &places::Paging,
    ) -> Result<Option<places::Place>, sqlx::Error> {
        places::place(row, key, positions, types, paging).map(Some)
    }

    fn put_place(encoder: &mut Encoder, place: &places::Place) {
        encoder.add_all(place);
    }

    fn identity(
        _: Option<&places::Place>,
        write: impl FnOnce(&mut Encoder) -> Result<(), sqlx::Error>,
    ) -> Result<Vec<u8>, sqlx::Error> {
        let mut encoder = Encoder::default();
        write(&mut encoder)?;
        Ok(encoder.into_identity())
    }

    fn arguments(encoder: Encoder) -> MySqlArguments {
        encoder.into_arguments()
    }

    fn transaction_effect(error: &sqlx::Error) -> TransactionEffect {
        errors::transaction_effect(error)
    }

    fn is_farewell(error: &sqlx::Error) -> bool {
        errors::is_farewell(error)
    }

    fn key_mismatch(error: &sqlx::Error) -> Option<Cow<'static, str>> {
        errors::mismatch_cause(error).map(|cause| cause.to_owned().into())
    }

    fn mismatch_cause<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>> {
        Box::pin(async move { catalogue::causes(link, &one_row::ask_cause(table, key)).await })
    }

    fn refusal(error: &sqlx::Error) -> Option<&'static str> {
        errors::refusal(error)
    }

    fn is_missing_index(error: &sqlx::Error) -> bool {
        errors::is_no_unique_index(error)
    }

    // https://dev.mysql.com/doc/refman/9.7/en/implicit-commit.html, https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/
    const ENDERS: Enders = Enders::AllBut {
        keep: &[
            "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN",
            "DESCRIBE", "DESC", "DO", "SET", "USE", "HELP",
        ],
        commit: &[
            "ALTER",
            "ANALYZE",
            "BEGIN",
            "CACHE",
            "CHANGE",
            "CHECK",
            "CREATE",
            "DROP",
            "FLUSH",
            "GRANT",
            "IMPORT",
            "INSTALL",
            "LOAD",
            "LOCK",
            "OPTIMIZE",
            "RENAME",
            "REPAIR",
            "RESET",
            "REVOKE",
            "SET",
            "START",
            "STOP",
            "TRUNCATE",
            "UNINSTALL",
            "UNLOCK",
        ],
    };

    fn is_no_savepoint(error: &sqlx::Error) -> bool {
        errors::is_no_savepoint(error)
    }

    fn is_open(conn: &mut MySqlConnection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(is_savepoint_kept(conn, "upsertable_probe", "RELEASE SAVEPOINT"))
    }

    fn refuse_key(key: &Key) -> Option<&'static str> {
        key.nulls_not_distinct.then_some(
            "a unique index of MySQL and MariaDB never takes two NULLs for equal, so a key with `nulls_not_distinct` works on PostgreSQL 15 and later only",
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
        Box::pin(async move {
            if !NO_RETURNING.load(Ordering::Relaxed) {
                match create_returning(link, texts, &mut *write).await {
                    Err(error) if errors::is_syntax_error(&error) => NO_RETURNING.store(true, Ordering::Relaxed),
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
    ) -> BoxFuture<'l, Result<Option<MySqlRow>, sqlx::Error>> {
        Box::pin(hold::update_and_read(link, texts, update, write))
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
            if find_index(link, stage).await?.is_none() {
                link.execute(Statement::plain(&one_row::ask_table(stage.table))).await?;
                return Err(StageError::MissingUniqueIndex);
            }
            link.execute(Statement::plain(&staging::drop_stage())).await?;
            link.execute(Statement::plain(&staging::create_staged(stage))).await?;
            Ok(())
        })
    }

    fn fill_stage<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> BoxFuture<'l, Result<(), Failure>> {
        Box::pin(merge::fill(link, stage, feed))
    }

    fn merge_new<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> BoxFuture<'l, Result<u64, sqlx::Error>> {
        Box::pin(merge::merge_new(link, stage))
    }

    fn merge_marked<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
    ) -> BoxFuture<'l, Result<u64, sqlx::Error>> {
        Box::pin(merge::merge_marked(link, stage))
    }

    fn update_existing<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
    ) -> BoxFuture<'l, Result<u64, sqlx::Error>> {
        Box::pin(merge::update_existing(link, stage))
    }

    fn read_staged<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
        which: Which,
    ) -> BoxFuture<'l, Result<Vec<MySqlRow>, sqlx::Error>> {
        Box::pin(merge::read_staged(link, stage, which))
    }

    fn find_rows(key: &Key) -> usize {
        (MAX_BINDS / key.columns.len().max(1)).clamp(1, FIND_KEYS)
    }

    fn pad_keys(keys: &mut Encoder, key: &Key, count: usize) -> Option<usize> {
        if count > PREPARED_KEYS {
            return None;
        }
        let padded = count.next_power_of_two();
        keys.repeat_last(key.columns.len(), padded - count);
        Some(padded)
    }

    fn find_many(table: &Table, key: &Key, keys: usize) -> Sql {
        one_row::find_many(table, key, keys)
    }

    fn mark(row: &MySqlRow) -> Result<Mark, sqlx::Error> {
        let behind = row.len().saturating_sub(3);
        Ok(Mark { number: row.try_get(behind)?, found: row.try_get(behind + 1)?, created: row.try_get(behind + 2)? })
    }

    fn bytes(encoder: &Encoder) -> usize {
        encoder.size()
    }

    // As one text.
    fn merge_text(stage: &StagingPlan) -> Sql {
        staging::merge_new(stage)
    }

    fn explain_merge(stage: &StagingPlan) -> Sql {
        format!("EXPLAIN FORMAT=JSON {}", Self::merge_text(stage).as_str()).into()
    }

    fn plan_line(row: &MySqlRow) -> Result<String, sqlx::Error> {
        row.try_get(0)
    }

    fn close_stage<'l>(link: &'l mut Link<'_, Self>, _: &'l StagingPlan) -> BoxFuture<'l, Result<(), sqlx::Error>> {
        Self::clean_undone(link)
    }

    // Temporary tables outlive a rollback.
    fn clean_undone<'l>(link: &'l mut Link<'_, Self>) -> BoxFuture<'l, Result<(), sqlx::Error>> {
        Box::pin(async move {
            match link.execute(Statement::plain(&staging::drop_stage())).await {
                // Then it was not made either.
                Err(error) if errors::keeps_no_tables(&error) => Ok(()),
                outcome => outcome.map(drop),
            }
        })
    }

    // Only where the call was given up between two statements; else the table is dropped when the next call begins.
    fn queue_clean_first(conn: &mut MySqlConnection) {
        queue(conn, &staging::drop_stage());
    }

    fn queue_clean(conn: &mut MySqlConnection) {
        queue(conn, &staging::drop_stage());
    }

    fn queue_rollback_to(conn: &mut MySqlConnection, savepoint: &'static str) {
        queue(conn, &format!("ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}").into());
    }

    // Neither updated nor inserted: an index that is not the key's refuses the row, and there may be none on the key.
    fn update_as_index<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        _: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<Option<MySqlRow>, sqlx::Error>> {
        Box::pin(async move {
            let index = Sql::from(format!("{} LIMIT 1", one_row::unique_index(table, key, "1")));
            if link.fetch(Statement::plain(&index)).await?.is_empty() {
                Err(errors::no_unique_index())
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
    ) -> BoxFuture<'l, Result<bool, sqlx::Error>> {
        Box::pin(blames_key(link, table, key, error))
    }

    fn inspect<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
    ) -> BoxFuture<'l, Result<Option<CatalogTable>, sqlx::Error>> {
        Box::pin(catalogue::inspect(link, table))
    }

    fn fit(kind: &MySqlTypeInfo, column: &CatalogColumn) -> Fit {
        column_types::fit(kind.name(), column)
    }

    fn same_name(one: &str, other: &str) -> bool {
        one.to_lowercase() == other.to_lowercase()
    }

    fn refuse_table<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>> {
        Box::pin(catalogue::refuse_table(link, table))
    }

    fn add_column(table: &Table, column: &Column, kind: &MySqlTypeInfo) -> Option<String> {
        catalogue::add_column(table, column, kind.name())
    }

    fn allow_null<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        column: &'static Column,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>> {
        Box::pin(catalogue::allow_null(link, table, column))
    }

    fn create_unique_index(table: &Table, key: &Key) -> String {
        catalogue::create_unique_index(table, key)
    }

    fn mend_index<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
    ) -> BoxFuture<'l, Result<Mend, sqlx::Error>> {
        Box::pin(catalogue::mend_index(link, table, key))
    }
}

/// The answer to the question for the key's unique index.
#[allow(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub struct Found {
    /// The name of the key's unique index.
    index: String,
    /// True if a query may be told to use it.
    usable: bool,
    /// The most bytes that one statement can carry.
    packet: usize,
    /// True if the server creates a few rows without staging.
    ///
    /// They come out as they would from a staging table.
    makes_few: bool,
    /// Settings that undo what the session changes for the merge.
    ///
    /// Each has a value. Under them the merge gives what it gives by default. Empty if the session has them.
    steady: String,
    /// True if a trigger runs for each row that is made.
    ///
    /// It may store the row with another key.
    triggers: bool,
    /// True if a staging table must be of InnoDB.
    innodb_only: bool,
    /// The session's mode, if it lets INSERT change values.
    ///
    /// An INSERT changes what does not fit then.
    lenient: Option<String>,
    /// The order of the staged rows' keys, if known.
    ///
    /// It is how the keys stand to each other, as far as the client can tell.
    order: Mutex<Order>,
}

impl Found {
    fn order(&self) -> Order {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the order of the keys, and returns the old one.
    fn note_order(&self, order: Order) -> Order {
        std::mem::replace(&mut *self.order.lock().unwrap_or_else(PoisonError::into_inner), order)
    }
}

/// Looks for the key's unique index, once in a call.
async fn find_index<'s>(link: &mut Link<'_, MySql>, stage: &'s StagingPlan) -> Result<Option<&'s Found>, sqlx::Error> {
    if stage.notes.get().is_none() {
        let index = link.fetch(Statement::plain(&staging::ask_index(stage))).await?;
        let Some(row) = index.first() else { return Ok(None) };
        let packet: i64 = row.try_get(1)?;
        if let Link::Pooled(..) = link {
            note_session(row.try_get(4)?);
            if row.try_get(5)? {
                return Err(errors::refused(
                    "this session has completion_type = RELEASE, with which each COMMIT ends the connection and with it the staged rows; set it to NO_CHAIN",
                ));
            }
        }
        let (steady, lenient): (String, String) = (row.try_get(6)?, row.try_get(7)?);
        let triggers: bool = row.try_get(9).unwrap_or_default();
        stage.notes.get_or_init(|| Found {
            index: row.try_get(0).unwrap_or_default(),
            usable: !row.try_get::<bool, _>(2).unwrap_or_default(),
            packet: usize::try_from(packet).unwrap_or(CHUNK_BYTES),
            makes_few: !triggers && row.try_get(3).unwrap_or_default(),
            steady,
            triggers,
            innodb_only: row.try_get(8).unwrap_or_default(),
            lenient: Some(lenient).filter(|mode| !mode.is_empty()),
            order: Mutex::default(),
        });
    }
    Ok(stage.notes.get())
}

/// Tests if a savepoint can be set and used.
///
/// Its use fails where no transaction is open.
async fn is_savepoint_kept(
    conn: &mut <MySql as Database>::Connection,
    savepoint: &str,
    verb: &str,
) -> Result<bool, sqlx::Error> {
    for step in ["SAVEPOINT", verb] {
        let sql = Sql::from(format!("{step} {savepoint}"));
        testing::record(sql.as_str());
        match conn.execute(Statement::<MySql>::plain(&sql)).await {
            Ok(_) => {}
            Err(error) if errors::is_no_savepoint(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
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
    write(Part::Row, &mut values)?;
    write(Part::Key, &mut values)?;
    match link.fetch_written(Statement::cached(&texts.create, values.into_arguments())).await {
        Ok(made) => {
            let made = made.into_iter().next().inspect(|row| link.note_session(row, 1));
            Ok(made.map_or(InsertOutcome::KeyExists, InsertOutcome::Made))
        }
        Err(error) if super::is_unique_violation(&error) => Ok(InsertOutcome::SomethingExists(error)),
        Err(error) if errors::is_mismatch(&error) => Err(cause(link, texts).await),
        Err(error) if errors::is_out_of_range(&error) => {
            check_index(link, texts, ASK_INDEX).await?;
            Err(error)
        }
        Err(error) => Err(merge::explained(link, error).await),
    }
}

/// Returns why a new row is not found by its key.
async fn cause(link: &mut Link<'_, MySql>, texts: &RowStatements) -> sqlx::Error {
    let found = catalogue::causes(link, &texts.others[ASK_CAUSE]).await;
    match found {
        Ok(cause) => errors::mismatch(cause.unwrap_or_else(|| "it is stored with another key".to_owned())),
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
    let kept = Kept::begin(link).await?;
    let outcome = async {
        if !is_pool {
            check_index(kept.link, texts, SAVE_AND_ASK).await?;
        }
        let made = insert_and_read(kept.link, texts, write).await;
        // A pool's transaction is rolled back as a whole.
        if matches!(&made, Err(error) if errors::mismatch_cause(error).is_some()) && !is_pool {
            let undo = Sql::from(format!("ROLLBACK TO SAVEPOINT {}", one_row::ROW_SAVEPOINT));
            kept.link.execute_written(Statement::plain(&undo)).await?;
        }
        made
    };
    let outcome = outcome.await;
    kept.end(outcome).await
}

async fn insert_and_read(
    link: &mut Link<'_, MySql>,
    texts: &RowStatements,
    write: Write<'_, MySql>,
) -> Result<InsertOutcome<MySql>, sqlx::Error> {
    match link.execute_written(statement(&texts.others[CREATE_PLAIN], &mut *write, Part::Row)?).await {
        Ok(_) => {}
        Err(error) if super::is_unique_violation(&error) => return Ok(InsertOutcome::SomethingExists(error)),
        Err(error) => return Err(merge::explained(link, error).await),
    }
    // Given up here, the row would be made and nobody would know.
    let made = link.fetch_written(statement(&texts.find, write, Part::Key)?).await?;
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
    Err(errors::no_unique_index())
}

/// Tests if a unique violation names an index on the key.
async fn blames_key(
    link: &mut Link<'_, MySql>,
    table: &Table,
    key: &Key,
    error: &sqlx::Error,
) -> Result<bool, sqlx::Error> {
    let names = Sql::from(format!("{} {NO_LIMIT}", one_row::unique_index(table, key, "CAST(s.index_name AS CHAR)")));
    for row in link.fetch(Statement::plain(&names)).await? {
        if errors::names_index(error, row.try_get(0)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sends a statement without waiting for its outcome.
///
/// The connection has to be at rest: the first poll sends it then.
fn queue(conn: &mut MySqlConnection, sql: &Sql) {
    drop(conn.execute(Statement::<MySql>::plain(sql)).now_or_never());
}
