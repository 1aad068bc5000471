//! The rows of a short call, created without a staging table.

use std::fmt::Write as _;

use sqlx::{Sqlite, TypeInfo as _};

use crate::{
    backend::sqlite::dialect::{DIALECT, MAX_BINDS, OR_ABORT, StagingPlan},
    backend::sqlite::insert_behavior::{self, InsertBehavior},
    backend::sqlite::key_index::{self, KeyColumn},
    backend::sqlite::{one_row, row_statements, stage_statements},
    connection::link::Link,
    connection::scope::CallScope,
    driver::Driver as _,
    error::Error,
    error::finding::other_key,
    error::sqlite::is_refused,
    feed::source::Failure,
    feed::{Chunk, RowFeed},
    retry::Retry,
    sql::statement::Statement,
    sql::text::Sql,
};

/// The most rows of a call that is not staged.
const MOST_ROWS: usize = 1_000;

/// Tests if the statement for so many rows is kept prepared.
///
/// These are the smallest, and those of the sizes that callers cut batches in. The connection keeps a hundred, which the caller needs too.
fn is_kept(rows: usize) -> bool {
    rows <= 16 || (rows <= 100 && rows.is_multiple_of(10)) || (rows <= 1_000 && rows.is_multiple_of(100))
}

/// Creates the rows of a short call by one statement.
///
/// What a staging table costs beside it shows most in the shortest calls, where making it and dropping it takes ten times as long as the
/// rows.
pub(super) async fn insert_few(
    scope: &mut CallScope<'_, Sqlite>,
    stage: &StagingPlan,
    feed: &mut RowFeed<'_, Sqlite>,
) -> Result<Option<u64>, Failure> {
    let Some(chunk) = feed.chunk(chunk_rows(stage)).await? else { return Ok(Some(0)) };
    if feed.has_more().await? {
        feed.take_back(chunk);
        return Ok(None);
    }
    feed.note_way("values");
    // Before the rows are kept, for a listener can panic.
    feed.note_sent(chunk.rows);
    // One row is created or not. Of several a part could be kept.
    let mut nature = if chunk.rows > 1 { Some(insert_behavior::of_stage(scope.link()?, stage).await?) } else { None };
    let is_pooled = matches!(scope.link()?, Link::Pooled(..));
    if !is_pooled || nature.is_some_and(|nature| !nature.fails_as_a_whole()) {
        scope.drop_stage_on_drop();
    }
    let mut skips_quietly = nature.is_some_and(|nature| nature.skips_quietly);
    let mut text = if skips_quietly {
        create_as_they_come(stage, chunk.rows)
    } else {
        create_missing(scope.link()?, stage, chunk.rows, nature).await?
    };
    let mut retry = Retry::new(Sqlite::ATTEMPTS);
    loop {
        let error = match create(scope, stage, &text, &chunk, nature).await {
            Ok(created) => return Ok(Some(created)),
            Err(error) => error,
        };
        if nature.is_none() && error.as_sql().is_some_and(one_row::finds_triggers) {
            let found = insert_behavior::of_stage(scope.link()?, stage).await?;
            nature = Some(found);
            scope.drop_stage_on_drop();
            text = create_missing(scope.link()?, stage, chunk.rows, nature).await?;
            continue;
        }
        if skips_quietly && error.as_sql().is_some_and(is_refused) {
            scope.rollback_merge().await?;
            skips_quietly = false;
            text = create_missing(scope.link()?, stage, chunk.rows, nature).await?;
            continue;
        }
        if !((is_pooled || scope.is_own()) && error.is_retryable() && retry.again(error.as_sql()).await) {
            return Err(error.into());
        }
        scope.rollback_merge().await?;
    }
}

async fn create(
    scope: &mut CallScope<'_, Sqlite>,
    stage: &StagingPlan,
    text: &Sql,
    chunk: &Chunk<Sqlite>,
    nature: Option<InsertBehavior>,
) -> Result<u64, Error> {
    scope.begin_merge().await?;
    let statement = |text: &Sql| {
        let values = chunk.values.clone();
        if is_kept(chunk.rows) { Statement::cached(text, values) } else { Statement::once(text, values) }
    };
    let created = if nature.is_some_and(|nature| nature.triggers) {
        create_watched(scope.link()?, stage, text, chunk.rows, statement).await?
    } else {
        scope.link()?.execute(statement(text)).await?
    };
    scope.commit_merge().await?;
    Ok(created)
}

/// Creates rows and checks that no trigger changed their keys.
///
/// A trigger may store a row with another key: as many keys have to be there more as rows were made.
async fn create_watched(
    link: &mut Link<'_, Sqlite>,
    stage: &StagingPlan,
    text: &Sql,
    rows: usize,
    statement: impl Fn(&Sql) -> Statement<Sqlite> + Sync,
) -> Result<u64, Error> {
    let key = key_columns(link, stage).await?;
    let new = count_new(stage, key.as_deref(), rows);
    link.execute(Statement::plain(&stage_statements::take_write_lock(stage))).await?;
    let before = link.count(statement(&new)).await?;
    let created = link.execute(statement(text)).await?;
    let after = link.count(statement(&new)).await?;
    if before.saturating_sub(after) < created {
        let cause = one_row::cause(link, &row_statements::mismatch_cause(stage.table, stage.key)).await?;
        return Err(other_key(cause).into());
    }
    Ok(created)
}

/// Reads the collations by which the unique index compares texts.
///
/// They can differ from how the columns do. An INSERT that has no such index is refused. Nothing is read if all of the key's columns are
/// numbers.
async fn key_columns(link: &mut Link<'_, Sqlite>, stage: &StagingPlan) -> Result<Option<Vec<KeyColumn>>, sqlx::Error> {
    let is_number =
        |position: usize| matches!(stage.types[position].name(), "INTEGER" | "INT4" | "INT8" | "BIGINT" | "REAL");
    if stage.key_positions().all(is_number) {
        return Ok(None);
    }
    key_index::key_columns(link, stage.table, stage.key).await
}

/// Inserts the rows as they come, and lets the index refuse.
///
/// The index refuses the rows that are there, and all but the first with one key. The statement names the key, so that SQLite refuses it
/// where there is no unique index on it.
fn create_as_they_come(stage: &StagingPlan, rows: usize) -> Sql {
    let table = stage.table;
    format!(
        "INSERT{OR_ABORT} INTO {} ({}) VALUES {} ON CONFLICT ({}) DO NOTHING",
        DIALECT.table(table),
        DIALECT.columns(table, stage.columns.iter().copied(), ""),
        DIALECT.placeholders(rows, stage.columns.len(), 1),
        DIALECT.columns(table, stage.key.columns.iter().copied(), "")
    )
    .into()
}

/// Inserts only the rows that are missing.
///
/// It is for where a row that is skipped would fire a trigger, use up an id, or break a constraint that is checked first.
async fn create_missing(
    link: &mut Link<'_, Sqlite>,
    stage: &StagingPlan,
    rows: usize,
    nature: Option<InsertBehavior>,
) -> Result<Sql, sqlx::Error> {
    let key = key_columns(link, stage).await?;
    Ok(create_rows(stage, key.as_deref(), rows, nature))
}

/// Inserts the first row of each missing key.
///
/// The anti-join keeps rows that are there from using up an id; the grouping keeps the first of several rows with one key, and sorts. ON
/// CONFLICT is for what both can miss, and names the key, so that SQLite refuses the statement where there is no unique index on it.
fn create_rows(stage: &StagingPlan, key: Option<&[KeyColumn]>, rows: usize, nature: Option<InsertBehavior>) -> Sql {
    let table = stage.table;
    // Where the table was not asked for triggers, the statement asks it.
    let (or_abort, condition) = nature.map_or_else(
        || (OR_ABORT, row_statements::without_triggers(table)),
        |nature| (nature.or_abort(), "true".to_owned()),
    );
    let (with, missing) = missing_rows(stage, key, rows);
    format!(
        "{with} INSERT{or_abort} INTO {} ({}) SELECT {} FROM ({missing}) WHERE {condition} ON CONFLICT ({}) DO NOTHING",
        DIALECT.table(table),
        DIALECT.columns(table, stage.columns.iter().copied(), ""),
        staged_names(stage, ""),
        DIALECT.columns(table, stage.key.columns.iter().copied(), ""),
    )
    .into()
}

/// Counts the rows' keys that are not in the table.
fn count_new(stage: &StagingPlan, key: Option<&[KeyColumn]>, rows: usize) -> Sql {
    let (with, missing) = missing_rows(stage, key, rows);
    format!("{with} SELECT count(*) FROM ({missing})").into()
}

fn staged_names(stage: &StagingPlan, prefix: &str) -> String {
    (0..stage.columns.len()).map(|position| format!("{prefix}\"c{position}\"")).collect::<Vec<_>>().join(", ")
}

/// Selects the first row of each key that is missing.
///
/// It returns the rows, and the query.
fn missing_rows(stage: &StagingPlan, key: Option<&[KeyColumn]>, rows: usize) -> (String, String) {
    let (table, width) = (stage.table, stage.columns.len());
    let into = DIALECT.table(table);
    let collation = |position: usize| {
        let column = key.and_then(|columns| columns.get(position));
        column.map_or(String::new(), |column| format!(" COLLATE {}", DIALECT.name(&column.collation)))
    };
    let key_columns = || stage.key.columns.iter().enumerate();
    let same_key = key_columns().map(|(position, &column)| {
        let (staged, name) = (stage.position(column), DIALECT.name(table.columns[column].name));
        format!("t.{name}{} = s.\"c{staged}\"", collation(position))
    });
    let grouped =
        key_columns().map(|(position, &column)| format!("s.\"c{}\"{}", stage.position(column), collation(position)));
    let mut sql = format!("WITH \"upsertable_rows\"(\"n\", {}) AS (VALUES ", staged_names(stage, ""));
    for row in 0..rows {
        // Writing to a `String` cannot fail.
        let _ = write!(sql, "{}({row}", if row == 0 { "" } else { "," });
        (0..width).for_each(|_| sql.push_str(",?"));
        sql.push(')');
    }
    sql.push(')');
    let missing = format!(
        "SELECT {}, min(s.\"n\") FROM \"upsertable_rows\" AS s LEFT JOIN {into} AS t ON {} WHERE t.{} IS NULL GROUP BY {}",
        staged_names(stage, "s."),
        same_key.collect::<Vec<_>>().join(" AND "),
        DIALECT.name(table.columns[stage.key.columns[0]].name),
        grouped.collect::<Vec<_>>().join(", "),
    );
    (sql, missing)
}

/// Returns the most rows of a call that is not staged.
fn chunk_rows(stage: &StagingPlan) -> usize {
    (MAX_BINDS / stage.columns.len().max(1)).clamp(1, MOST_ROWS)
}
