//! Filling the staging table, and the merges from it.
//!
//! On a pool a merge has a transaction of its own, at READ COMMITTED, where reading takes no locks. In a caller's transaction, which is
//! usually at REPEATABLE READ, an INSERT or UPDATE that reads the target would lock what it reads and the gaps beside it, and two merges
//! would deadlock: so a plain SELECT finds the rows to be made, their numbers are written to a table, and the INSERT reads only that.

use futures_util::future::{join, lazy};
use sqlx::{
    Arguments as _, MySql, Row as _,
    mysql::{MySqlArguments, MySqlRow},
};

use super::{
    CHUNK_BYTES, CHUNK_ROWS, MAX_BINDS, STATEMENT_OVERHEAD, catalogue, errors,
    key_order::Keys,
    one_row,
    staging::{self, Last, Sorted, StagingPlan, View},
};
use crate::{
    backend::{self, Which, account_for},
    connection::handle::Link,
    operations::bulk::{Chunk, Failure, RowFeed},
    sql::{Sql, Statement},
};

type Linked<'l, 'c> = &'l mut Link<'c, MySql>;

pub(super) async fn fill(
    link: Linked<'_, '_>,
    stage: &StagingPlan,
    feed: &mut RowFeed<'_, MySql>,
) -> Result<(), Failure> {
    feed.note_way("stage");
    let width = stage.columns.len();
    let full = (MAX_BINDS / (width + 1)).clamp(1, CHUNK_ROWS);
    let packet = stage.notes.get().map_or(CHUNK_BYTES, |found| found.packet).saturating_sub(STATEMENT_OVERHEAD);
    let wanted = packet.min(CHUNK_BYTES);
    let mut full_text = None;
    let mut staged = 0;
    let mut keys = Keys::new(stage);
    let fits = |chunk: &Chunk<MySql>| chunk.rows < full && chunk.values.size() < wanted;
    while let Some(Chunk { rows: chunk_rows, values }) = feed.chunk_while(fits).await? {
        // Before its last row the chunk was small enough; a row that is too large beside others may go alone.
        let alone = usize::from(values.size() > packet && chunk_rows > 1);
        let (mut start, mut added) = (0, false);
        for rows in parts(chunk_rows - alone, full).chain(parts(alone, full)) {
            let arguments = values.numbered(start..start + rows, width, staged).map_err(sqlx::Error::Encode)?;
            let text = match &full_text {
                Some(text) if rows == full => text,
                _ => &staging::stage_rows(stage, rows),
            };
            // While the server works on them. The next rows are not read then: their source may panic, and would leave the connection in
            // the middle of a statement.
            let meanwhile = lazy(|_| {
                if !std::mem::replace(&mut added, true) {
                    keys.add(&values, chunk_rows, width);
                }
            });
            let sent = join(link.execute(Statement::cached(text, arguments)), meanwhile).await.0?;
            account_for("staged", rows as u64, sent)?;
            if rows == full && full_text.is_none() {
                full_text = Some(text.clone());
            }
            staged += i64::try_from(rows).unwrap_or(0);
            start += rows;
        }
        feed.note_sent(chunk_rows);
    }
    if let Some(found) = stage.notes.get() {
        found.note_order(keys.order());
    }
    Ok(())
}

/// Splits a number of rows into parts of few different sizes.
///
/// So their statements stay prepared. The sizes are `full`, and powers of two.
///
/// To prepare a statement, run it and close it costs 40 ms over TCP: the server does not answer the closing, so it acknowledges it late,
/// and the driver's next packet waits for that (Nagle's algorithm, which sqlx leaves on).
pub(super) fn parts(rows: usize, full: usize) -> impl Iterator<Item = usize> {
    let largest = move |left: usize| match left {
        0 => None,
        _ if left >= full => Some(full),
        _ => Some(1 << left.ilog2()),
    };
    let mut left = rows;
    std::iter::from_fn(move || {
        let part = largest(left)?;
        left -= part;
        Some(part)
    })
}

pub(super) async fn merge_new(link: Linked<'_, '_>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    if !is_own(link) {
        return merge_shared(link, stage).await;
    }
    if staging::is_long(stage) || has_triggers(stage) {
        return merge_marked(link, stage).await;
    }
    let mut progress = Progress::default();
    loop {
        match link.execute(Statement::plain(&staging::merge_new(stage))).await {
            // Another writer made a row in between, or two numbers are one key as the column holds them: it is not looked into here.
            Err(error) if backend::is_unique_violation(&error) && staging::no_longer_distinct(stage) => {}
            Err(error) if backend::is_unique_violation(&error) => {
                let left = count(link, &staging::count_absent(stage)).await?;
                progress.check(stage, left, error)?;
            }
            // A row may refer to another of the same call: those are made as they came.
            Err(error) if errors::is_no_parent(&error) => return merge_marked(link, stage).await,
            Err(error) => return Err(explained(link, error).await),
            outcome => return outcome,
        }
    }
}

fn has_triggers(stage: &StagingPlan) -> bool {
    stage.notes.get().is_some_and(|found| found.triggers)
}

/// Makes the rows that are marked, and returns how many.
///
/// It fails where one of them is not found by its key then.
async fn insert_made(link: Linked<'_, '_>, stage: &StagingPlan, marked: u64) -> Result<u64, sqlx::Error> {
    let made = match link.execute(Statement::plain(&staging::insert_made(stage, Sorted::ByKey))).await {
        Err(error) if errors::is_no_parent(&error) => {
            link.execute(Statement::plain(&staging::insert_made(stage, Sorted::AsTheyCame))).await
        }
        made => made,
    };
    let made = match made {
        Ok(made) => made,
        Err(error) => return Err(explained(link, error).await),
    };
    account_for("marked and made", marked, made)?;
    if has_triggers(stage) && count(link, &staging::count_lost(stage)).await? > 0 {
        let cause = catalogue::causes(link, &one_row::ask_cause(stage.table, stage.key)).await?;
        return Err(errors::mismatch(cause.unwrap_or_default()));
    }
    Ok(made)
}

/// Tells used-up numbers from a deadlock on the table's counter.
///
/// The deadlock ends the transaction.
pub(super) async fn explained(link: Linked<'_, '_>, error: sqlx::Error) -> sqlx::Error {
    if errors::is_no_auto_increment(&error) && matches!(<MySql as backend::Engine>::is_open(link.raw()).await, Ok(true))
    {
        return errors::used_up();
    }
    error
}

pub(super) async fn merge_marked(link: Linked<'_, '_>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    if !is_own(link) {
        return merge_shared(link, stage).await;
    }
    link.execute(Statement::plain(&staging::create_made(stage))).await?;
    let mut progress = Progress::default();
    loop {
        link.execute(Statement::plain(&staging::clear_made(stage))).await?;
        let absent = link.execute(Statement::plain(&staging::mark_absent(stage))).await?;
        match insert_made(link, stage, absent).await {
            Err(error) if backend::is_unique_violation(&error) => progress.check(stage, absent, error)?,
            outcome => return outcome,
        }
    }
}

/// Merges in a caller's transaction.
async fn merge_shared(link: Linked<'_, '_>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    link.execute(Statement::plain(&staging::create_made(stage))).await?;
    let mut made = numbers(link, Statement::plain(&staging::find_absent(stage))).await?;
    let mut progress = Progress::default();
    loop {
        link.execute(Statement::plain(&staging::clear_made(stage))).await?;
        let mut rest = made.iter();
        for part in parts(made.len(), CHUNK_ROWS) {
            let mut arguments = MySqlArguments::default();
            for number in rest.by_ref().take(part) {
                arguments.add(*number).map_err(sqlx::Error::Encode)?;
            }
            link.execute(Statement::cached(&staging::add_made(stage, part), arguments)).await?;
        }
        match insert_made(link, stage, made.len() as u64).await {
            Err(error) if backend::is_unique_violation(&error) => {
                // Rows that others have committed since the transaction's snapshot are seen by a locking read only.
                made = numbers(link, Statement::plain(&staging::find_still_absent(stage))).await?;
                progress.check(stage, made.len() as u64, error)?;
            }
            outcome => return outcome,
        }
    }
}

/// Tells another writer's rows from a violation of another unique index.
///
/// The other writer made a row in between.
#[derive(Default)]
struct Progress {
    /// The rows still to be made when last asked.
    left: Option<u64>,
    tries: u32,
}

/// The most tries of a merge that makes no progress.
///
/// It runs again without fewer rows to be made: somebody deletes as fast as others insert.
const TRIES: u32 = 20;

impl Progress {
    fn check(&mut self, stage: &StagingPlan, left: u64, error: sqlx::Error) -> Result<(), sqlx::Error> {
        if self.left.is_some_and(|before| left >= before) {
            if !stage.notes.get().is_some_and(|found| errors::names_index(&error, &found.index)) {
                return Err(error);
            }
            self.tries += 1;
            if self.tries >= TRIES {
                // Rows come and go: for the caller the same as one that was deleted after the merge had found it.
                return Err(sqlx::Error::RowNotFound);
            }
        }
        self.left = Some(left);
        Ok(())
    }
}

pub(super) async fn update_existing(link: Linked<'_, '_>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    let counts = link.fetch(Statement::plain(&staging::count_keys(stage))).await?;
    let counts = counts.first().ok_or(sqlx::Error::RowNotFound)?;
    let (rows, keys, made): (i64, i64, i64) = (counts.try_get(0)?, counts.try_get(1)?, counts.try_get(2)?);
    let existing = u64::try_from(keys - made).unwrap_or(0);
    if let (true, Some(update)) = (existing > 0, staging::update_rows(stage, Last::OfExisting))
        && link.execute(Statement::plain(&update)).await? < existing
    {
        // A row was deleted after the merge had found it.
        return Err(sqlx::Error::RowNotFound);
    }
    if let (true, Some(update)) = (rows > keys, staging::update_rows(stage, Last::OfMade)) {
        link.execute(Statement::plain(&update)).await?;
    }
    Ok(existing)
}

pub(super) async fn read_staged(
    link: Linked<'_, '_>,
    stage: &StagingPlan,
    which: Which,
) -> Result<Vec<MySqlRow>, sqlx::Error> {
    let read = |view| Statement::cached(&staging::read_staged(stage, which, view), MySqlArguments::default());
    let rows = link.fetch(read(View::Own)).await?;
    if which == Which::All {
        account_for("staged and read back", stage.rows(), rows.len() as u64)?;
    }
    let mut all_found = true;
    for row in &rows {
        all_found &= <MySql as backend::Engine>::mark(row)?.found;
    }
    // What others have committed since the transaction's snapshot is seen by a locking read only.
    if is_own(link) || all_found {
        return Ok(rows);
    }
    link.fetch(read(View::Locked)).await
}

/// Returns true if the merge's transaction is the call's own.
fn is_own(link: &Link<'_, MySql>) -> bool {
    matches!(link, Link::Pooled(..))
}

async fn count(link: Linked<'_, '_>, sql: &Sql) -> Result<u64, sqlx::Error> {
    let number = numbers(link, Statement::plain(sql)).await?.pop();
    number.and_then(|number| number.try_into().ok()).ok_or(sqlx::Error::RowNotFound)
}

pub(super) async fn numbers(link: Linked<'_, '_>, statement: Statement<MySql>) -> Result<Vec<i64>, sqlx::Error> {
    link.fetch(statement).await?.iter().map(|row| row.try_get(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_few_sizes_and_make_the_whole() {
        for rows in 0..5_000 {
            let parts: Vec<usize> = parts(rows, 1_000).collect();
            assert_eq!(parts.iter().sum::<usize>(), rows);
            assert!(parts.iter().all(|part| *part == 1_000 || (*part < 1_000 && part.is_power_of_two())), "{parts:?}");
        }
    }
}
