//! The merge from the staging table, also beside another writer.

use sqlx::Postgres;

use crate::{
    backend::postgres::dialect::StagingPlan,
    backend::postgres::planner::{self, JoinSettings, Of},
    backend::postgres::stage_statements,
    connection::link::Link,
    error::classify::is_unique_violation,
    error::postgres::database_error,
    sql::statement::Statement,
    sql::text::Sql,
};

/// Tries of a statement that fails despite its conflict clause.
///
/// It fails on a unique index all the same. Another writer of the same rows can be in another index before it is in the key's; one that
/// stays in the way is of another key.
pub(super) const COLLISIONS: u32 = 3;

pub(super) async fn merge_new(link: &mut Link<'_, Postgres>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    let joins = JoinSettings::choose(link, stage, Of::Rows).await?;
    let created = match link.execute(Statement::plain(&stage_statements::merge_new(stage))).await {
        Err(error) if is_unique_violation(&error) => {
            link.execute(Statement::plain(&stage_statements::undo())).await?;
            colliding(link, &stage_statements::merge_colliding(stage)).await?
        }
        outcome => outcome?,
    };
    joins.restore(link).await?;
    Ok(created)
}

pub(super) async fn merge_marked(link: &mut Link<'_, Postgres>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    let joins = JoinSettings::choose(link, stage, Of::Rows).await?;
    link.execute(Statement::plain(&stage_statements::mark_new(stage))).await?;
    joins.restore(link).await?;
    analyze_marks(link, stage).await?;
    match link.execute(Statement::plain(&stage_statements::insert_marked(stage))).await {
        Err(error) if is_unique_violation(&error) => {
            link.execute(Statement::plain(&stage_statements::undo())).await?;
            joins.restore(link).await?;
            let created = colliding(link, &stage_statements::insert_and_mark(stage)).await?;
            analyze_marks(link, stage).await?;
            Ok(created)
        }
        outcome => outcome,
    }
}

/// Tells the planner how many marks there are.
///
/// The marks are joined with the staged rows, of which the planner would take them to be one or none.
async fn analyze_marks(link: &mut Link<'_, Postgres>, stage: &StagingPlan) -> Result<(), sqlx::Error> {
    if stage.rows() > planner::FEW_MARKED {
        link.execute(Statement::plain(&stage_statements::analyze_marks(stage))).await?;
    }
    Ok(())
}

async fn colliding(link: &mut Link<'_, Postgres>, merge: &Sql) -> Result<u64, sqlx::Error> {
    for _ in 1..COLLISIONS {
        match link.count(Statement::plain(merge)).await {
            Err(error) if is_unique_violation(&error) => {
                link.execute(Statement::plain(&stage_statements::undo())).await?;
            }
            outcome => return outcome,
        }
    }
    link.count(Statement::plain(merge)).await
}

/// Updates the rows that were there, and counts them.
///
/// The rows are counted when they are locked: a trigger may leave out an update that changes nothing.
pub(super) async fn update_existing(link: &mut Link<'_, Postgres>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    let joins = JoinSettings::choose(link, stage, Of::Marks).await?;
    let updated = update_marked(link, stage).await?;
    joins.restore(link).await?;
    Ok(updated)
}

async fn update_marked(link: &mut Link<'_, Postgres>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    let wanted = link.count(Statement::plain(&stage_statements::mark_last(stage))).await?;
    analyze_marks(link, stage).await?;
    let Some(update) = stage_statements::update_marked(stage) else { return Ok(wanted) };
    // A row that was deleted since its key was found taken.
    if wanted > 0 && lock_marked(link, stage).await? < wanted {
        return Err(sqlx::Error::RowNotFound);
    }
    link.execute(Statement::plain(&update)).await?;
    Ok(wanted)
}

/// Locks the rows that will be updated, and counts them.
///
/// A sharded server counts and locks at once in none of its tables; those of one node it locks where the rows are given, and others cannot
/// be locked so. Then a deadlock can end the merge, which is done again on a pool.
async fn lock_marked(link: &mut Link<'_, Postgres>, stage: &StagingPlan) -> Result<u64, sqlx::Error> {
    match link.count(Statement::plain(&stage_statements::lock_marked(stage))).await {
        Err(error) if is_refused_sharded(&error) => {}
        outcome => return outcome,
    }
    link.execute(Statement::plain(&stage_statements::undo())).await?;
    match link.fetch(Statement::plain(&stage_statements::lock_marked_rows(stage))).await {
        Err(error) if is_refused_sharded(&error) => {}
        outcome => return outcome.map(|rows| rows.len() as u64),
    }
    link.execute(Statement::plain(&stage_statements::undo())).await?;
    link.count(Statement::plain(&stage_statements::count_marked(stage))).await
}

/// Returns true if a sharded server refuses a form of statement.
///
/// It says so, or fails on the value of a count.
fn is_refused_sharded(error: &sqlx::Error) -> bool {
    database_error(error).is_some_and(|error| matches!(error.code(), "0A000" | "22P02"))
}
