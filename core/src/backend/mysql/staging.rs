//! The steps of a bulk call.

use std::sync::OnceLock;

use sqlx::{MySql, mysql::MySqlRow};

use crate::{
    backend::mysql::dialect::StagingPlan,
    backend::mysql::key_index::{self, Found},
    backend::mysql::{insert_few, load, merge, stage_statements},
    backend::staging::{Staging, Which},
    connection::link::Link,
    connection::scope::CallScope,
    error::finding::Finding,
    feed::RowFeed,
    feed::source::Failure,
    outcome::{CallFuture, SqlFuture},
    sql::statement::Statement,
    sql::text::Sql,
};

impl Staging for MySql {
    type StageState = OnceLock<Found>;

    fn insert_few<'l>(
        scope: &'l mut CallScope<'_, Self>,
        stage: &'l StagingPlan,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> CallFuture<'l, Option<u64>, Failure> {
        Box::pin(insert_few::insert_few(scope, stage, feed))
    }

    fn open_stage<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan) -> SqlFuture<'l, ()> {
        Box::pin(async move {
            if key_index::find(link, stage).await?.is_none() {
                link.execute(Statement::plain(&key_index::ask_table(stage.table))).await?;
                return Err(Finding::NoUniqueIndex.into());
            }
            link.drop_stage().await?;
            link.execute(Statement::plain(&stage_statements::create_staged(stage))).await?;
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
    ) -> SqlFuture<'l, Vec<MySqlRow>> {
        Box::pin(merge::read_staged(link, stage, which))
    }

    fn explain_merge(stage: &StagingPlan) -> (Sql, Sql) {
        let merge = stage_statements::merge_new(stage);
        let explain = format!("EXPLAIN FORMAT=JSON {}", merge.as_str());
        (merge, explain.into())
    }

    fn close_stage<'l>(link: &'l mut Link<'_, Self>, _: &'l StagingPlan) -> SqlFuture<'l, ()> {
        Box::pin(link.drop_stage())
    }
}
