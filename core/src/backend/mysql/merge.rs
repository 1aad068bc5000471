//! Filling the staging table, and the merges from it.
//!
//! On a pool a merge has a transaction of its own, at READ COMMITTED, where reading takes no locks. In a caller's transaction, which is
//! usually at REPEATABLE READ, an INSERT or UPDATE that reads the target would lock what it reads and the gaps beside it, and two merges
//! would deadlock: so a plain SELECT finds the rows to be made, their numbers are written to a table, and the INSERT reads only that.

use sqlx::{
    Arguments as _, MySql, Row as _,
    mysql::{MySqlArguments, MySqlRow},
};

use crate::{
    backend::mysql::dialect::{CHUNK_ROWS, StagingPlan},
    backend::mysql::load::parts,
    backend::mysql::stage_statements::{self, Last, Sorted, View},
    backend::mysql::{catalogue, one_row, row_statements},
    backend::staging::{Mark, Which},
    connection::link::Link,
    error::classify::is_unique_violation,
    error::finding::{account_for, other_key},
    error::mysql::{NO_PARENT, has_number, names_index},
    sql::statement::Statement,
};

type Linked<'l, 'c> = &'l mut Link<'c, MySql>;

pub(super) async fn merge_new(link: Linked<'_, '_>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    if !is_own(link) {
        return merge_shared(link, stage).await;
    }
    if stage_statements::is_long(stage) || has_triggers(stage) {
        return merge_marked(link, stage).await;
    }
    let mut progress = Progress::default();
    loop {
        match link.execute(Statement::plain(&stage_statements::merge_new(stage))).await {
            // Another writer made a row in between, or two numbers are one key as the column holds them: it is not looked into here.
            Err(error) if is_unique_violation(&error) && stage_statements::no_longer_distinct(stage) => {}
            Err(error) if is_unique_violation(&error) => {
                let left = link.count(Statement::plain(&stage_statements::count_absent(stage))).await?;
                progress.check(stage, left, error)?;
            }
            // A row may refer to another of the same call: those are made as they came.
            Err(error) if has_number(&error, NO_PARENT) => return merge_marked(link, stage).await,
            Err(error) => return Err(one_row::explained(link, error).await),
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
    let made = match link.execute(Statement::plain(&stage_statements::insert_made(stage, Sorted::ByKey))).await {
        Err(error) if has_number(&error, NO_PARENT) => {
            link.execute(Statement::plain(&stage_statements::insert_made(stage, Sorted::AsTheyCame))).await
        }
        made => made,
    };
    let made = match made {
        Ok(made) => made,
        Err(error) => return Err(one_row::explained(link, error).await),
    };
    account_for("marked and made", marked, made)?;
    if has_triggers(stage) && link.count(Statement::plain(&stage_statements::count_lost(stage))).await? > 0 {
        let cause = catalogue::causes(link, &row_statements::ask_cause(stage.table, stage.key)).await?;
        return Err(other_key(cause));
    }
    Ok(made)
}

pub(super) async fn merge_marked(link: Linked<'_, '_>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    if !is_own(link) {
        return merge_shared(link, stage).await;
    }
    link.execute(Statement::plain(&stage_statements::create_made(stage))).await?;
    let mut progress = Progress::default();
    loop {
        link.execute(Statement::plain(&stage_statements::clear_made(stage))).await?;
        let absent = link.execute(Statement::plain(&stage_statements::mark_absent(stage))).await?;
        match insert_made(link, stage, absent).await {
            Err(error) if is_unique_violation(&error) => progress.check(stage, absent, error)?,
            outcome => return outcome,
        }
    }
}

/// Merges in a caller's transaction.
async fn merge_shared(link: Linked<'_, '_>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    link.execute(Statement::plain(&stage_statements::create_made(stage))).await?;
    let mut made = numbers(link, Statement::plain(&stage_statements::find_absent(stage))).await?;
    let mut progress = Progress::default();
    loop {
        link.execute(Statement::plain(&stage_statements::clear_made(stage))).await?;
        let mut rest = made.iter();
        for part in parts(made.len(), CHUNK_ROWS) {
            let mut arguments = MySqlArguments::default();
            for number in rest.by_ref().take(part) {
                arguments.add(*number).map_err(sqlx::Error::Encode)?;
            }
            link.execute(Statement::cached(&stage_statements::add_made(stage, part), arguments)).await?;
        }
        match insert_made(link, stage, made.len() as u64).await {
            Err(error) if is_unique_violation(&error) => {
                // Rows that others have committed since the transaction's snapshot are seen by a locking read only.
                made = numbers(link, Statement::plain(&stage_statements::find_still_absent(stage))).await?;
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
            if !stage.notes.get().is_some_and(|found| names_index(&error, &found.index)) {
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
    let counts = link.fetch(Statement::plain(&stage_statements::count_keys(stage))).await?;
    let counts = counts.first().ok_or(sqlx::Error::RowNotFound)?;
    let (rows, keys, made): (i64, i64, i64) = (counts.try_get(0)?, counts.try_get(1)?, counts.try_get(2)?);
    let existing = u64::try_from(keys - made).unwrap_or(0);
    if let (true, Some(update)) = (existing > 0, stage_statements::update_rows(stage, Last::OfExisting))
        && link.execute(Statement::plain(&update)).await? < existing
    {
        // A row was deleted after the merge had found it.
        return Err(sqlx::Error::RowNotFound);
    }
    if let (true, Some(update)) = (rows > keys, stage_statements::update_rows(stage, Last::OfMade)) {
        link.execute(Statement::plain(&update)).await?;
    }
    Ok(existing)
}

pub(super) async fn read_staged(
    link: Linked<'_, '_>,
    stage: &StagingPlan,
    which: Which,
) -> Result<Vec<MySqlRow>, sqlx::Error> {
    let read = |view| Statement::cached(&stage_statements::read_staged(stage, which, view), MySqlArguments::default());
    let rows = link.fetch(read(View::Own)).await?;
    if which == Which::All {
        account_for("staged and read back", stage.rows(), rows.len() as u64)?;
    }
    let mut all_found = true;
    for row in &rows {
        all_found &= Mark::read::<MySql>(row)?.found;
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

pub(super) async fn numbers(link: Linked<'_, '_>, statement: Statement<MySql>) -> Result<Vec<i64>, sqlx::Error> {
    link.fetch(statement).await?.iter().map(|row| row.try_get(0)).collect()
}
