//! The rows of a short call, created without a staging table.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    iter, ptr,
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use sqlx::{MySql, TypeInfo as _};

use crate::{
    backend::mysql::dialect::{CHUNK_BYTES, DIALECT, MAX_BINDS, NO_LIMIT, STATEMENT_OVERHEAD, StagingPlan},
    backend::mysql::key_index::{self, REFUSES},
    backend::mysql::key_order::{Keys, Order},
    backend::mysql::server::NO_RETURNING,
    backend::mysql::{merge, one_row, row_statements, stage_statements},
    connection::link::Link,
    connection::scope::CallScope,
    error::Error,
    error::classify::{is_retryable, is_unique_violation},
    error::mysql::{DATA_OUT_OF_RANGE, NO_PARENT, NO_SUCH_INDEX, has_number},
    feed::source::Failure,
    feed::{Chunk, RowFeed},
    sql::statement::Statement,
    sql::text::Sql,
};

/// The most rows that go without a staging table.
const FEW_ROWS: usize = 1_024;

/// The most rows that are looked for one by one.
///
/// One statement makes them, which is kept prepared for each number of rows.
const ONE_STATEMENT: usize = 16;

/// Creates the rows of a short call by two statements.
///
/// One finds which keys are not there, one makes their rows: an INSERT of values, which refuses and converts what any INSERT does, and
/// looks for the key's unique index itself. Where it finds a row in the way after all, or no index, the rows are staged as those of any
/// call.
pub(super) async fn insert_few(
    scope: &mut CallScope<'_, MySql>,
    stage: &StagingPlan,
    feed: &mut RowFeed<'_, MySql>,
) -> Result<Option<u64>, Failure> {
    if !stage.key_positions().all(|position| compares_as_sent(stage.types[position].name())) {
        return Ok(None);
    }
    let fits = |chunk: &Chunk<MySql>| chunk.rows < FEW_ROWS && chunk.values.size() < CHUNK_BYTES / 4;
    let Some(chunk) = feed.chunk_while(fits).await? else { return Ok(Some(0)) };
    // A call that is given up closes its connection.
    scope.drop_stage_on_drop();
    // In a caller's transaction a statement that fails would leave the rows of those before it.
    let most = if scope.is_own() { FEW_ROWS } else { ONE_STATEMENT };
    // The keys stand in the statement twice.
    let most = most.min(MAX_BINDS / (stage.columns.len() + stage.key.columns.len()));
    if feed.has_more().await? || chunk.rows > most || NO_RETURNING.load(Ordering::Relaxed) {
        feed.take_back(chunk);
        return Ok(None);
    }
    let Some(seen) = see(scope.link()?, stage, &chunk).await? else {
        feed.take_back(chunk);
        return Ok(None);
    };
    let absent = match find_absent(scope.link()?, stage, &chunk, seen.index.as_deref()).await {
        Err(error) if has_number(&error, NO_SUCH_INDEX) => {
            forget(stage);
            feed.take_back(chunk);
            return Ok(None);
        }
        absent => absent?,
    };
    feed.note_way("values");
    // Before the rows are kept, for a listener can panic.
    feed.note_sent(chunk.rows);
    let created = create_absent(scope, stage, &chunk, &absent).await?;
    if created.is_none() {
        feed.take_back_sent(chunk);
    }
    Ok(created)
}

/// Creates the rows that are absent.
///
/// `None` if the rows have to be staged: another writer was there, or what was seen holds no longer.
async fn create_absent(
    scope: &mut CallScope<'_, MySql>,
    stage: &StagingPlan,
    chunk: &Chunk<MySql>,
    absent: &[usize],
) -> Result<Option<u64>, Error> {
    match create(scope, stage, chunk, absent).await {
        Ok(()) => Ok(Some(absent.len() as u64)),
        Err(Error::Sql(error))
            if is_unique_violation(&error)
                || has_number(&error, DATA_OUT_OF_RANGE)
                || has_number(&error, NO_PARENT)
                || (scope.is_own() && is_retryable(&error)) =>
        {
            forget(stage);
            scope.rollback_merge().await?;
            Ok(None)
        }
        Err(Error::Sql(error)) => Err(Error::Sql(one_row::explained(scope.link()?, error).await)),
        Err(error) => Err(error),
    }
}

/// The cached facts about a key's unique index and a server.
///
/// To look takes as long as to make a row, so they are kept in mind: the statements fail where they no longer hold.
#[derive(Clone)]
struct Seen {
    /// The index that a query is to use.
    index: Option<String>,
    at: Instant,
}

/// The time for which they are kept.
const KEPT: Duration = Duration::from_secs(10);

/// The bytes below which a statement passes every server.
const SMALL: usize = 16 << 10;

/// The cached facts, by the addresses of table and key.
static SEEN: Mutex<BTreeMap<(usize, usize), Seen>> = Mutex::new(BTreeMap::new());

fn all_seen() -> MutexGuard<'static, BTreeMap<(usize, usize), Seen>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(stage: &StagingPlan) -> (usize, usize) {
    (ptr::from_ref(stage.table).addr(), ptr::from_ref(stage.key).addr())
}

fn forget(stage: &StagingPlan) {
    all_seen().remove(&place(stage));
}

/// Returns the facts, or `None` if the rows must be staged.
async fn see(
    link: &mut Link<'_, MySql>,
    stage: &StagingPlan,
    chunk: &Chunk<MySql>,
) -> Result<Option<Seen>, sqlx::Error> {
    // The text of a statement takes less for each value than four times what the value takes.
    let size = 4 * chunk.values.size() + STATEMENT_OVERHEAD;
    let kept = all_seen().get(&place(stage)).filter(|seen| size < SMALL && seen.at.elapsed() < KEPT).cloned();
    if kept.is_some() {
        return Ok(kept);
    }
    let Some(found) = key_index::find(link, stage).await?.filter(|found| found.makes_few && size < found.packet) else {
        return Ok(None);
    };
    let seen = Seen { index: found.usable.then(|| found.index.clone()), at: Instant::now() };
    all_seen().insert(place(stage), seen.clone());
    Ok(Some(seen))
}

/// Tests if a bound value compares as it would once stored.
///
/// A number with digits behind the point or a time would be rounded first.
fn compares_as_sent(sent: &str) -> bool {
    sent.contains("INT") || matches!(sent, "CHAR" | "VARCHAR" | "TEXT" | "BINARY" | "VARBINARY" | "BLOB")
}

/// Finds the rows to be made, sorted by their keys.
///
/// So all calls lock in one order. It takes no locks.
async fn find_absent(
    link: &mut Link<'_, MySql>,
    stage: &StagingPlan,
    chunk: &Chunk<MySql>,
    index: Option<&str>,
) -> Result<Vec<usize>, sqlx::Error> {
    let width = stage.columns.len();
    let mut keys = Keys::new(stage);
    keys.add(&chunk.values, chunk.rows, width);
    let are_distinct = keys.order() != Order::Unknown || chunk.rows == 1;
    // The last row comes again until there are as many as a statement carries that is kept prepared.
    let padded = chunk.rows.next_power_of_two();
    let rows = (0..chunk.rows).chain(iter::repeat_n(chunk.rows - 1, padded - chunk.rows));
    let columns: Vec<usize> = stage.key_positions().collect();
    let arguments = chunk.values.of_rows(rows, width, &columns).map_err(sqlx::Error::Encode)?;
    let target = stage_statements::target_by(stage, index);
    let one_by_one = are_distinct && chunk.rows <= ONE_STATEMENT;
    let text = if one_by_one {
        present_text(stage, padded, &target)
    } else {
        absent_text(stage, padded, are_distinct, &target)
    };
    let numbers = merge::numbers(link, Statement::cached(&text, arguments)).await?;
    let numbers = numbers.into_iter().filter_map(|number| usize::try_from(number).ok());
    if !one_by_one {
        return Ok(numbers.filter(|number| *number < chunk.rows).collect());
    }
    let mut is_absent = vec![true; padded];
    numbers.for_each(|number| is_absent[number] = false);
    let mut absent: Vec<usize> = (0..chunk.rows).filter(|number| is_absent[*number]).collect();
    absent.sort_by_cached_key(|row| keys.numbers(&chunk.values, *row, width));
    Ok(absent)
}

async fn create(
    scope: &mut CallScope<'_, MySql>,
    stage: &StagingPlan,
    chunk: &Chunk<MySql>,
    absent: &[usize],
) -> Result<(), Error> {
    let width = stage.columns.len();
    let columns: Vec<usize> = (0..width).collect();
    let parts: Vec<usize> = parts(absent.len()).collect();
    // A single statement is kept whole or not at all by itself.
    if parts.len() > 1 {
        scope.begin_merge().await?;
    }
    let key: Vec<usize> = stage.key_positions().collect();
    let mut rest = absent;
    for part in parts {
        let (rows, left) = rest.split_at(part);
        rest = left;
        let arguments = chunk.values.of_rows_and_again(rows.iter().copied(), width, &columns, &key);
        let arguments = arguments.map_err(sqlx::Error::Encode)?;
        scope.link()?.fetch(Statement::cached(&insert_text(stage, part), arguments)).await?;
    }
    scope.commit_merge().await
}

/// Splits a number of rows into parts of few different sizes.
///
/// So their statements stay prepared. The sizes are hundreds, tens, and up to [`ONE_STATEMENT`]: these are the sizes that callers cut
/// batches in.
fn parts(rows: usize) -> impl Iterator<Item = usize> {
    let mut left = rows;
    iter::from_fn(move || {
        let part = match left {
            0 => return None,
            _ if left <= ONE_STATEMENT => left,
            _ if left < 100 => left / 10 * 10,
            _ => left.min(1_000) / 100 * 100,
        };
        left -= part;
        Some(part)
    })
}

/// Selects the numbers of the rows whose keys are there.
fn present_text(stage: &StagingPlan, rows: usize, target: &str) -> Sql {
    let is_key = |&column: &usize| format!("t.{} = ?", DIALECT.name(stage.table.columns[column].name));
    let is_key = stage.key.columns.iter().map(is_key).collect::<Vec<_>>().join(" AND ");
    let each = (0..rows).map(|row| format!("SELECT {row} FROM {target} WHERE {is_key}"));
    format!("{} {NO_LIMIT}", each.collect::<Vec<_>>().join(" UNION ALL ")).into()
}

/// Selects the numbers of the rows whose keys are not there.
///
/// The branch without rows gives the keys the types and collations of the table's columns, as in `row_statements::find_many`.
fn absent_text(stage: &StagingPlan, rows: usize, are_distinct: bool, target: &str) -> Sql {
    let into = DIALECT.table(stage.table);
    let mut values = "(SELECT -1 AS n".to_owned();
    // Writing to a `String` cannot fail.
    for &column in &stage.key.columns {
        let _ = write!(values, ", {} AS c{}", DIALECT.name(stage.table.columns[column].name), stage.position(column));
    }
    let _ = write!(values, " FROM {into} WHERE FALSE UNION ALL VALUES ");
    for row in 0..rows {
        let _ = write!(values, "{}({row}{})", if row == 0 { "" } else { "," }, ",?".repeat(stage.key.columns.len()));
    }
    values.push(')');
    if are_distinct {
        return format!(
            "SELECT s.n FROM {values} AS s LEFT JOIN {target} ON {} WHERE {} IS NULL ORDER BY {} {NO_LIMIT}",
            stage_statements::same_key(stage, "s."),
            stage_statements::target_key(stage),
            stage_statements::staged_key(stage, "s."),
        )
        .into();
    }
    let columns = format!("s.n, {}", stage_statements::staged_key(stage, "s."));
    let absent = stage_statements::absent_of(stage, &columns, &values, target);
    format!(
        "{} a.n FROM {absent} ORDER BY {} {NO_LIMIT}",
        stage_statements::steady(stage, "SELECT"),
        stage_statements::staged_key(stage, "a.")
    )
    .into()
}

/// Inserts rows and checks their keys and the index.
///
/// It fails where a row that it has made has none of the keys that were asked for.
fn insert_text(stage: &StagingPlan, rows: usize) -> Sql {
    let columns = DIALECT.columns(stage.table, stage.columns.iter().copied(), "");
    let values = DIALECT.placeholders(rows, stage.columns.len(), 1);
    let key = DIALECT.columns(stage.table, stage.key.columns.iter().copied(), "");
    let keys = DIALECT.placeholders(rows, stage.key.columns.len(), 1);
    format!(
        "INSERT INTO {} ({columns}) VALUES {values} RETURNING IF({REFUSES} AND EXISTS ({}) AND ({key}) IN ({keys}), 1, {})",
        DIALECT.table(stage.table),
        key_index::unique_index(stage.table, stage.key, "1"),
        row_statements::FAIL,
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_few_sizes_and_make_the_whole() {
        let mut sizes = std::collections::BTreeSet::new();
        for rows in 0..=FEW_ROWS {
            let parts: Vec<usize> = parts(rows).collect();
            assert_eq!(parts.iter().sum::<usize>(), rows);
            assert!(parts.len() <= 3, "{parts:?}");
            sizes.extend(parts);
        }
        assert_eq!(sizes.len(), ONE_STATEMENT + 8 + 10);
    }
}
