//! The rows of a short call, created at once, without a staging table.

use std::{
    collections::BTreeMap,
    ptr,
    sync::{LazyLock, Mutex, PoisonError},
    time::Instant,
};

use sqlx::{Postgres, postgres::PgDatabaseError};

use super::{
    Stage, compares_as_sent, database_error, fill, index,
    merge::{COLLISIONS, counted},
    nested,
    stage::{self, Arrays},
};
use crate::{
    backend,
    bulk::{Chunk, Failure, Feed},
    handle::Link,
    retry::Retry,
    sql::{Sql, Statement},
};

/// Up to so many rows the conflict clause costs less than to do without it, which takes a look at the table's indexes first: in the server
/// 0.045 against 0.062 milliseconds for 10 rows that are there and 0.118 against 0.112 for as many that are not; 0.07 against 0.087 and 0.24
/// against 0.21 for 30; 1.40 against 1.44 and 8.3 against 5.8 for 1,000.
const FEW_ROWS: usize = 20;

/// Up to so many rows the statement is kept prepared: to parse and to plan it takes a millisecond, beside 0.2 for 1 row and 17 for 1,000.
const PREPARED_ROWS: usize = 1_000;

/// A table of so many rows is read as a whole about as quickly as by its index.
const SMALL_ROWS: u64 = 256;

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
            // A sharded server may know the statements of a staging table only.
            Err(error) if is_unsupported(&error) => {
                undo(link, is_own).await?;
                feed.take_back_sent(chunk);
                return Ok(None);
            }
            Err(error) if is_own && backend::is_retryable(&error) && retry.again(Some(&error)).await => {}
            Err(error) if backend::is_unique_violation(&error) && collisions + 1 < COLLISIONS => {
                collisions += 1;
                undo(link, is_own).await?;
            }
            outcome => return Ok(Some(outcome?)),
        }
    }
}

/// Undoes a statement that failed, where it is not a transaction by itself.
async fn undo(link: &mut Link<'_, Postgres>, is_own: bool) -> Result<(), sqlx::Error> {
    if !is_own {
        let undo = nested::undo_call(link.raw());
        link.execute(Statement::plain(&undo)).await?;
    }
    Ok(())
}

async fn create(
    link: &mut Link<'_, Postgres>,
    stage: &Stage,
    chunk: &Chunk<Postgres>,
    way: Way,
) -> Result<u64, sqlx::Error> {
    let text = Text::of(way, chunk.rows).dated(stage, chunk.rows);
    let arguments = fill::arrays(stage, chunk)?;
    let statement = if chunk.rows <= PREPARED_ROWS {
        Statement::cached(&text, arguments)
    } else {
        Statement::once(&text, arguments)
    };
    match way {
        Way::OnConflict if chunk.rows <= FEW_ROWS => Ok(link.fetch(statement).await?.len() as u64),
        Way::OnConflict => counted(&link.fetch(statement).await?),
        Way::Plain => link.execute(statement).await,
    }
}

/// Another writer got in between, an index is checked late, or the server cannot run the statement without the clause (a sharded one).
fn is_for_conflict_clause(error: &sqlx::Error) -> bool {
    let checked_late =
        |error: &PgDatabaseError| error.code() == "22P02" && error.message().contains(index::CHECKED_LATE);
    backend::is_unique_violation(error) || is_unsupported(error) || database_error(error).is_some_and(checked_late)
}

fn is_unsupported(error: &sqlx::Error) -> bool {
    database_error(error).is_some_and(|error| error.code() == "0A000")
}

/// The statements that create rows.
#[derive(Clone, Copy)]
enum Text {
    One,
    Few,
    Prepared,
    PreparedPlainly,
    Many,
    ManyPlainly,
}

impl Text {
    fn of(way: Way, rows: usize) -> Self {
        match (way, rows) {
            (Way::OnConflict, 1) => Self::One,
            (Way::OnConflict, ..=FEW_ROWS) => Self::Few,
            (Way::OnConflict, ..=PREPARED_ROWS) => Self::Prepared,
            (Way::Plain, ..=PREPARED_ROWS) => Self::PreparedPlainly,
            (Way::OnConflict, _) => Self::Many,
            (Way::Plain, _) => Self::ManyPlainly,
        }
    }

    /// The text with a comment that changes when the table may have outgrown the plan of a statement that is kept prepared: when the rows
    /// sent by this process have doubled, and each minute, for those of others. A plan made for a small table reads all of it.
    fn dated(self, stage: &Stage, rows: usize) -> Sql {
        static KNOWN: Mutex<BTreeMap<(usize, usize), Known>> = Mutex::new(BTreeMap::new());
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let key = (ptr::from_ref(stage.table).addr(), ptr::from_ref(stage.key).addr());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(key).or_default();
        known.sent = known.sent.saturating_add(rows as u64);
        let date = (known.sent / SMALL_ROWS, START.elapsed().as_secs() / 60);
        let date = (date.0.checked_ilog2().unwrap_or_default(), date.1);
        if known.date != date {
            *known = Known { date, sent: known.sent, ..Known::default() };
        }
        let text = || format!("{} /* {} {} */", self.text(stage), date.0, date.1).into();
        known.texts[self as usize].get_or_insert_with(text).clone()
    }

    fn text(self, stage: &Stage) -> String {
        match self {
            Self::One => stage::merge_one(stage),
            Self::Few => stage::merge_giving(stage, Arrays::Hidden),
            Self::Prepared => stage::merge_arrays(stage, Arrays::Hidden),
            Self::PreparedPlainly => stage::merge_arrays_plainly(stage, Arrays::Hidden),
            Self::Many => stage::merge_arrays(stage, Arrays::Counted),
            Self::ManyPlainly => stage::merge_arrays_plainly(stage, Arrays::Counted),
        }
    }
}

/// What has been sent by one key of a model, and how.
#[derive(Default)]
struct Known {
    sent: u64,
    date: (u32, u64),
    texts: [Option<Sql>; 6],
}
