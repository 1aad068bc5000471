//! The steps of a bulk call.

use sqlx::{
    Postgres,
    postgres::{PgArguments, PgRow},
};

use crate::{
    backend::postgres::dialect::StagingPlan,
    backend::postgres::planner::{self, JoinSettings, Of},
    backend::postgres::{insert_few, load, merge, one_row, stage_state, stage_statements, text_columns},
    backend::staging::{Staging, Which},
    connection::link::Link,
    connection::scope::CallScope,
    feed::RowFeed,
    feed::source::Failure,
    outcome::{CallFuture, SqlFuture},
    sql::statement::Statement,
    sql::text::Sql,
};

impl Staging for Postgres {
    type StageState = stage_state::StageState;

    fn insert_few<'l>(
        scope: &'l mut CallScope<'_, Self>,
        stage: &'l StagingPlan,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> CallFuture<'l, Option<u64>, Failure> {
        Box::pin(insert_few::insert_few(scope, stage, feed))
    }

    fn open_stage<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> SqlFuture<'l, ()> {
        Box::pin(async move {
            let types = text_columns::staged_types(link, stage).await?;
            link.fetch(Statement::plain(&stage_statements::open(stage, &types))).await?;
            Ok(())
        })
    }

    fn fill_stage<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> CallFuture<'l, (), Failure> {
        Box::pin(load::fill(link, stage, feed))
    }

    fn merge_new<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> SqlFuture<'l, u64> {
        Box::pin(merge::merge_new(link, stage))
    }

    fn merge_marked<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> SqlFuture<'l, u64> {
        Box::pin(merge::merge_marked(link, stage))
    }

    fn update_existing<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> SqlFuture<'l, u64> {
        Box::pin(merge::update_existing(link, stage))
    }

    fn read_staged<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan,
        which: Which,
    ) -> SqlFuture<'l, Vec<PgRow>> {
        // Not as plain text: then the rows would come as text too, which not every type can be read from.
        let read = Statement::once(&stage_statements::read_staged(stage, which), PgArguments::default());
        Box::pin(async move {
            one_row::know_types(link, stage.table, stage.key).await?;
            let joins = JoinSettings::choose(link, stage, Of::Marks).await?;
            let rows = link.fetch(read).await?;
            joins.restore(link).await?;
            Ok(rows)
        })
    }

    fn explain_merge(stage: &StagingPlan) -> (Sql, Sql) {
        (stage_statements::insert_new(stage).into(), planner::explain(stage))
    }

    fn close_stage<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> SqlFuture<'l, ()> {
        Box::pin(async move { link.execute(Statement::plain(&stage_statements::close(stage))).await.map(drop) })
    }
}
