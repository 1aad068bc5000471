//! The steps of a bulk call.

use std::{collections::HashMap, sync::OnceLock};

use futures_util::future::{join, lazy};
use sqlx::{Sqlite, sqlite::SqliteRow};

use crate::{
    backend::sqlite::dialect::{MAX_BINDS, OR_ABORT, StagingPlan},
    backend::sqlite::insert_behavior::{self, InsertBehavior},
    backend::sqlite::{insert_few, key_index, one_row, presence_sample, row_statements, stage_statements},
    backend::staging::{Staging, Which},
    connection::link::Link,
    connection::scope::CallScope,
    error::finding::Finding,
    error::finding::{account_for, other_key},
    error::sqlite::is_refused,
    feed::source::Failure,
    feed::{Chunk, RowFeed},
    outcome::{CallFuture, SqlFuture},
    sql::statement::Statement,
    sql::text::Sql,
};

impl Staging for Sqlite {
    type StageState = OnceLock<InsertBehavior>;

    const PLAN_COLUMN: usize = 3;

    fn insert_few<'l>(
        scope: &'l mut CallScope<'_, Self>,
        stage: &'l StagingPlan,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> CallFuture<'l, Option<u64>, Failure> {
        Box::pin(insert_few::insert_few(scope, stage, feed))
    }

    fn open_stage<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> SqlFuture<'l, ()> {
        Box::pin(async move {
            let key = key_index::key_columns(link, stage.table, stage.key).await?.ok_or(Finding::NoUniqueIndex)?;
            link.drop_stage().await?;
            link.execute(Statement::plain(&stage_statements::create_stage(stage, &key))).await?;
            Ok(())
        })
    }

    fn fill_stage<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> CallFuture<'l, (), Failure> {
        Box::pin(async move {
            feed.note_way("stage");
            let mut texts = HashMap::new();
            while let Some(Chunk { rows, values }) = feed.chunk(stage_chunk(stage, feed.sent())).await? {
                let statement = if rows == stage_chunk(stage, feed.sent()) {
                    Statement::cached(
                        texts.entry(rows).or_insert_with(|| stage_statements::stage_rows(stage, rows)),
                        values,
                    )
                } else {
                    Statement::once(&stage_statements::stage_rows(stage, rows), values)
                };
                let next = stage_chunk(stage, feed.sent() + rows as u64);
                // The connection's thread works on them while the next are written here.
                let (sent, ahead) = join(link.execute(statement), lazy(|_| feed.read_ahead(next))).await;
                let staged = sent?;
                account_for("staged", rows as u64, staged)?;
                feed.note_sent(rows);
                ahead?;
            }
            Ok(())
        })
    }

    fn merges_whole<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> SqlFuture<'l, bool> {
        Box::pin(async move { Ok(insert_behavior::of_stage(link, stage).await?.fails_as_a_whole()) })
    }

    fn merge_new<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> SqlFuture<'l, u64> {
        Box::pin(async move {
            if stage_statements::has_many_rows(stage) {
                link.execute(Statement::plain(&stage_statements::FREE_PAGES.into())).await?;
            }
            let nature = insert_behavior::of_stage(link, stage).await?;
            if nature.triggers {
                return merge_watched(
                    link,
                    stage,
                    &stage_statements::merge_new(stage, nature.or_abort()),
                    &stage_statements::count_new(stage),
                )
                .await;
            }
            if nature.skips_quietly && presence_sample::is_fastest_as_it_came(link, stage).await? {
                match link.execute(Statement::plain(&stage_statements::merge_as_it_came(stage))).await {
                    Err(error) if is_refused(&error) => {}
                    merged => return merged,
                }
            }
            link.execute(Statement::plain(&stage_statements::merge_new(stage, nature.or_abort()))).await
        })
    }

    fn merge_marked<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> SqlFuture<'l, u64> {
        Box::pin(async move {
            link.execute(Statement::plain(&stage_statements::take_write_lock(stage))).await?;
            link.execute(Statement::plain(&stage_statements::mark_new(stage))).await?;
            let nature = insert_behavior::of_stage(link, stage).await?;
            let created =
                link.execute(Statement::plain(&stage_statements::insert_marked(stage, nature.or_abort()))).await?;
            // A row that a trigger has dropped is not counted, and one that it has stored with another key is.
            if nature.triggers && link.count(Statement::plain(&stage_statements::count_made(stage))).await? < created {
                return Err(other_key(
                    one_row::cause(link, &row_statements::mismatch_cause(stage.table, stage.key)).await?,
                ));
            }
            Ok(created)
        })
    }

    fn update_existing<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> SqlFuture<'l, u64> {
        Box::pin(async move {
            let existing = link
                .execute(Statement::plain(&stage_statements::mark_last(
                    stage,
                    stage_statements::CREATED_NOWHERE,
                    stage_statements::MARK_UPDATE,
                )))
                .await?;
            let or_abort = insert_behavior::of_stage(link, stage).await?.or_abort();
            let Some(update) = stage_statements::update_marked(stage, or_abort) else { return Ok(existing) };
            link.execute(Statement::plain(&stage_statements::mark_last(
                stage,
                stage_statements::CREATED_HERE,
                stage_statements::MARK_AGAIN,
            )))
            .await?;
            link.execute(Statement::plain(&update)).await?;
            Ok(existing)
        })
    }

    fn read_staged<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
        which: Which,
    ) -> SqlFuture<'l, Vec<SqliteRow>> {
        Box::pin(async move { link.fetch(Statement::plain(&stage_statements::read_staged(stage, which))).await })
    }

    fn explain_merge(stage: &StagingPlan) -> (Sql, Sql) {
        let merge = stage_statements::merge_new(stage, OR_ABORT);
        let explain = format!("EXPLAIN QUERY PLAN {}", merge.as_str());
        (merge, explain.into())
    }

    fn close_stage<'l>(link: &'l mut Link<'_, Self>, _: &'l StagingPlan) -> SqlFuture<'l, ()> {
        Box::pin(link.drop_stage())
    }
}

/// Rows of one staging statement.
///
/// Each statement is a hop to the connection's thread; and the last one, of fewer rows, has to be parsed for itself.
const CHUNK_ROWS: usize = 1_000;

/// Rows of one staging statement once there are [`MANY_STAGED`].
///
/// The last statement hardly counts then: 200,000 rows of 3 integers are staged in 0.8 of the time so.
const LONG_CHUNK_ROWS: usize = 4_000;

const MANY_STAGED: u64 = 20_000;

/// Merges and checks that no trigger changed the rows' keys.
///
/// A trigger may store a row with another key: as many keys have to be there more as rows were made.
async fn merge_watched(
    link: &mut Link<'_, Sqlite>,
    stage: &StagingPlan,
    merge: &Sql,
    count_new: &Sql,
) -> Result<u64, sqlx::Error> {
    link.execute(Statement::plain(&stage_statements::take_write_lock(stage))).await?;
    let before = link.count(Statement::plain(count_new)).await?;
    let created = link.execute(Statement::plain(merge)).await?;
    let after = link.count(Statement::plain(count_new)).await?;
    if before.saturating_sub(after) < created {
        return Err(other_key(one_row::cause(link, &row_statements::mismatch_cause(stage.table, stage.key)).await?));
    }
    Ok(created)
}

/// Returns the rows of a staging statement.
///
/// It goes by the rows that are staged already.
fn stage_chunk(stage: &StagingPlan, staged: u64) -> usize {
    let most = if staged < MANY_STAGED { CHUNK_ROWS } else { LONG_CHUNK_ROWS };
    (MAX_BINDS / stage.columns.len().max(1)).clamp(1, most)
}
