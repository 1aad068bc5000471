//! The rows of a short call, created without a staging table.

use std::{
    collections::BTreeMap,
    ptr,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
    time::Instant,
};

use sqlx::{
    Connection as _, PgPool, Pool, Postgres,
    postgres::{PgConnectOptions, PgDatabaseError},
};

use crate::{
    backend::postgres::dialect::StagingPlan,
    backend::postgres::merge::COLLISIONS,
    backend::postgres::stage_statements::{self, Arrays, Late},
    backend::postgres::{encoding, load, session, text_columns},
    connection::link::Link,
    connection::scope::CallScope,
    driver::Driver as _,
    error::classify::{is_retryable, is_unique_violation},
    error::postgres::{CHECKED_LATE, database_error},
    feed::source::Failure,
    feed::{Chunk, RowFeed},
    retry::Retry,
    sql::statement::Statement,
    sql::text::Sql,
};

/// The most rows whose statement is kept prepared.
///
/// To parse and to plan it takes a millisecond, beside 0.2 for 1 row and 17 for 1,000.
const PREPARED_ROWS: usize = 1_000;

/// Rows of a table that a scan reads as quickly.
///
/// A table of so many rows is read as a whole about as quickly as by its index.
const SMALL_ROWS: u64 = 256;

/// A statement's way to bear rows that others create meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// A conflict clause.
    ///
    /// It looks into the index once more for each new row.
    OnConflict,
    /// No conflict clause.
    ///
    /// Where the statement fails, [`OnConflict`](Self::OnConflict) takes over. Nothing is lost by that where the statement is the whole
    /// transaction.
    Plain,
    /// A conflict clause and a join, for a sharded server.
    ///
    /// The table is joined and not looked into.
    Joined,
}

/// Creates the rows of a short call by one statement.
///
/// The rows travel in arrays. A staging table would cost more than all the rest, up to some ten thousand rows.
pub(super) async fn insert_few(
    scope: &mut CallScope<'_, Postgres>,
    stage: &StagingPlan,
    feed: &mut RowFeed<'_, Postgres>,
) -> Result<Option<u64>, Failure> {
    if stage.key.nulls_not_distinct || !encoding::are_fields(&stage.types) {
        return Ok(None);
    }
    let Some(chunk) = load::next_for_arrays(feed).await? else { return Ok(Some(0)) };
    if feed.has_more().await? || !text_columns::compares_as_sent(scope.link()?, stage).await? {
        feed.take_back(chunk);
        return Ok(None);
    }
    feed.note_way("unnest");
    // Before the rows are kept, for a listener can panic.
    feed.note_sent(chunk.rows);
    if Size::of(chunk.rows) == Size::Many {
        // It is not kept prepared, so it has no name, and behind a pooler its two messages reach one server in a transaction only.
        scope.begin_transaction().await?;
    }
    let created = create_somehow(scope.link()?, stage, &chunk).await?;
    if created.is_none() {
        feed.take_back_sent(chunk);
    }
    Ok(created)
}

/// Creates the rows in the first way that the server takes.
///
/// `None` if there is none: a sharded server may know the statements of a staging table only.
async fn create_somehow(
    link: &mut Link<'_, Postgres>,
    stage: &StagingPlan,
    chunk: &Chunk<Postgres>,
) -> Result<Option<u64>, sqlx::Error> {
    let pool = match link {
        Link::Pooled(_, pool) => Some(*pool),
        Link::Bare(_) | Link::Inside(_) => None,
    };
    let is_own = pool.is_some();
    // With one row, to ask for the unique index beside the INSERT costs as much as the clause where the row is new, and more where it is
    // there.
    let mut way = match Known::of(pool, stage, |known| known.is_sharded) {
        true => Way::Joined,
        false if is_own && chunk.rows > 1 => Way::Plain,
        false => Way::OnConflict,
    };
    let mut retry = Retry::new(Postgres::ATTEMPTS);
    let mut collisions = 0;
    loop {
        match create(link, pool, stage, chunk, way).await {
            Err(error) if way == Way::Plain && is_for_conflict_clause(&error) => way = Way::OnConflict,
            Err(error) if way == Way::OnConflict && is_unsupported(&error) => {
                Known::of(pool, stage, |known| known.is_sharded = true);
                way = Way::Joined;
            }
            Err(error) if is_unsupported(&error) => {
                undo(link).await?;
                return Ok(None);
            }
            Err(error) if is_own && is_retryable(&error) && retry.again(Some(&error)).await => {}
            Err(error) if is_unique_violation(&error) && collisions + 1 < COLLISIONS => collisions += 1,
            outcome => return outcome.map(Some),
        }
        undo(link).await?;
    }
}

/// Undoes a failed statement, unless it was a transaction by itself.
async fn undo(link: &mut Link<'_, Postgres>) -> Result<(), sqlx::Error> {
    let is_alone = matches!(link, Link::Pooled(..)) && !link.raw().is_in_transaction();
    if !is_alone {
        let undo = session::undo_call(link.raw());
        link.execute(Statement::plain(&undo)).await?;
    }
    Ok(())
}

async fn create(
    link: &mut Link<'_, Postgres>,
    pool: Option<&PgPool>,
    stage: &StagingPlan,
    chunk: &Chunk<Postgres>,
    way: Way,
) -> Result<u64, sqlx::Error> {
    let (text, sql) = Known::of(pool, stage, |known| known.statement(stage, way, chunk.rows));
    let arguments = load::arrays(stage, chunk)?;
    let statement = match text.size {
        Size::Many => Statement::once(&sql, arguments),
        _ => Statement::cached(&sql, arguments),
    };
    if way != Way::Plain {
        // A sharded server counts wrongly what goes in past a conflict clause, and gives the right rows.
        return link.count(statement).await;
    }
    let created = link.execute(statement).await?;
    Known::of(pool, stage, |known| known.none_is_late = true);
    Ok(created)
}

/// Returns true if the conflict clause has to take over.
///
/// Another writer got in between, an index is checked late, or the server cannot run the statement without the clause (a sharded one).
fn is_for_conflict_clause(error: &sqlx::Error) -> bool {
    let checked_late = |error: &PgDatabaseError| error.code() == "22P02" && error.message().contains(CHECKED_LATE);
    is_unique_violation(error) || is_unsupported(error) || database_error(error).is_some_and(checked_late)
}

/// Returns true if the server cannot run a form of statement.
///
/// A sharded one says so, or fails inside.
fn is_unsupported(error: &sqlx::Error) -> bool {
    !is_unique_violation(error) && database_error(error).is_some_and(|error| matches!(error.code(), "0A000" | "XX000"))
}

/// A statement that creates rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Text {
    way: Way,
    size: Size,
    late: Late,
}

/// The class of the number of rows of a statement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Size {
    One,
    Prepared,
    Many,
}

impl Size {
    fn of(rows: usize) -> Self {
        if rows <= 1 {
            Self::One
        } else if rows <= PREPARED_ROWS {
            Self::Prepared
        } else {
            Self::Many
        }
    }
}

impl Text {
    fn sql(self, stage: &StagingPlan) -> String {
        let arrays = if self.size == Size::Many { Arrays::Counted } else { Arrays::Hidden };
        match (self.way, self.size) {
            (Way::OnConflict, Size::One) => stage_statements::merge_one(stage),
            (Way::OnConflict, _) => stage_statements::merge_arrays(stage, arrays),
            (Way::Plain, _) => stage_statements::merge_arrays_plainly(stage, arrays, self.late),
            (Way::Joined, _) => stage_statements::merge_arrays_joined(stage, arrays),
        }
    }
}

/// The cached facts about a table and one key.
///
/// Rows have been sent to the table by that key. The facts hold for as long as their date stands.
struct Known {
    /// The pool whose database it is.
    ///
    /// As long as this is kept, no other pool's options are at the same address.
    pool: Option<Weak<PgConnectOptions>>,
    sent: u64,
    /// A date that changes when prepared plans may be too old.
    ///
    /// The table may have outgrown the plan of a statement that is kept prepared, for one made for a small table reads all of it. It
    /// changes when the rows sent by this process have doubled, and each minute, for those of others.
    date: (u32, u64),
    none_is_late: bool,
    /// Set once another form of statement was refused.
    is_sharded: bool,
    texts: BTreeMap<Text, Sql>,
}

impl Known {
    fn of<T>(pool: Option<&PgPool>, stage: &StagingPlan, what: impl FnOnce(&mut Self) -> T) -> T {
        static KNOWN: Mutex<BTreeMap<[usize; 3], Known>> = Mutex::new(BTreeMap::new());
        let options = pool.map(Pool::connect_options);
        let of_pool = options.as_ref().map_or(0, |options| Arc::as_ptr(options).addr());
        let key = [of_pool, ptr::from_ref(stage.table).addr(), ptr::from_ref(stage.key).addr()];
        let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(&key) {
            all.retain(|_, known| known.pool.as_ref().is_none_or(|pool| pool.strong_count() > 0));
        }
        what(all.entry(key).or_insert_with(|| {
            let pool = options.as_ref().map(Arc::downgrade);
            Self { pool, sent: 0, date: (0, 0), none_is_late: false, is_sharded: false, texts: BTreeMap::new() }
        }))
    }

    /// Returns the statement for so many rows more.
    ///
    /// It has the date as a comment.
    fn statement(&mut self, stage: &StagingPlan, way: Way, rows: usize) -> (Text, Sql) {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.sent = self.sent.saturating_add(rows as u64);
        let doubled = (self.sent / SMALL_ROWS).checked_ilog2().unwrap_or_default();
        let date = (doubled, START.elapsed().as_secs() / 60);
        if self.date != date {
            self.date = date;
            self.none_is_late = false;
            self.texts.clear();
        }
        let late = if self.none_is_late { Late::Known } else { Late::Asked };
        let text = Text { way, size: Size::of(rows), late };
        let sql = || format!("{} /* {} {} */", text.sql(stage), date.0, date.1).into();
        (text, self.texts.entry(text).or_insert_with(sql).clone())
    }
}
