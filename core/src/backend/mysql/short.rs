//! The rows of a short call, created without a staging table.

use std::{fmt::Write as _, iter};

use sqlx::{MySql, TypeInfo as _};

use super::{
    CHUNK_BYTES, DIALECT, STATEMENT_OVERHEAD, find_index,
    keys::Keys,
    merge,
    stage::{self, Stage},
};
use crate::{
    Error, backend,
    bulk::{Chunk, Failure, Feed},
    handle::Link,
    sql::{Sql, Statement},
    unit::Unit,
};

/// Up to so many rows go without a staging table.
const FEW_ROWS: usize = 1_024;

/// Up to so many rows are made by one statement, which is kept prepared for each number of rows.
const ONE_STATEMENT: usize = 16;

/// One statement finds which keys are not there, one makes their rows: an INSERT of values, which refuses and converts what any INSERT does.
/// Where it finds a row in the way after all, the rows are staged as those of any call.
pub(super) async fn merge_short(
    unit: &mut Unit<'_, MySql>,
    stage: &Stage,
    feed: &mut Feed<'_, MySql>,
) -> Result<Option<u64>, Failure> {
    if !stage.key_positions().all(|position| compares_as_sent(stage.types[position].name())) {
        return Ok(None);
    }
    let fits = |chunk: &Chunk<MySql>| chunk.rows < FEW_ROWS && chunk.values.size() < CHUNK_BYTES / 4;
    let Some(chunk) = feed.chunk_while(fits).await? else { return Ok(Some(0)) };
    // A call that is given up closes its connection.
    unit.begin_staging();
    // In a caller's transaction a statement that fails would leave the rows of those before it.
    let most = if unit.is_own() { FEW_ROWS } else { ONE_STATEMENT };
    if feed.has_more().await? || chunk.rows > most || !are_few(unit.link()?, stage, &chunk).await? {
        feed.take_back(chunk);
        return Ok(None);
    }
    let absent = find_absent(unit.link()?, stage, &chunk).await?;
    feed.note_way("values");
    // Before the rows are kept, for a listener can panic.
    feed.note_sent(chunk.rows);
    match create(unit, stage, &chunk, &absent).await {
        Ok(()) => Ok(Some(absent.len() as u64)),
        Err(Error::Sql(error))
            if backend::is_unique_violation(&error) || (unit.is_own() && backend::is_retryable(&error)) =>
        {
            unit.rollback_merge().await?;
            feed.take_back_sent(chunk);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a value of this type, bound to a statement, is compared with a column as it would be once it is stored there: a number with digits
/// behind the point or a time would be rounded first.
fn compares_as_sent(sent: &str) -> bool {
    sent.contains("INT") || matches!(sent, "CHAR" | "VARCHAR" | "TEXT" | "BINARY" | "VARBINARY" | "BLOB")
}

async fn are_few(link: &mut Link<'_, MySql>, stage: &Stage, chunk: &Chunk<MySql>) -> Result<bool, sqlx::Error> {
    let found = find_index(link, stage).await?;
    // The text of a statement takes less for each value than four times what the value takes.
    Ok(found.is_some_and(|found| found.makes_few && 4 * chunk.values.size() + STATEMENT_OVERHEAD < found.packet))
}

/// The rows to be made, sorted by their keys, so that all calls lock in one order. It takes no locks.
async fn find_absent(
    link: &mut Link<'_, MySql>,
    stage: &Stage,
    chunk: &Chunk<MySql>,
) -> Result<Vec<usize>, sqlx::Error> {
    let width = stage.columns.len();
    let mut keys = Keys::new(stage);
    keys.add(&chunk.values, chunk.rows, width);
    let are_distinct = chunk.rows == 1 || keys.are_distinct();
    // The last row comes again until there are as many as a statement carries that is kept prepared.
    let padded = chunk.rows.next_power_of_two();
    let rows = (0..chunk.rows).chain(iter::repeat_n(chunk.rows - 1, padded - chunk.rows));
    let columns: Vec<usize> = stage.key_positions().collect();
    let arguments = chunk.values.of_rows(rows, width, &columns).map_err(sqlx::Error::Encode)?;
    let absent = merge::numbers(link, Statement::cached(&absent_text(stage, padded, are_distinct), arguments)).await?;
    let absent = absent.into_iter().filter_map(|number| usize::try_from(number).ok());
    Ok(absent.filter(|number| *number < chunk.rows).collect())
}

async fn create(
    unit: &mut Unit<'_, MySql>,
    stage: &Stage,
    chunk: &Chunk<MySql>,
    absent: &[usize],
) -> Result<(), Error> {
    let width = stage.columns.len();
    let columns: Vec<usize> = (0..width).collect();
    let parts: Vec<usize> = if absent.len() <= ONE_STATEMENT {
        vec![absent.len(); usize::from(!absent.is_empty())]
    } else {
        merge::parts(absent.len(), FEW_ROWS).collect()
    };
    // A single statement is kept whole or not at all by itself.
    if parts.len() > 1 {
        unit.begin_merge().await?;
    }
    let mut rest = absent.iter().copied();
    for part in parts {
        let rows = rest.by_ref().take(part);
        let arguments = chunk.values.of_rows(rows, width, &columns).map_err(sqlx::Error::Encode)?;
        unit.link()?.execute(Statement::cached(&insert_text(stage, part), arguments)).await?;
    }
    unit.commit_merge().await
}

/// The branch without rows gives the keys the types and collations of the table's columns: see `rows::find_many`.
fn absent_text(stage: &Stage, rows: usize, are_distinct: bool) -> Sql {
    let into = DIALECT.table(stage.table);
    let mut values = "(SELECT -1 AS n".to_owned();
    // Writing to a `String` cannot fail.
    for &column in stage.key.columns {
        let _ = write!(values, ", {} AS c{}", DIALECT.name(stage.table.columns[column].name), stage.position(column));
    }
    let _ = write!(values, " FROM {into} WHERE FALSE UNION ALL VALUES ");
    for row in 0..rows {
        let _ = write!(values, "{}({row}{})", if row == 0 { "" } else { "," }, ",?".repeat(stage.key.columns.len()));
    }
    values.push(')');
    if are_distinct {
        return format!(
            "SELECT s.n FROM {values} AS s LEFT JOIN {} ON {} WHERE {} IS NULL ORDER BY {}",
            stage::target(stage),
            stage::same_key(stage, "s."),
            stage::target_key(stage),
            stage::staged_key(stage, "s."),
        )
        .into();
    }
    let columns = format!("s.n, {}", stage::staged_key(stage, "s."));
    let absent = stage::absent_of(stage, &columns, &values);
    format!("SELECT a.n FROM {absent} ORDER BY {}", stage::staged_key(stage, "a.")).into()
}

fn insert_text(stage: &Stage, rows: usize) -> Sql {
    let columns = DIALECT.columns(stage.table, stage.columns.iter().copied(), "");
    let values = DIALECT.placeholders(rows, stage.columns.len(), 1);
    format!("INSERT INTO {} ({columns}) VALUES {values}", DIALECT.table(stage.table)).into()
}
