//! The seam between the operations and the databases: everything that differs by database is a method of [`Engine`].

use std::borrow::Cow;

use futures_core::{future::BoxFuture, stream::BoxStream};
use sqlx::{
    Database, Decode, Either, Encode, Type,
    database::HasStatementCache,
    error::{BoxDynError, DatabaseError},
};

use sqlx_core::transaction::TransactionManager;

use crate::{
    connection::handle::Link,
    connection::scope::CallScope,
    error::EndReason,
    operations::bulk::{Failure, RowFeed},
    operations::find::Write,
    retry::TRIES,
    sql::placeholders::QuotingRules,
    sql::table::{Column, Key, Table},
    sql::{Bound, Dialect, Sql, Statement},
    testing,
    transaction::{Enders, Isolation, TransactionOptions},
};

mod catalogue;
#[cfg(feature = "mysql")]
mod mysql;
pub(crate) mod paging;
mod plain;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod staging;

pub(crate) use catalogue::{CatalogColumn, CatalogIndex, CatalogTable, Fit, Mend};
pub(crate) use staging::{Mark, StageError, StagingPlan, Which, account_for};

/// A database that this crate works on: `sqlx::Sqlite`, `sqlx::Postgres` and `sqlx::MySql`, each with the feature of its name.
///
/// It is implemented here for these databases and cannot be implemented elsewhere; a function generic over the database names it as a bound.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database that upsertable works on",
    label = "expected `sqlx::Sqlite`, `sqlx::Postgres` or `sqlx::MySql`",
    note = "turn on the feature of upsertable that is named after the database: `sqlite`, `postgres` or `mysql`",
    note = "`sqlx::Any` hides which database it talks to, and every statement depends on that: use the pool of the database itself"
)]
pub trait Backend: Engine {}

/// What a database does in its own way. Operations hold the order of the steps; the text and the limits are here.
pub trait Engine: plain::Plain + HasStatementCache {
    /// Collects the values of rows as they are written.
    type Encoder: Default + Send;

    /// What the steps of a bulk call note on its staging table for each other.
    type StageState: Default + Send + Sync;

    /// What a run over a table learns of its key from the row that it reads first.
    type Paging: Default + Send + Sync;

    /// Where a page begins or ends: the values of a key as the database has them, not as Rust makes them.
    type Place: Clone + Send + Sync;

    /// Where this database's texts stand in a table's cache.
    const CACHE: usize;

    /// How names and placeholders are written.
    const DIALECT: Dialect;

    /// The same in statements that are shown to a user.
    const SHOWN: Dialect = Self::DIALECT;

    /// Begins a transaction that will write.
    const BEGIN: &'static str;

    /// Begins a transaction that fills a staging table first and takes no lock on the target meanwhile.
    const BEGIN_STAGING: &'static str;

    /// Whether a bulk call on a pool stages and merges its rows in one transaction, so that a pooler between may give that transaction any
    /// connection to the server.
    const STAGES_IN_TRANSACTION: bool = false;

    /// Whether a connection whose work was given up half-way must be closed rather than rolled back.
    const CLOSE_UNFINISHED: bool;

    /// How often a call on a pool does its work before it gives the error back.
    const CALL_TRIES: u32 = TRIES;

    /// How many of these tries one that failed so counts for.
    fn tries_spent(_error: &sqlx::Error) -> u32 {
        1
    }

    /// Whether a statement that is given up before it is answered leaves a connection that nobody can use: driver and server are in the
    /// middle of their talk then.
    const BROKEN_WHEN_GIVEN_UP: bool = false;

    /// How a transaction with these options is begun; by default as in the SQL standard.
    fn begin(options: &TransactionOptions) -> Begin {
        let isolation = options.isolation.map_or(String::new(), |level| format!(" ISOLATION LEVEL {}", level.name()));
        let read_only = if options.read_only { " READ ONLY" } else { "" };
        Begin { before: None, begin: format!("{}{isolation}{read_only}", Self::BEGIN).into() }
    }

    /// How the transaction is begun in which a call on a pool merges what it has staged.
    fn begin_merge() -> Begin {
        Begin { before: None, begin: Self::BEGIN.into() }
    }

    /// Whether a savepoint outside a transaction begins one.
    const SAVEPOINT_BEGINS: bool = false;

    /// Sets a savepoint of the driver's counting on a borrowed connection. Dropped half-way, it leaves the transaction around it.
    fn begin_nested(conn: &mut Self::Connection) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        testing::record("SAVEPOINT");
        Box::pin(<Self::TransactionManager as TransactionManager>::begin(conn, None))
    }

    /// Removes what is left of such a savepoint that the driver has released or rolled back to.
    fn clean_nested(_conn: &mut Self::Connection, _rolled_back: bool) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sets a savepoint of this name if a transaction is open that was begun with plain SQL, and says whether it did.
    fn save_if_open<'c>(
        conn: &'c mut Self::Connection,
        savepoint: &'static str,
    ) -> BoxFuture<'c, Result<bool, sqlx::Error>>;

    /// Puts the rollback to that savepoint, and its release, before whatever the connection does next, where the driver can.
    fn queue_rollback_to(_conn: &mut Self::Connection, _savepoint: &'static str) {}

    /// Runs one statement.
    fn run(conn: &mut Self::Connection, statement: Statement<Self>) -> Steps<'_, Self>;

    /// Whether a transaction could not be begun because one is open.
    fn is_begun_already(_error: &sqlx::Error) -> bool {
        false
    }

    /// Notes the state of the session that a row tells of, `behind` columns before its end.
    fn note_session(_row: &Self::Row, _behind: usize) {}

    /// Whether a session may begin a transaction where nobody asks for one.
    fn begins_unasked() -> bool {
        false
    }

    /// Commits what this session has begun by itself, and says whether it is such a session.
    fn end_unasked<'l>(_link: &'l mut Link<'_, Self>) -> BoxFuture<'l, Result<bool, sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// How many rows a statement changed.
    fn rows_affected(result: &Self::QueryResult) -> u64;

    /// Writes one value.
    fn encode<'q, T: Encode<'q, Self> + Type<Self>>(encoder: &mut Self::Encoder, value: &T) -> Result<(), BoxDynError>;

    /// Writes one value that a column of the key is compared with.
    fn encode_key<'q, T: Encode<'q, Self> + Type<Self>>(
        encoder: &mut Self::Encoder,
        value: &T,
    ) -> Result<(), BoxDynError> {
        Self::encode(encoder, value)
    }

    /// Makes what collects the values of rows of these types that will be staged.
    fn stage_encoder(_types: &[Self::TypeInfo]) -> fn() -> Self::Encoder {
        Self::Encoder::default
    }

    /// Reads one value of a row.
    fn value<T>(row: &Self::Row, index: usize) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, Self> + Type<Self>;

    /// The first value of a row, which is a number.
    fn number(row: &Self::Row) -> Result<i64, sqlx::Error>;

    /// How quoted text is written, in which a `?` is no placeholder.
    const QUOTING: QuotingRules;

    /// The isolation of a batch's transaction, where the caller says none.
    const BATCH_ISOLATION: Option<Isolation> = None;

    /// What stands behind a SELECT that takes the rows of a batch: it waits for rows that another transaction has locked, or passes them over.
    /// Where there is such a lock, it keeps nobody from inserting rows that refer to them.
    fn lock_rows(_wait: bool) -> &'static str {
        ""
    }

    /// Whether a statement failed because the server does not know how to pass over locked rows, which is kept in mind.
    fn cannot_skip(_error: &sqlx::Error) -> bool {
        false
    }

    /// Whether a statement failed because the server locks no page of a table's rows at once, as of a sharded table.
    fn cannot_lock_page(_error: &sqlx::Error) -> bool {
        false
    }

    /// The key's columns stand behind a bound, or not behind it, in the order of `ORDER BY`.
    fn key_bound(table: &Table, key: &Key, first: usize, bound: Bound) -> String {
        Self::DIALECT.key_bound(table, key, first, bound)
    }

    /// The same where a run has learned how the key is sorted.
    fn paging_bound(table: &Table, key: &Key, _paging: Option<&Self::Paging>, first: usize, bound: Bound) -> String {
        Self::key_bound(table, key, first, bound)
    }

    /// What the rows of a page are sorted by.
    fn paging_order(table: &Table, key: &Key, _paging: Option<&Self::Paging>) -> Vec<String> {
        key.columns.iter().map(|&column| Self::DIALECT.name(table.columns[column].name)).collect()
    }

    /// All columns of a model as they are read, so that each is found by its name.
    fn selected(table: &Table) -> String {
        Self::DIALECT.columns(table, 0..table.columns.len(), "")
    }

    /// Repeats the key that was written last as [`key_bound`](Self::key_bound) needs it.
    fn repeat_bound(_encoder: &mut Self::Encoder, _key: &Key) {}

    /// The first word of a statement that reads rows in the order of a key whose fields are of these types.
    fn select_sorted(_key: &Key, _types: &[Self::TypeInfo]) -> String {
        "SELECT".to_owned()
    }

    /// What is read behind the columns of a page's rows, each behind a comma: for [`place`](Self::place), or of the row that is read first, for
    /// [`paging`](Self::paging).
    fn place_columns(_table: &Table, _key: &Key, _paging: Option<&Self::Paging>) -> String {
        String::new()
    }

    /// Learns of the key from the row that is read first, and says whether it has to be read again.
    fn paging(_row: &Self::Row, _table: &Table, _key: &Key) -> Result<(Self::Paging, bool), sqlx::Error> {
        Ok((Self::Paging::default(), false))
    }

    /// The place of a row of a page that has the key's columns at these positions and the [`place_columns`](Self::place_columns) at its end.
    /// Nothing where what Rust makes of the values is bound again.
    fn place(
        _row: &Self::Row,
        _key: &Key,
        _positions: &[usize],
        _types: &[Self::TypeInfo],
        _paging: &Self::Paging,
    ) -> Result<Option<Self::Place>, sqlx::Error> {
        Ok(None)
    }

    /// Writes the values of a place.
    fn put_place(_encoder: &mut Self::Encoder, _place: &Self::Place) {}

    /// The bytes of a key's values, by which a row that is read twice is known again. `write` writes the values, which are those of the place
    /// where there is one.
    fn identity(
        place: Option<&Self::Place>,
        write: impl FnOnce(&mut Self::Encoder) -> Result<(), sqlx::Error>,
    ) -> Result<Vec<u8>, sqlx::Error>;

    /// The collected values, to be bound to a statement.
    fn arguments(encoder: Self::Encoder) -> Self::Arguments;

    /// What an error means for the transaction that it happened in.
    fn transaction_effect(error: &sqlx::Error) -> TransactionEffect;

    /// Whether the answer to a COMMIT says that the server had ended the session before it.
    fn is_farewell(_error: &sqlx::Error) -> bool {
        false
    }

    /// Whether a statement failed because there is no unique index on the key.
    fn is_missing_index(error: &sqlx::Error) -> bool;

    /// Why the server cannot do what was asked, if this error says that it cannot.
    fn refusal(_error: &sqlx::Error) -> Option<&'static str> {
        None
    }

    /// Why the row that a statement made is not found by the key that it was asked for, if this error says so.
    fn key_mismatch(_error: &sqlx::Error) -> Option<Cow<'static, str>> {
        None
    }

    /// What a table has that can store a key otherwise than it was sent, or hide a row from a query: asked where a row stands in the way that
    /// the key does not find. Nothing where only a row that was deleted meanwhile explains it.
    fn mismatch_cause<'l>(
        _link: &'l mut Link<'_, Self>,
        _table: &'static Table,
        _key: &'static Key,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Whether the connection is still inside its transaction, asked of the database itself.
    fn is_open(conn: &mut Self::Connection) -> BoxFuture<'_, Result<bool, sqlx::Error>>;

    /// The caller's statements that end a transaction.
    const ENDERS: Enders;

    /// Whether an error says that a savepoint is not there, or that no transaction is open in which it could be.
    fn is_no_savepoint(error: &sqlx::Error) -> bool;

    /// Why a key cannot be used on this database, if it cannot.
    fn refuse_key(key: &Key) -> Option<&'static str>;

    /// The statements for one row, by one key.
    fn row_statements(table: &Table, key: &Key) -> RowStatements;

    /// Inserts a row unless its key is there.
    fn create_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<InsertOutcome<Self>, sqlx::Error>>
    where
        Self: Backend;

    /// Finds the row that stood in the way of an insert as the unique index compares, where that can differ from how the column does.
    fn find_as_index<'l>(
        _link: &'l mut Link<'_, Self>,
        _table: &'static Table,
        _key: &'static Key,
        _write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<Option<Self::Row>, sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Gives the row new values that stood in the way of an insert as the unique index compares, where that can differ from how the column
    /// does.
    fn update_as_index<'l>(
        _link: &'l mut Link<'_, Self>,
        _table: &'static Table,
        _key: &'static Key,
        _write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<Option<Self::Row>, sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Whether a unique violation is one of the key's own index, asked where the row in the way was not found.
    fn blames_key<'l>(
        _link: &'l mut Link<'_, Self>,
        _table: &'static Table,
        _key: &'static Key,
        _error: &'l sqlx::Error,
    ) -> BoxFuture<'l, Result<bool, sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// The statement that makes the unique index which a key needs, of a table of which nothing is known.
    fn create_unique_index(table: &Table, key: &Key) -> String {
        Self::SHOWN.create_unique_index(table, key)
    }

    /// What gives a key its unique index, asked of the catalogue: a table may take no such index, or need more than that.
    fn mend_index<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
    ) -> BoxFuture<'l, Result<Mend, sqlx::Error>>
    where
        Self: Backend;

    /// Gives the row with this key new values by `update`, and gives it back, if it is there.
    fn update_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        update: &'l Sql,
        write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<Option<Self::Row>, sqlx::Error>>
    where
        Self: Backend;

    /// Fails where the transaction can no longer be committed and COMMIT itself does not say so. Asked where a statement has failed in it.
    fn before_commit(_conn: &mut Self::Connection) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// What the database says of a table, or `None` where there is none.
    fn inspect<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
    ) -> BoxFuture<'l, Result<Option<CatalogTable>, sqlx::Error>>
    where
        Self: Backend,
    {
        let _ = (link, table);
        let missing = "verify does not know this database's catalogue yet";
        Box::pin(std::future::ready(Err(sqlx::Error::Configuration(missing.into()))))
    }

    /// Whether a column can hold what a field of this type sends, and gives what it reads.
    fn fit(_kind: &Self::TypeInfo, _column: &CatalogColumn) -> Fit {
        Fit::Holds
    }

    /// Whether the database takes two names of columns for one.
    fn same_name(one: &str, other: &str) -> bool {
        one.eq_ignore_ascii_case(other)
    }

    /// Why no call that writes works on a table whatever its columns are, if it is of such a kind.
    fn refuse_table<'l>(
        _link: &'l mut Link<'_, Self>,
        _table: &'static Table,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The statement that adds a column which is missing.
    fn add_column(table: &Table, column: &Column, kind: &Self::TypeInfo) -> Option<String>;

    /// The statement that lets a column be NULL, where there is one.
    fn allow_null<'l>(
        _link: &'l mut Link<'_, Self>,
        table: &'static Table,
        column: &'static Column,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>>
    where
        Self: Backend,
    {
        let _ = (table, column);
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Creates the rows of a feed that is short at once, without a staging table, and counts them. Gives nothing, and leaves the feed whole,
    /// where they have to be staged.
    fn insert_few<'l>(
        _unit: &'l mut CallScope<'_, Self>,
        _stage: &'l StagingPlan<Self>,
        _feed: &'l mut RowFeed<'_, Self>,
    ) -> BoxFuture<'l, Result<Option<u64>, Failure>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Looks for the key's unique index and makes the staging table.
    fn open_stage<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
    ) -> BoxFuture<'l, Result<(), StageError>>
    where
        Self: Backend;

    /// Sends all rows of the feed to the staging table.
    fn fill_stage<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> BoxFuture<'l, Result<(), Failure>>
    where
        Self: Backend;

    /// Whether [`merge_new`](Self::merge_new) does all or nothing without a transaction around it.
    fn merges_whole<'l>(
        _link: &'l mut Link<'_, Self>,
        _stage: &'l StagingPlan<Self>,
    ) -> BoxFuture<'l, Result<bool, sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Inserts the staged rows whose key is not there yet, and counts them: the fast way where nobody asks which rows they were.
    fn merge_new<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
    ) -> BoxFuture<'l, Result<u64, sqlx::Error>>
    where
        Self: Backend;

    /// The same, and marks the staged rows that were inserted.
    fn merge_marked<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
    ) -> BoxFuture<'l, Result<u64, sqlx::Error>>
    where
        Self: Backend;

    /// Gives the rows that were there before [`merge_marked`](Self::merge_marked) the values of the last staged row with their key, and
    /// counts them. A row that the merge has made gets the values of a later staged row with its key, and is not counted. Where a row was
    /// deleted after the merge had found it, the error is [`sqlx::Error::RowNotFound`].
    fn update_existing<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
    ) -> BoxFuture<'l, Result<u64, sqlx::Error>>
    where
        Self: Backend;

    /// Reads the table's row for each staged row, in the order staged, with its [`Mark`] behind the model's columns.
    fn read_staged<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
        which: Which,
    ) -> BoxFuture<'l, Result<Vec<Self::Row>, sqlx::Error>>
    where
        Self: Backend;

    /// Finds a row for each of so many keys by [`find_many`](Self::find_many).
    fn find_keys<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        keys: usize,
        values: Self::Encoder,
    ) -> BoxFuture<'l, Result<Vec<Self::Row>, sqlx::Error>>
    where
        Self: Backend,
    {
        let mut values = values;
        let asked = Self::pad_keys(&mut values, key, keys);
        let sql = Self::find_many(table, key, asked.unwrap_or(keys));
        let find = match asked {
            Some(_) => Statement::cached(&sql, Self::arguments(values)),
            None => Statement::once(&sql, Self::arguments(values)),
        };
        Box::pin(async move {
            let mut rows = link.fetch(find).await?;
            if rows.len() == asked.unwrap_or(keys) {
                rows.truncate(keys);
            }
            Ok(rows)
        })
    }

    /// How many keys one [`find_many`](Self::find_many) carries.
    fn find_rows(key: &Key) -> usize;

    /// Writes the last of `keys` keys again until there are as many as some statement carries that is worth keeping prepared, and says how
    /// many these are. Nothing where a statement that runs once costs no more.
    fn pad_keys(_keys: &mut Self::Encoder, _key: &Key, _count: usize) -> Option<usize> {
        None
    }

    /// A statement that finds a row for each of `keys` keys, in their order, with its [`Mark`] behind the model's columns.
    fn find_many(table: &Table, key: &Key, keys: usize) -> Sql;

    /// What stands behind the model's columns.
    fn mark(row: &Self::Row) -> Result<Mark, sqlx::Error>;

    /// How many bytes the collected values are, where the driver tells.
    fn bytes(_encoder: &Self::Encoder) -> usize {
        0
    }

    /// The statement whose plan decides how long a merge takes.
    fn merge_text(stage: &StagingPlan<Self>) -> Sql
    where
        Self: Backend;

    /// Asks how it would be run.
    fn explain_merge(stage: &StagingPlan<Self>) -> Sql
    where
        Self: Backend;

    /// A row of the answer to [`explain_merge`](Self::explain_merge).
    fn plan_line(row: &Self::Row) -> Result<String, sqlx::Error>;

    /// Drops the staging table.
    fn close_stage<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
    ) -> BoxFuture<'l, Result<(), sqlx::Error>>
    where
        Self: Backend;

    /// Removes what the rollback of a failed call leaves on its connection.
    fn clean_undone<'l>(_link: &'l mut Link<'_, Self>) -> BoxFuture<'l, Result<(), sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Puts the removal of what outlives a rollback before that rollback, on a borrowed connection, where the driver can.
    fn queue_clean_first(_conn: &mut Self::Connection) {}

    /// Puts the removal of a staging table before whatever the connection does next. Not called where an unfinished connection is closed.
    fn queue_clean(conn: &mut Self::Connection);

    /// Puts the rollback of `levels` nested transactions of the driver's counting before whatever the connection does next.
    fn queue_rollback(conn: &mut Self::Connection, levels: usize) {
        for _ in 0..levels {
            <Self::TransactionManager as TransactionManager>::start_rollback(conn);
        }
    }
}

/// What a statement gives: rows, and the result at its end.
pub(crate) type Steps<'c, DB> =
    BoxStream<'c, Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, sqlx::Error>>;

/// The statements that begin a transaction.
pub struct Begin {
    /// Runs first, where BEGIN cannot say all.
    pub(crate) before: Option<Sql>,
    pub(crate) begin: Sql,
}

/// What an error does to the transaction that it happened in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEffect {
    /// The transaction goes on, or can go on from a savepoint.
    Alive,
    /// It cannot be committed any more, unless a rollback to a savepoint saves it.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL does so"))]
    Aborted,
    /// The database may have ended it: ask before the next statement.
    Ask,
    /// The database has ended it.
    Ended(EndReason),
}

/// The statements for one row, by one key.
#[derive(Debug)]
pub struct RowStatements {
    /// Reads at most two rows by the key, so that a duplicate is noticed.
    pub(crate) find: Sql,
    /// Reads the row that stood in the way of `create`.
    pub(crate) reread: Sql,
    /// Inserts the row unless its key is there, and gives back the row that it made where the database can.
    pub(crate) create: Sql,
    /// Gives the row with this key new values, and gives it back where the database can. Nothing where no column may change.
    pub(crate) update: Option<Sql>,
    /// What else the database needs: see its own module.
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "only MySQL needs more"))]
    pub(crate) others: Vec<Sql>,
}

/// What became of an insert.
pub enum InsertOutcome<DB: Database> {
    /// It made this row.
    Made(DB::Row),
    /// A row with the key is there.
    KeyExists,
    /// A row is there that has the same value in some unique index; the database did not say in which.
    SomethingExists(sqlx::Error),
}

/// Whether the error says that the same work may succeed when it is done again.
pub(crate) fn is_retryable(error: &sqlx::Error) -> bool {
    let answers: &[fn(&dyn DatabaseError) -> bool] = &[
        #[cfg(feature = "mysql")]
        mysql::is_retryable,
        #[cfg(feature = "postgres")]
        postgres::is_retryable,
        #[cfg(feature = "sqlite")]
        sqlite::is_retryable,
    ];
    error.as_database_error().is_some_and(|error| answers.iter().any(|answer| answer(error)))
}

/// Whether the error says that a statement was prepared on this connection before its table changed. All that is prepared there has to be
/// forgotten before the same work is done again.
pub(crate) fn is_outdated(error: &sqlx::Error) -> bool {
    let answers: &[fn(&dyn DatabaseError) -> bool] = &[
        #[cfg(feature = "postgres")]
        postgres::is_outdated,
    ];
    error.as_database_error().is_some_and(|error| answers.iter().any(|answer| answer(error)))
}

/// What the database says of an error, without the values of rows that it may have put into its words.
pub(crate) fn told(error: &dyn DatabaseError) -> Cow<'_, str> {
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref() {
        return mysql::told(error);
    }
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref() {
        return postgres::told(error);
    }
    #[cfg(feature = "sqlite")]
    if let Some(error) = error.try_downcast_ref() {
        return sqlite::told(error);
    }
    error.code().map_or("an error".into(), |code| format!("an error with code {code}").into())
}

/// Whether the error says that a unique index refused a row.
pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    let answers: &[fn(&dyn DatabaseError) -> bool] = &[
        DatabaseError::is_unique_violation,
        #[cfg(feature = "postgres")]
        postgres::is_unique_violation,
    ];
    error.as_database_error().is_some_and(|error| answers.iter().any(|answer| answer(error)))
}

/// Whether the error says that the connection is gone.
pub(crate) fn is_connection_lost(error: &sqlx::Error) -> bool {
    let answers: &[fn(&dyn DatabaseError) -> bool] = &[
        #[cfg(feature = "mysql")]
        mysql::is_connection_lost,
        #[cfg(feature = "postgres")]
        postgres::is_connection_lost,
    ];
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed)
        || error.as_database_error().is_some_and(|error| answers.iter().any(|answer| answer(error)))
}
