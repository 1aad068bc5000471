//! A sample of the staged rows, to choose how to merge.

use sqlx::{Row as _, Sqlite};

use crate::{
    backend::sqlite::dialect::{DIALECT, StagingPlan},
    backend::sqlite::stage_statements::{self, STAGE},
    connection::link::Link,
    sql::statement::Statement,
};

/// Number of places of the staging table that are looked at.
///
/// In each, two rows are looked at that came one after the other.
const PLACES: u64 = 64;

/// The percentage of existing rows that makes looking first faster.
///
/// From there on it is faster than letting the index refuse them: with all of 200,000 there, sorted, it takes 0.7 of the time, with half of
/// them 1.4 times.
const MOST_THERE: i64 = 80;

/// Largest data merged unsorted, in sizes of the page cache.
///
/// Up to so many times the page cache, a database takes rows in any order as fast as sorted ones, and sorting them takes longer. With no
/// row there, 200,000 of 3 integers (2.2 times the cache of 2 MB) take 0.9 of the time so, and 400,000 (4.5 times) 1.4 times.
const TIMES_CACHE: i64 = 3;

/// Tests if the staged rows are merged fastest as they came.
///
/// They go in one by one then: they are sorted by the key already, or few beside the cache, and most are new.
pub(super) async fn is_fastest_as_it_came(
    link: &mut Link<'_, Sqlite>,
    stage: &StagingPlan,
) -> Result<bool, sqlx::Error> {
    let Some(row) = link.fetch(Statement::plain(&look(stage).into())).await?.pop() else { return Ok(false) };
    let (looked, there, falls): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if looked == 0 || there * 100 > looked * MOST_THERE {
        return Ok(false);
    }
    if falls == 0 {
        return Ok(true);
    }
    let (pages, page_size, cache): (i64, i64, i64) = (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
    // As SQLite has it: pages, or KiB where it is below zero.
    let cache = if cache < 0 { cache.saturating_mul(-1024) } else { cache.saturating_mul(page_size) };
    Ok(pages.saturating_mul(page_size) <= cache.saturating_mul(TIMES_CACHE))
}

/// Counts the rows looked at, those that exist, and the falls.
///
/// A fall is a row with a lesser key than the one looked at before. Then come the pages of the database and of the staging table, their
/// size, and the cache's.
fn look(stage: &StagingPlan) -> String {
    let last = stage.rows().max(1);
    let step = (last / PLACES).max(2);
    let places: Vec<String> =
        (1..last).step_by(usize::try_from(step).unwrap_or(2)).flat_map(|n| [n, n + 1]).map(|n| n.to_string()).collect();
    let key: Vec<String> = stage.key_positions().map(|position| format!("\"c{position}\"")).collect();
    let before: Vec<String> =
        key.iter().enumerate().map(|(n, column)| format!("lag({column}) OVER (ORDER BY \"n\") AS \"p{n}\"")).collect();
    let lesser: Vec<String> = (0..key.len()).map(|n| format!("s.\"p{n}\"")).collect();
    let of_s: Vec<String> = key.iter().map(|column| format!("s.{column}")).collect();
    let schema = stage.table.schema.unwrap_or("main");
    format!(
        "SELECT count(*), count(t.{}), coalesce(sum(({}) < ({})), 0), \
         (SELECT sum(page_count) FROM pragma_page_count WHERE schema IN ('{}', 'temp')), \
         (SELECT page_size FROM pragma_page_size), (SELECT cache_size FROM pragma_cache_size) \
         FROM (SELECT {}, {} FROM {STAGE} WHERE \"n\" IN ({})) AS s LEFT JOIN {} AS t ON {}",
        DIALECT.name(stage.table.columns[stage.key.columns[0]].name),
        of_s.join(", "),
        lesser.join(", "),
        schema.replace('\'', "''"),
        key.join(", "),
        before.join(", "),
        places.join(", "),
        DIALECT.table(stage.table),
        stage_statements::same_key(stage),
    )
}
