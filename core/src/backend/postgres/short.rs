//! The rows of a short call, created at once, without a staging table.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, PoisonError},
    time::Instant,
};

use sqlx::Postgres;

use super::{
    Stage, compares_as_sent, database_error, fill, index,
    merge::{COLLISIONS, counted},
    nested, stage,
};
use crate::{
    backend,
    bulk::{Chunk, Failure, Feed},
    handle::Link,
    model::Table,
    retry::Retry,
    sql::{Sql, Statement},
};

/// Up to so many rows the conflict clause costs less than to do without it: 0.21 against 0.29 milliseconds for 1 row, 0.49 against 0.46 for
/// 10, 22.8 against 16.8 for 1,000 (none of them there; the statement prepared).
const FEW_ROWS: usize = 8;

/// Up to so many rows the statement is kept prepared: to parse and to plan it takes a millisecond, beside 0.2 for 1 row and 17 for 1,000.
const PREPARED_ROWS: usize = 1_000;

/// How a statement keeps from failing on rows that others create meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By a conflict clause, which looks into the index once more for each row.
    OnConflict,
    /// Not at all: where it fails, [`OnConflict`](Self::OnConflict) takes over. Nothing is lost by that where the statement is the whole
    /// transaction.
    Plain,
}

/// One statement from arrays. A staging table would cost more than all the rest, up to some ten thousand rows.
pub(super) async fn merge_short(
    link: &mut Link<'_, Postgres>,
    stage: &Stage,
    feed: &mut Feed<'_, Postgres>,
) -> Result<Option<u64>, Failure> {
    if stage.key.nulls_not_distinct || !fill::are_fields(&stage.types) {
        return Ok(None);
    }
    let Some(chunk) = fill::next_for_arrays(feed).await? else { return Ok(Some(0)) };
    if feed.has_more().await? || !compares_as_sent(link, stage).await? {
        feed.take_back(chunk);
        return Ok(None);
    }
    feed.note_way("unnest");
    // Before the rows are kept, for a listener can panic.
    feed.note_sent(chunk.rows);
    let is_own = matches!(link, Link::Pooled(_));
    let mut way = if is_own && chunk.rows > FEW_ROWS { Way::Plain } else { Way::OnConflict };
    let mut retry = Retry::new::<Postgres>();
    let mut collisions = 0;
    loop {
        match create(link, stage, &chunk, way).await {
            Err(error) if way == Way::Plain && is_for_conflict_clause(&error) => way = Way::OnConflict,
            Err(error) if is_own && backend::is_retryable(&error) && retry.again(Some(&error)).await => {}
            Err(error) if backend::is_unique_violation(&error) && collisions + 1 < COLLISIONS => {
                collisions += 1;
                if !is_own {
                    let undo = nested::undo_call(link.raw());
                    link.execute(Statement::plain(&undo)).await?;
                }
            }
            outcome => return Ok(Some(outcome?)),
        }
    }
}

async fn create(
    link: &mut Link<'_, Postgres>,
    stage: &Stage,
    chunk: &Chunk<Postgres>,
    way: Way,
) -> Result<u64, sqlx::Error> {
    let text = match way {
        Way::OnConflict => stage::merge_arrays(stage),
        Way::Plain => stage::merge_arrays_plainly(stage),
    };
    let arguments = fill::arrays(stage, chunk)?;
    let statement = if chunk.rows <= PREPARED_ROWS {
        Statement::cached(&dated(stage.table, &text, chunk.rows), arguments)
    } else {
        Statement::once(&text.into(), arguments)
    };
    match way {
        Way::OnConflict => counted(&link.fetch(statement).await?),
        Way::Plain => link.execute(statement).await,
    }
}

/// Another writer got in between, an index is checked late, or the server cannot run the statement without the clause (a sharded one).
fn is_for_conflict_clause(error: &sqlx::Error) -> bool {
    backend::is_unique_violation(error)
        || database_error(error).is_some_and(|error| match error.code() {
            "22P02" => error.message().contains(index::CHECKED_LATE),
            code => code == "0A000",
        })
}

/// The text with a comment that changes when the table may have outgrown the plan of a statement that is kept prepared: when the rows sent
/// by this process have doubled, and each minute, for those of others. A plan made for a small table reads all of it.
fn dated(table: &'static Table, text: &str, rows: usize) -> Sql {
    static SENT: Mutex<BTreeMap<(Option<&str>, &str), u64>> = Mutex::new(BTreeMap::new());
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let mut sent = SENT.lock().unwrap_or_else(PoisonError::into_inner);
    let sent = sent.entry((table.schema, table.name)).or_default();
    *sent = sent.saturating_add(rows as u64);
    format!("{text} /* {} {} */", sent.checked_ilog2().unwrap_or_default(), START.elapsed().as_secs() / 60).into()
}
