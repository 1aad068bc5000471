//! PostgreSQL: its text, its limits and its errors.

use std::borrow::Cow;

use futures_core::future::BoxFuture;
use sqlx::{
    Arguments as _, Connection as _, Decode, Encode, Executor as _, PgConnection, Postgres, Row as _, Type,
    TypeInfo as _,
    error::{BoxDynError, DatabaseError},
    postgres::{PgArguments, PgDatabaseError, PgQueryResult, PgRow, PgSeverity, PgTypeInfo},
};

mod attempt;
mod catalogue;
mod encoding;
mod insert_few;
mod key_index;
mod load;
mod merge;
mod one_row;
mod planner;
mod session;
mod staging;
mod told;

use super::{
    Backend, CatalogColumn, CatalogTable, Engine, Fit, InsertOutcome, Mark, Mend, RowStatements, StageError, Steps,
    TransactionEffect, Which,
};
use crate::{
    connection::handle::Link,
    connection::scope::CallScope,
    operations::bulk::{Failure, RowFeed},
    operations::find::{Part, Write, statement},
    sql::placeholders::QuotingRules,
    sql::table::{Column, Key, Table},
    sql::{Bound, Dialect, Sql, Statement},
    transaction::Enders,
};
use attempt::Attempt;
use encoding::Encoder;
use planner::{JoinSettings, Of};
pub(super) use told::told;

type StagingPlan = super::StagingPlan<Postgres>;

const DIALECT: Dialect = Dialect { quote: '"', numbered: true };

/// Keys of one statement.
///
/// Each is a row of placeholders, which the server has to read.
const FIND_ROWS: usize = 5_000;
const MAX_BINDS: usize = 65_535;

/// The most keys whose statement is kept prepared.
///
/// There is one for each power of two.
const PREPARED_KEYS: usize = 512;

const BEGIN_STAGING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Begins a transaction, and fails in one that has written.
///
/// It fails where a transaction is open already that has written something: its user has given the connection back without an end, and the
/// COMMIT would be theirs too.
const BEGIN_ALONE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
    SELECT CAST(CASE WHEN pg_catalog.txid_current_if_assigned() IS NULL THEN '1' ELSE 'upsertable: a transaction is open' END AS pg_catalog.int4)";

impl Backend for Postgres {}

impl Engine for Postgres {
    type Encoder = Encoder;
    type StageState = planner::StageState;
    type Paging = ();
    type Place = ();

    const CACHE: usize = 1;
    const DIALECT: Dialect = DIALECT;
    const BEGIN: &'static str = "BEGIN";
    // At any other level only a new transaction helps a merge that has lost, and what is staged would be gone with the old one.
    const BEGIN_STAGING: &'static str = BEGIN_ALONE;
    const STAGES_IN_TRANSACTION: bool = true;

    // A COPY that is dropped half-way leaves answers of the server's that the driver does not expect.
    const CLOSE_UNFINISHED: bool = true;

    fn run(conn: &mut PgConnection, statement: Statement<Self>) -> Steps<'_, Self> {
        conn.fetch_many(statement)
    }

    fn rows_affected(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }

    fn encode<'q, T: Encode<'q, Self> + Type<Self>>(encoder: &mut Encoder, value: &T) -> Result<(), BoxDynError> {
        encoder.add(value)
    }

    fn encode_key<'q, T: Encode<'q, Self> + Type<Self>>(encoder: &mut Encoder, value: &T) -> Result<(), BoxDynError> {
        encoder.add_key(value)
    }

    fn stage_encoder(types: &[PgTypeInfo]) -> fn() -> Encoder {
        if load::are_fields(types) { Encoder::fields } else { Encoder::default }
    }

    fn value<T>(row: &PgRow, index: usize) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, Self> + Type<Self>,
    {
        row.try_get(index)
    }

    fn number(row: &PgRow) -> Result<i64, sqlx::Error> {
        row.try_get(0)
    }

    const QUOTING: QuotingRules = QuotingRules {
        dollars: true,
        escape_prefix: true,
        nested_comments: true,
        exact_names: true,
        ..QuotingRules::STANDARD
    };

    fn lock_rows(wait: bool) -> &'static str {
        // FOR UPDATE would make others wait who insert rows that refer to these.
        if wait { " FOR NO KEY UPDATE" } else { " FOR NO KEY UPDATE SKIP LOCKED" }
    }

    fn cannot_lock_page(error: &sqlx::Error) -> bool {
        database_error(error).is_some_and(|error| error.code() == "0A000")
    }

    fn key_bound(table: &Table, key: &Key, first: usize, bound: Bound) -> String {
        one_row::key_bound(table, key, first, bound)
    }

    fn identity(
        _: Option<&()>,
        write: impl FnOnce(&mut Encoder) -> Result<(), sqlx::Error>,
    ) -> Result<Vec<u8>, sqlx::Error> {
        let mut encoder = Encoder::fields();
        write(&mut encoder)?;
        Ok(encoder.into_fields())
    }

    fn arguments(encoder: Encoder) -> PgArguments {
        encoder.arguments()
    }

    fn transaction_effect(error: &sqlx::Error) -> TransactionEffect {
        if error.as_database_error().is_some() { TransactionEffect::Aborted } else { TransactionEffect::Alive }
    }

    // What ends a session while a COMMIT is kept is held back until that is done, and then told to nobody.
    fn is_farewell(error: &sqlx::Error) -> bool {
        database_error(error).is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal))
    }

    fn is_begun_already(error: &sqlx::Error) -> bool {
        database_error(error).is_some_and(|error| match error.code() {
            "22P02" => error.message().contains("upsertable: a transaction is open"),
            // The level can no longer be set.
            "25001" => true,
            _ => false,
        })
    }

    fn is_missing_index(error: &sqlx::Error) -> bool {
        database_error(error).is_some_and(|error| match error.code() {
            "42P10" => true,
            // The only index on the key is one that is checked late.
            "55000" => error.routine() == Some("ExecCheckIndexConstraints"),
            "22P02" => error.message().contains(key_index::MISSING),
            _ => false,
        })
    }

    fn refusal(error: &sqlx::Error) -> Option<&'static str> {
        let error = database_error(error)?;
        match error.code() {
            "25006" => Some(
                "the transaction is read-only: default_transaction_read_only is on, the caller has begun it so, or the server is a standby",
            ),
            "42501" if error.routine() == Some("check_enable_rls") => {
                Some("row_security is off, and a policy of row-level security would hide rows from this user")
            }
            "22P02" if error.message().contains(key_index::TOO_OLD) => {
                Some("a key with `nulls_not_distinct` needs PostgreSQL 15 or later")
            }
            _ => None,
        }
    }

    fn key_mismatch(error: &sqlx::Error) -> Option<Cow<'static, str>> {
        let is_so = |error: &PgDatabaseError| error.code() == "22P02" && error.message().contains(one_row::OTHER_KEY);
        database_error(error).is_some_and(is_so).then_some("a trigger or the column's type has changed it".into())
    }

    fn mismatch_cause<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>> {
        Box::pin(async move {
            let rows = link.fetch(Statement::plain(&key_index::mismatch_cause(table, key))).await?;
            rows.first().map_or(Ok(None), |row| row.try_get(0))
        })
    }

    const ENDERS: Enders = Enders::Only(&["COMMIT", "END", "ROLLBACK", "ABORT", "BEGIN", "START", "PREPARE"]);

    fn is_no_savepoint(error: &sqlx::Error) -> bool {
        database_error(error).is_some_and(|error| matches!(error.code(), "25P01" | "3B001"))
    }

    fn is_open(conn: &mut PgConnection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            let probe =
                Statement::<Self>::plain(&"SAVEPOINT upsertable_probe; RELEASE SAVEPOINT upsertable_probe".into());
            match conn.execute(probe).await {
                Ok(_) => Ok(true),
                Err(error) => match database_error(&error).map(PgDatabaseError::code) {
                    Some("25P01") => Ok(false),
                    // Open, though nothing but a rollback runs there.
                    Some("25P02") => Ok(true),
                    _ => Err(error),
                },
            }
        })
    }

    // A SAVEPOINT would tell too, by an error that each call outside a transaction would leave in the server's log. A setting that lasts
    // until the end of the transaction is gone at once where there is none.
    fn save_if_open<'c>(
        conn: &'c mut PgConnection,
        savepoint: &'static str,
    ) -> BoxFuture<'c, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            let mut link = Link::<Self>::bare(conn);
            link.execute(Statement::plain(&"SELECT pg_catalog.set_config('upsertable.open', 'yes', true)".into()))
                .await?;
            let ask = Statement::plain(&"SELECT pg_catalog.current_setting('upsertable.open', true) = 'yes'".into());
            let answer = link.fetch(ask).await?;
            let open = answer.first().map_or(Ok(None), |row| row.try_get::<Option<bool>, _>(0))?.unwrap_or_default();
            if open {
                link.execute(Statement::plain(&format!("SAVEPOINT {savepoint}").into())).await?;
            }
            Ok(open)
        })
    }

    fn queue_rollback_to(conn: &mut PgConnection, savepoint: &'static str) {
        session::queue_rollback_to(conn, savepoint);
    }

    fn begin_nested(conn: &mut PgConnection) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(session::begin(conn))
    }

    fn clean_nested(conn: &mut PgConnection, rolled_back: bool) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(session::clean(conn, rolled_back))
    }

    fn refuse_key(_: &Key) -> Option<&'static str> {
        None
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
            let mut values = Encoder::default();
            write(Part::Row, &mut values)?;
            write(Part::Key, &mut values)?;
            match attempt(link, Statement::cached(&texts.create, values.arguments())).await {
                // Another writer of the same row may have been in another index first: the server looks only into the key's again.
                Err(error) if super::is_unique_violation(&error) && goes_on(link).await => {
                    Ok(InsertOutcome::SomethingExists(error))
                }
                made => Ok(made?.map_or(InsertOutcome::KeyExists, InsertOutcome::Made)),
            }
        })
    }

    // The server finds a name that is free: an index that does not count may have the one that would be given here.
    fn create_unique_index(table: &Table, key: &Key) -> String {
        let columns = DIALECT.columns(table, key.columns.iter().copied(), "");
        let nulls = if key.nulls_not_distinct { " NULLS NOT DISTINCT" } else { "" };
        format!("CREATE UNIQUE INDEX ON {} ({columns}){nulls}", DIALECT.table(table))
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
        _: &'l RowStatements,
        update: &'l Sql,
        write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<Option<PgRow>, sqlx::Error>> {
        Box::pin(async move { attempt(link, statement(update, write, Part::Update)?).await })
    }

    // COMMIT of a transaction in which a statement has failed is answered with ROLLBACK, and the driver calls that a success. Any other
    // statement is refused there.
    fn before_commit(conn: &mut PgConnection) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async move { conn.execute(Statement::<Self>::plain(&"SELECT 1".into())).await.map(drop) })
    }

    fn inspect<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
    ) -> BoxFuture<'l, Result<Option<CatalogTable>, sqlx::Error>> {
        Box::pin(catalogue::inspect(link, table))
    }

    fn fit(kind: &PgTypeInfo, column: &CatalogColumn) -> Fit {
        catalogue::fit(kind, &column.kind)
    }

    fn same_name(one: &str, other: &str) -> bool {
        one == other
    }

    fn refuse_table<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>> {
        Box::pin(catalogue::refuse_table(link, table))
    }

    fn add_column(table: &Table, column: &Column, kind: &PgTypeInfo) -> Option<String> {
        catalogue::add_column(table, column, kind)
    }

    fn allow_null<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        column: &'static Column,
    ) -> BoxFuture<'l, Result<Option<String>, sqlx::Error>> {
        Box::pin(catalogue::allow_null(link, table, column))
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
            let types = staged_types(link, stage).await?;
            link.fetch(Statement::plain(&staging::open(stage, &types))).await?;
            Ok(())
        })
    }

    fn fill_stage<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> BoxFuture<'l, Result<(), Failure>> {
        Box::pin(load::fill(link, stage, feed))
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
    ) -> BoxFuture<'l, Result<Vec<PgRow>, sqlx::Error>> {
        // Not as plain text: then the rows would come as text too, which not every type can be read from.
        let read = Statement::once(&staging::read_staged(stage, which), PgArguments::default());
        Box::pin(async move {
            know_types(link, stage.table, stage.key).await?;
            let joins = JoinSettings::choose(link, stage, Of::Marks).await?;
            let rows = link.fetch(read).await?;
            joins.restore(link).await?;
            Ok(rows)
        })
    }

    // A text in a list of rows is a `text`, and has to be made what the column is to compare as the column does.
    fn find_keys<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
        keys: usize,
        values: Encoder,
    ) -> BoxFuture<'l, Result<Vec<PgRow>, sqlx::Error>> {
        Box::pin(async move {
            let texts = if values.has_key_text() { text_columns(link, table).await? } else { Vec::new() };
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
                let find = Statement::cached(&one_row::find_many(table, key, padded, &casts), values);
                let mut rows = link.fetch(find).await?;
                if rows.len() == padded {
                    rows.truncate(keys);
                }
                return Ok(rows);
            }
            let mut pinned = Attempt::pinned(link).await?;
            let find = Statement::once(&one_row::find_many(table, key, keys, &casts), values);
            let rows = pinned.link().fetch(find).await;
            pinned.end(rows).await
        })
    }

    fn find_rows(key: &Key) -> usize {
        (MAX_BINDS / key.columns.len().max(1)).clamp(1, FIND_ROWS)
    }

    fn find_many(table: &Table, key: &Key, keys: usize) -> Sql {
        one_row::find_many(table, key, keys, &[])
    }

    fn mark(row: &PgRow) -> Result<Mark, sqlx::Error> {
        let behind = row.len().saturating_sub(3);
        Ok(Mark { number: row.try_get(behind)?, found: row.try_get(behind + 1)?, created: row.try_get(behind + 2)? })
    }

    fn bytes(encoder: &Encoder) -> usize {
        encoder.bytes()
    }

    fn merge_text(stage: &StagingPlan) -> Sql {
        staging::insert_new(stage).into()
    }

    fn explain_merge(stage: &StagingPlan) -> Sql {
        planner::explain(stage)
    }

    fn plan_line(row: &PgRow) -> Result<String, sqlx::Error> {
        row.try_get(0)
    }

    fn close_stage<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> BoxFuture<'l, Result<(), sqlx::Error>> {
        Box::pin(async move { link.execute(Statement::plain(&staging::close(stage))).await.map(drop) })
    }

    // An unfinished connection is closed.
    fn queue_clean(_: &mut PgConnection) {}

    fn queue_rollback(conn: &mut PgConnection, levels: usize) {
        session::queue_rollback(conn, levels);
    }
}

/// Lets the driver learn the types of the table's columns.
///
/// It would ask between the two messages of a statement that runs once, and the server has forgotten the first then (error 26000).
async fn know_types(link: &mut Link<'_, Postgres>, table: &Table, key: &Key) -> Result<(), sqlx::Error> {
    let prepared = link.raw().prepare(one_row::find(table, key).text()).await.map(drop);
    link.track_result(prepared)
}

/// Runs a statement whose failure a transaction outlives.
///
/// It gives one row at most.
async fn attempt(link: &mut Link<'_, Postgres>, statement: Statement<Postgres>) -> Result<Option<PgRow>, sqlx::Error> {
    let mut attempt = Attempt::begin(link).await?;
    let outcome = attempt.link().fetch(statement).await;
    Ok(attempt.end(outcome).await?.into_iter().next())
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

/// Returns the declared types of the staged columns.
///
/// Each is the type of what is sent. Texts of the key, which compare as the target's column does, and what has no name here have the
/// target's own type; of a domain it is its base type.
async fn staged_types(link: &mut Link<'_, Postgres>, stage: &StagingPlan) -> Result<Vec<String>, sqlx::Error> {
    let mut types: Vec<String> = stage.types.iter().map(|kind| staging::type_name(kind).to_owned()).collect();
    let texts: Vec<usize> = key_texts(stage).collect();
    let columns = stage.columns.iter().zip(&stage.types).enumerate();
    let wanted: Vec<(usize, &str, Option<&str>)> = columns
        .filter(|(position, (_, kind))| texts.contains(position) || !load::is_everywhere(kind))
        .map(|(position, (&column, kind))| {
            let like_target = texts.contains(&position) || kind.name() == "?";
            (position, stage.table.columns[column].name, (!like_target).then(|| staging::type_name(kind)))
        })
        .collect();
    if wanted.is_empty() {
        return Ok(types);
    }
    for row in link.fetch(Statement::plain(&key_index::staged_types(stage.table, &wanted))).await? {
        let (position, declared): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        if let Some(kind) = usize::try_from(position).ok().and_then(|position| types.get_mut(position)) {
            *kind = declared;
        }
    }
    Ok(types)
}

/// Returns the positions of the key's texts among the staged columns.
fn key_texts(stage: &StagingPlan) -> impl Iterator<Item = usize> {
    stage.key_positions().filter(|&position| encoding::is_text(&stage.types[position]))
}

/// Tests if the key's values compare as they are sent.
///
/// They compare with each other as the columns do, without being made what the columns are.
async fn compares_as_sent(link: &mut Link<'_, Postgres>, stage: &StagingPlan) -> Result<bool, sqlx::Error> {
    let texts: Vec<&str> = key_texts(stage).map(|position| stage.table.columns[stage.columns[position]].name).collect();
    let of_target = if texts.is_empty() { Vec::new() } else { text_columns(link, stage.table).await? };
    Ok(texts.iter().all(|name| of_target.iter().any(|text| text.column == *name && text.is_plain)))
}

/// A text column of the target.
struct TextColumn {
    column: String,
    /// The type that it compares as.
    kind: String,
    /// True if it compares as `text` does.
    is_plain: bool,
}

async fn text_columns(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Vec<TextColumn>, sqlx::Error> {
    let rows = link.fetch(Statement::cached(&key_index::text_columns(table), PgArguments::default())).await?;
    let text =
        |row: &PgRow| Ok(TextColumn { column: row.try_get(0)?, kind: row.try_get(1)?, is_plain: row.try_get(2)? });
    rows.iter().map(text).collect()
}

fn database_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error().and_then(|error| error.try_downcast_ref())
}

/// Returns true if the same work may succeed when done again.
///
/// The error is a deadlock, a serialization failure, a lock that was not granted in time, or a statement that is outdated.
pub(super) fn is_retryable(error: &dyn DatabaseError) -> bool {
    is_outdated(error)
        || error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| {
            matches!(error.code(), "40001" | "40P01" | "55P03") || is_of_node(error, "deadlock detected")
        })
}

/// Returns true if a prepared statement is older than its table.
///
/// A column that it gives back got another type. The message can be in any language.
pub(super) fn is_outdated(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| {
        error.code() == "0A000"
            && (error.routine() == Some("RevalidateCachedQuery")
                || error.message() == "cached plan must not change result type")
    })
}

/// Returns true for a unique violation on a sharded server's node.
pub(super) fn is_unique_violation(error: &dyn DatabaseError) -> bool {
    error
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|error| is_of_node(error, "duplicate key value violates unique constraint"))
}

/// Returns true if a node's error has these words.
///
/// What a node of a sharded server refuses can come as an internal error with the node's own words, its code lost.
fn is_of_node(error: &PgDatabaseError, words: &str) -> bool {
    error.code() == "XX000" && error.message().contains(words)
}

/// Tests if the server has said that it ends the connection.
pub(super) fn is_connection_lost(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| {
        matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic) || error.code().starts_with("08")
    })
}
