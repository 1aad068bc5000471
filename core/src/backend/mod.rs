//! The seam between the operations and the databases.
//!
//! Everything that differs by database is a method of [`Engine`].

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

/// A database that this crate works on.
///
/// These are `sqlx::Sqlite`, `sqlx::Postgres` and `sqlx::MySql`, each with the feature of its name.
///
/// It is implemented here for these databases and cannot be implemented elsewhere; a function generic over the database names it as a
/// bound.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database that upsertable works on",
    label = "expected `sqlx::Sqlite`, `sqlx::Postgres` or `sqlx::MySql`",
    note = "turn on the feature of upsertable that is named after the database: `sqlite`, `postgres` or `mysql`",
    note = "`sqlx::Any` hides which database it talks to, and every statement depends on that: use the pool of the database itself"
)]
pub trait Backend: Engine {}

/// The operations and texts that differ between databases.
///
/// The callers hold the order of the steps; the text and the limits are here.
pub trait Engine: plain::Plain + HasStatementCache {
    /// Collects the values of rows as they are written.
    type Encoder: Default + Send;

    /// Notes that the steps of a bulk call leave each other.
    ///
    /// They are kept on its [`StagingPlan`].
    type StageState: Default + Send + Sync;

    /// Facts about the key, learned from the first row read.
    type Paging: Default + Send + Sync;

    /// A position in the order of the key.
    ///
    /// A page begins or ends there. It holds the values of a key as the database has them, not as Rust makes them.
    type Place: Clone + Send + Sync;

    /// Index of this database's texts in a table's cache.
    const CACHE: usize;

    /// The quotes of names and the form of placeholders.
    const DIALECT: Dialect;

    /// The dialect of statements that are shown to a user.
    const SHOWN: Dialect = Self::DIALECT;

    /// Begins a transaction that will write.
    const BEGIN: &'static str;

    /// Begins a transaction that fills a staging table first.
    ///
    /// It takes no lock on the target meanwhile.
    const BEGIN_STAGING: &'static str;

    /// True if a pooled call stages in its merge's transaction.
    ///
    /// Then a pooler in between may give that transaction any connection to the server.
    const STAGES_IN_TRANSACTION: bool = false;

    /// True if a connection with unfinished work has to be closed.
    ///
    /// Its work was given up half-way. Elsewhere it is rolled back.
    const CLOSE_UNFINISHED: bool;

    /// Attempts that a call on a pool makes before it fails.
    const CALL_TRIES: u32 = TRIES;

    /// Attempts that this error uses up.
    fn tries_spent(_error: &sqlx::Error) -> u32 {
        1
    }

    /// True if an unanswered statement makes its connection unusable.
    ///
    /// It was given up before its answer: driver and server are in the middle of their talk then.
    const BROKEN_WHEN_GIVEN_UP: bool = false;

    /// Returns the statements that begin a transaction with these options.
    ///
    /// The default is that of the SQL standard.
    fn begin(options: &TransactionOptions) -> Begin {
        let isolation = options.isolation.map_or(String::new(), |level| format!(" ISOLATION LEVEL {}", level.name()));
        let read_only = if options.read_only { " READ ONLY" } else { "" };
        Begin { before: None, begin: format!("{}{isolation}{read_only}", Self::BEGIN).into() }
    }

    /// Returns the statements that begin the transaction of a merge.
    ///
    /// A call on a pool merges in it what it has staged.
    fn begin_merge() -> Begin {
        Begin { before: None, begin: Self::BEGIN.into() }
    }

    /// True if a savepoint outside a transaction begins one.
    const SAVEPOINT_BEGINS: bool = false;

    /// Sets a savepoint of the driver's counting on a borrowed connection.
    ///
    /// Dropped half-way, it leaves the transaction around it.
    fn begin_nested(conn: &mut Self::Connection) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        testing::record("SAVEPOINT");
        Box::pin(<Self::TransactionManager as TransactionManager>::begin(conn, None))
    }

    /// Removes the remains of a nested savepoint.
    ///
    /// The driver has released it or rolled back to it before.
    fn clean_nested(_conn: &mut Self::Connection, _rolled_back: bool) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sets a savepoint if a transaction is open.
    ///
    /// Returns whether it did. It is for a transaction that was begun with plain SQL.
    fn save_if_open<'c>(
        conn: &'c mut Self::Connection,
        savepoint: &'static str,
    ) -> BoxFuture<'c, Result<bool, sqlx::Error>>;

    /// Queues a rollback to that savepoint, and its release.
    ///
    /// They run before whatever the connection does next, where the driver can.
    fn queue_rollback_to(_conn: &mut Self::Connection, _savepoint: &'static str) {}

    /// Runs one statement.
    fn run(conn: &mut Self::Connection, statement: Statement<Self>) -> Steps<'_, Self>;

    /// Tests if the error says that a transaction is open already.
    fn is_begun_already(_error: &sqlx::Error) -> bool {
        false
    }

    /// Records the session's state, `behind` columns before a row's end.
    fn note_session(_row: &Self::Row, _behind: usize) {}

    /// Returns true if a session may begin transactions unasked.
    fn begins_unasked() -> bool {
        false
    }

    /// Commits a transaction that the session began by itself.
    ///
    /// Returns whether it is such a session.
    fn end_unasked<'l>(_link: &'l mut Link<'_, Self>) -> BoxFuture<'l, Result<bool, sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Returns the number of rows that a statement changed.
    fn rows_affected(result: &Self::QueryResult) -> u64;

    /// Writes one value.
    fn encode<'q, T: Encode<'q, Self> + Type<Self>>(encoder: &mut Self::Encoder, value: &T) -> Result<(), BoxDynError>;

    /// Writes one value that is compared with a key's column.
    fn encode_key<'q, T: Encode<'q, Self> + Type<Self>>(
        encoder: &mut Self::Encoder,
        value: &T,
    ) -> Result<(), BoxDynError> {
        Self::encode(encoder, value)
    }

    /// Returns the constructor of an encoder for rows to stage.
    ///
    /// The rows have values of these types.
    fn stage_encoder(_types: &[Self::TypeInfo]) -> fn() -> Self::Encoder {
        Self::Encoder::default
    }

    /// Reads one value of a row.
    fn value<T>(row: &Self::Row, index: usize) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, Self> + Type<Self>;

    /// The first value of a row, which is a number.
    fn number(row: &Self::Row) -> Result<i64, sqlx::Error>;

    /// The rules of quoted text in this database's SQL.
    ///
    /// A `?` in quoted text is no placeholder.
    const QUOTING: QuotingRules;

    /// The isolation of a batch's transaction, unless the caller sets it.
    const BATCH_ISOLATION: Option<Isolation> = None;

    /// Returns the locking clause of a batch's SELECT.
    ///
    /// The clause waits for rows that another transaction has locked, or passes them over. Where there is such a lock, it keeps nobody from
    /// inserting rows that refer to them.
    fn lock_rows(_wait: bool) -> &'static str {
        ""
    }

    /// Tests if the error says that locked rows cannot be skipped.
    ///
    /// The server does not know how to pass over them, which is kept in mind.
    fn cannot_skip(_error: &sqlx::Error) -> bool {
        false
    }

    /// Tests if the error says that page locks are impossible.
    ///
    /// The server locks no page of a table's rows at once, as of a sharded table.
    fn cannot_lock_page(_error: &sqlx::Error) -> bool {
        false
    }

    /// Returns the condition for keys on one side of a bound.
    ///
    /// They stand behind it, or not behind it, in the order of `ORDER BY`.
    fn key_bound(table: &Table, key: &Key, first: usize, bound: Bound) -> String {
        Self::DIALECT.key_bound(table, key, first, bound)
    }

    /// Returns the bound of a page, in the order learned.
    ///
    /// A run has learned how the key is sorted. Without that it is [`key_bound`](Self::key_bound).
    fn paging_bound(table: &Table, key: &Key, _paging: Option<&Self::Paging>, first: usize, bound: Bound) -> String {
        Self::key_bound(table, key, first, bound)
    }

    /// Returns the expressions that a page is sorted by.
    fn paging_order(table: &Table, key: &Key, _paging: Option<&Self::Paging>) -> Vec<String> {
        key.columns.iter().map(|&column| Self::DIALECT.name(table.columns[column].name)).collect()
    }

    /// Returns all columns of a model as they are read.
    ///
    /// Each is found by its name.
    fn selected(table: &Table) -> String {
        Self::DIALECT.columns(table, 0..table.columns.len(), "")
    }

    /// Repeats the key that was written last as [`key_bound`](Self::key_bound) needs it.
    fn repeat_bound(_encoder: &mut Self::Encoder, _key: &Key) {}

    /// Returns the first word of a SELECT in key order.
    ///
    /// It reads rows in the order of a key whose fields are of these types.
    fn select_sorted(_key: &Key, _types: &[Self::TypeInfo]) -> String {
        "SELECT".to_owned()
    }

    /// Returns the extra columns of a page, each after a comma.
    ///
    /// They are for [`place`](Self::place), or in the row that is read first for [`paging`](Self::paging).
    fn place_columns(_table: &Table, _key: &Key, _paging: Option<&Self::Paging>) -> String {
        String::new()
    }

    /// Learns about the key from the row that is read first.
    ///
    /// Returns also whether that row has to be read again.
    fn paging(_row: &Self::Row, _table: &Table, _key: &Key) -> Result<(Self::Paging, bool), sqlx::Error> {
        Ok((Self::Paging::default(), false))
    }

    /// Returns the place of a row of a page.
    ///
    /// The row has the key's columns at these positions and the [`place_columns`](Self::place_columns) at its end. `None` if the values
    /// that Rust makes of them are bound again.
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

    /// Returns the bytes that identify a row by its key's values.
    ///
    /// By them a row that is read twice is recognized. `write` writes the values, which are those of the place where there is one.
    fn identity(
        place: Option<&Self::Place>,
        write: impl FnOnce(&mut Self::Encoder) -> Result<(), sqlx::Error>,
    ) -> Result<Vec<u8>, sqlx::Error>;

    /// Turns the collected values into the arguments of a statement.
    fn arguments(encoder: Self::Encoder) -> Self::Arguments;

    /// Returns the effect of an error on the transaction around it.
    fn transaction_effect(error: &sqlx::Error) -> TransactionEffect;

    /// Tests if a COMMIT came after the end of the session.
    ///
    /// The server's answer says that it had ended the session before.
    fn is_farewell(_error: &sqlx::Error) -> bool {
        false
    }

    /// Tests if the error says that the key's index is missing.
    ///
    /// That is the unique index on it.
    fn is_missing_index(error: &sqlx::Error) -> bool;

    /// Returns why the server cannot do this, if it cannot.
    ///
    /// `None` if the error does not say that it cannot.
    fn refusal(_error: &sqlx::Error) -> Option<&'static str> {
        None
    }

    /// Returns why a new row is not found by its key.
    ///
    /// The statement asked for that key. `None` if the error says nothing of it.
    fn key_mismatch(_error: &sqlx::Error) -> Option<Cow<'static, str>> {
        None
    }

    /// Finds what can make a stored key differ from the sent.
    ///
    /// Or what can hide a row from a query. Asked if a row stands in the way that the key does not find. `None` if only a row that was
    /// deleted meanwhile explains it.
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

    /// Returns true while the connection is inside its transaction.
    ///
    /// The database itself is asked.
    fn is_open(conn: &mut Self::Connection) -> BoxFuture<'_, Result<bool, sqlx::Error>>;

    /// The caller's statements that end a transaction.
    const ENDERS: Enders;

    /// Tests if the error says that a savepoint does not exist.
    ///
    /// It may also say that no transaction is open in which it could be.
    fn is_no_savepoint(error: &sqlx::Error) -> bool;

    /// Returns why this database refuses a key, if it does.
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

    /// Finds the row in the way, as the unique index compares.
    ///
    /// It stood in the way of an insert. Used where the index can compare otherwise than the column does.
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

    /// Updates the row in the way, as the unique index compares.
    ///
    /// It stood in the way of an insert. Used where the index can compare otherwise than the column does.
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

    /// Tests if a unique violation is of the key's own index.
    ///
    /// Asked if the row in the way was not found.
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

    /// Returns the statement that makes the key's unique index.
    ///
    /// Used for a table of which nothing is known.
    fn create_unique_index(table: &Table, key: &Key) -> String {
        Self::SHOWN.create_unique_index(table, key)
    }

    /// Returns what gives a key its unique index.
    ///
    /// The catalogue is asked: a table may take no such index, or need more than that.
    fn mend_index<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
    ) -> BoxFuture<'l, Result<Mend, sqlx::Error>>
    where
        Self: Backend;

    /// Updates the row with this key by `update`, and returns it.
    ///
    /// `None` if there is no such row.
    fn update_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowStatements,
        update: &'l Sql,
        write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<Option<Self::Row>, sqlx::Error>>
    where
        Self: Backend;

    /// Fails if the transaction can no longer be committed.
    ///
    /// Used where COMMIT itself does not say so, and asked after a statement has failed in the transaction.
    fn before_commit(_conn: &mut Self::Connection) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Returns the catalogue's description of a table, or `None` without one.
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

    /// Returns how a column fits a field of this type.
    ///
    /// The column has to hold what the field sends, and give what it reads.
    fn fit(_kind: &Self::TypeInfo, _column: &CatalogColumn) -> Fit {
        Fit::Holds
    }

    /// Returns true if the database takes two column names for one.
    fn same_name(one: &str, other: &str) -> bool {
        one.eq_ignore_ascii_case(other)
    }

    /// Returns why a table of this kind takes no writes.
    ///
    /// No call that writes works on it, whatever its columns are. `None` if its kind is fine.
    fn refuse_table<'l>(
        _link: &'l mut Link<'_, Self>,
        _table: &'static Table,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Returns the statement that adds a missing column.
    fn add_column(table: &Table, column: &Column, kind: &Self::TypeInfo) -> Option<String>;

    /// Returns the statement that lets a column be NULL, if any.
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

    /// Creates the rows of a short feed without a staging table.
    ///
    /// Returns how many it created. `None`, with the feed left whole, if they have to be staged.
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

    /// Returns true if [`merge_new`](Self::merge_new) is atomic without a transaction around it.
    fn merges_whole<'l>(
        _link: &'l mut Link<'_, Self>,
        _stage: &'l StagingPlan<Self>,
    ) -> BoxFuture<'l, Result<bool, sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Inserts the staged rows whose key is new, and counts them.
    ///
    /// It is the fast way where nobody asks which rows they were.
    fn merge_new<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
    ) -> BoxFuture<'l, Result<u64, sqlx::Error>>
    where
        Self: Backend;

    /// Inserts the staged rows whose key is new, and marks them.
    ///
    /// Returns how many it inserted.
    fn merge_marked<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
    ) -> BoxFuture<'l, Result<u64, sqlx::Error>>
    where
        Self: Backend;

    /// Updates the rows that were there before [`merge_marked`](Self::merge_marked), and counts them.
    ///
    /// They get the values of the last staged row with their key. A row that the merge has made gets the values of a later staged row with
    /// its key, and is not counted. Where a row was deleted after the merge had found it, the error is [`sqlx::Error::RowNotFound`].
    fn update_existing<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
    ) -> BoxFuture<'l, Result<u64, sqlx::Error>>
    where
        Self: Backend;

    /// Reads the table's row for each staged row, in order.
    ///
    /// The order is that in which they were staged. Its [`Mark`] comes after the model's columns.
    fn read_staged<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
        which: Which,
    ) -> BoxFuture<'l, Result<Vec<Self::Row>, sqlx::Error>>
    where
        Self: Backend;

    /// Finds a row for each of these keys by [`find_many`](Self::find_many).
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

    /// Returns the number of keys that one [`find_many`](Self::find_many) carries.
    fn find_rows(key: &Key) -> usize;

    /// Repeats the last of `keys` keys up to a prepared size.
    ///
    /// Returns the new number of keys, for which a statement is worth keeping prepared. `None` if a statement that runs once costs no more.
    fn pad_keys(_keys: &mut Self::Encoder, _key: &Key, _count: usize) -> Option<usize> {
        None
    }

    /// Returns a statement that finds rows by `keys` keys.
    ///
    /// It finds a row for each, in the order of the keys, with its [`Mark`] after the model's columns.
    fn find_many(table: &Table, key: &Key, keys: usize) -> Sql;

    /// Reads the [`Mark`] after the model's columns.
    fn mark(row: &Self::Row) -> Result<Mark, sqlx::Error>;

    /// Returns the size of the collected values, where the driver tells.
    fn bytes(_encoder: &Self::Encoder) -> usize {
        0
    }

    /// The statement whose plan decides how long a merge takes.
    fn merge_text(stage: &StagingPlan<Self>) -> Sql
    where
        Self: Backend;

    /// Returns the statement that explains the plan of the merge.
    fn explain_merge(stage: &StagingPlan<Self>) -> Sql
    where
        Self: Backend;

    /// Reads one row of the answer to [`explain_merge`](Self::explain_merge).
    fn plan_line(row: &Self::Row) -> Result<String, sqlx::Error>;

    /// Drops the staging table.
    fn close_stage<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
    ) -> BoxFuture<'l, Result<(), sqlx::Error>>
    where
        Self: Backend;

    /// Removes what the rollback of a failed call leaves behind.
    ///
    /// It is left on the call's connection.
    fn clean_undone<'l>(_link: &'l mut Link<'_, Self>) -> BoxFuture<'l, Result<(), sqlx::Error>>
    where
        Self: Backend,
    {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Queues the removal of what outlives a rollback.
    ///
    /// It runs before that rollback, on a borrowed connection, where the driver can.
    fn queue_clean_first(_conn: &mut Self::Connection) {}

    /// Queues the removal of a staging table.
    ///
    /// It runs before whatever the connection does next. Not called where an unfinished connection is closed.
    fn queue_clean(conn: &mut Self::Connection);

    /// Queues the rollback of `levels` nested transactions of the driver's counting.
    ///
    /// It runs before whatever the connection does next.
    fn queue_rollback(conn: &mut Self::Connection, levels: usize) {
        for _ in 0..levels {
            <Self::TransactionManager as TransactionManager>::start_rollback(conn);
        }
    }
}

/// The answers to a statement: rows, then the result.
pub(crate) type Steps<'c, DB> =
    BoxStream<'c, Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, sqlx::Error>>;

/// The statements that begin a transaction.
pub struct Begin {
    /// Runs first, where BEGIN cannot say all.
    pub(crate) before: Option<Sql>,
    pub(crate) begin: Sql,
}

/// The effect of an error on the transaction around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEffect {
    /// The transaction goes on, or can go on from a savepoint.
    Alive,
    /// The transaction can no longer be committed.
    ///
    /// A rollback to a savepoint can save it.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL does so"))]
    Aborted,
    /// The database may have ended it; ask before the next statement.
    Ask,
    /// The database has ended it.
    Ended(EndReason),
}

/// The statements for one row, by one key.
#[derive(Debug)]
pub struct RowStatements {
    /// Reads at most two rows by the key.
    ///
    /// So a duplicate is noticed.
    pub(crate) find: Sql,
    /// Reads the row that stood in the way of `create`.
    pub(crate) reread: Sql,
    /// Inserts the row unless its key is there.
    ///
    /// Returns the row that it made where the database can.
    pub(crate) create: Sql,
    /// Updates the row with this key.
    ///
    /// Returns the row where the database can. `None` if no column may change.
    pub(crate) update: Option<Sql>,
    /// Further statements of the database, numbered in its own module.
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "only MySQL needs more"))]
    pub(crate) others: Vec<Sql>,
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

/// Returns true if the same work may succeed when done again.
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

/// Returns true if a prepared statement is older than its table.
///
/// The table changed after the statement was prepared on this connection. All that is prepared there has to be forgotten before the same
/// work is done again.
pub(crate) fn is_outdated(error: &sqlx::Error) -> bool {
    let answers: &[fn(&dyn DatabaseError) -> bool] = &[
        #[cfg(feature = "postgres")]
        postgres::is_outdated,
    ];
    error.as_database_error().is_some_and(|error| answers.iter().any(|answer| answer(error)))
}

/// Formats a database error without the values of rows.
///
/// The database may have put such values into its words.
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

/// Tests if the error says that a unique index was violated.
pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    let answers: &[fn(&dyn DatabaseError) -> bool] = &[
        DatabaseError::is_unique_violation,
        #[cfg(feature = "postgres")]
        postgres::is_unique_violation,
    ];
    error.as_database_error().is_some_and(|error| answers.iter().any(|answer| answer(error)))
}

/// Returns true if the error says that the connection is gone.
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
