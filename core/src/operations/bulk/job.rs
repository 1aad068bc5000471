//! A bulk call: its rows staged, then merged.

use std::time::{Duration, Instant};

use tracing::Level;

use crate::{
    backend::Backend,
    backend::staging::{Mark, StagingPlan, Which},
    connection::handle::Session,
    connection::link::Link,
    connection::scope::CallScope,
    error::Error,
    error::finding::account_for,
    error::redact::Redacted,
    feed::RowFeed,
    feed::progress::Progress,
    feed::source::{Failure, Limited, Source},
    operations::target::Target,
    retry::Retry,
    sql::statement::Statement,
    trace::span::{self, CallSpan},
};

/// The aim of a bulk call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Creates the rows whose key is not there.
    Create,
    /// Creates the rows whose key is not there, and reads them.
    CreateAndRead,
    /// Finds or creates a row for each that came.
    GetOrCreate,
    /// Creates the rows whose key is missing, and updates the others.
    Upsert,
    /// Creates or updates rows, and reads the rows created.
    UpsertAndRead,
}

/// Outcome of a bulk call.
pub(crate) struct Merged<DB: Backend> {
    pub(crate) received: u64,
    pub(crate) created: u64,
    pub(crate) updated: u64,
    pub(crate) rows: Vec<DB::Row>,
}

impl<DB: Backend> Merged<DB> {
    fn add(&mut self, part: Self) {
        self.received += part.received;
        self.created += part.created;
        self.updated += part.updated;
        self.rows.extend(part.rows);
    }
}

impl<DB: Backend> Default for Merged<DB> {
    fn default() -> Self {
        Self { received: 0, created: 0, updated: 0, rows: Vec::new() }
    }
}

/// Merges before the table is asked for a key mismatch.
///
/// Each merge found a row in the way and none with its key, so the table may store keys otherwise than they come.
const SURE_ROUNDS: u32 = 2;

/// The target and the aim of a bulk call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) goal: Goal,
}

/// A bulk call, with its source of rows and its listener.
pub(crate) struct Job<'j, DB: Backend> {
    pub(crate) plan: Plan,
    pub(crate) types: Vec<DB::TypeInfo>,
    pub(crate) source: &'j mut dyn Source<DB>,
    pub(crate) on_progress: &'j mut (dyn FnMut(Progress) + Send),
    pub(crate) watch: &'j CallSpan,
}

impl<DB: Backend> Job<'_, DB> {
    /// Stages the rows and merges them, wholly or not at all.
    pub(crate) async fn run(self, session: &mut Session<'_, DB>) -> Result<Merged<DB>, Failure> {
        self.plan.target.check::<DB>()?;
        let marks = self.plan.goal != Goal::Create;
        let stage = StagingPlan::new(self.plan.target.table, self.plan.target.key, self.types, marks);
        // The first row before the connection: a source that waits must not hold one.
        let Some(mut feed) =
            RowFeed::start(stage.table, self.source, self.on_progress, DB::stage_encoder(&stage.types), self.watch)
                .await?
        else {
            return Ok(Merged::default());
        };
        let mut scope = CallScope::begin(session).await?;
        match self.plan.stage_and_merge(&mut scope, &stage, &mut feed).await {
            Ok(merged) => {
                scope.commit().await?;
                Ok(merged)
            }
            Err(failure) => {
                scope.rollback().await;
                Err(match failure {
                    Failure::Call(error) => Failure::Call(self.plan.target.completed(session, error).await),
                    Failure::Item => Failure::Item,
                })
            }
        }
    }
}

impl<DB: Backend> Job<'_, DB> {
    /// Runs the call for each `every` rows on their own.
    ///
    /// What is committed is kept when a later part fails.
    pub(crate) async fn run_in_parts(self, session: &mut Session<'_, DB>, every: u64) -> Result<Merged<DB>, Failure> {
        let target = self.plan.target;
        if !session.is_pool() {
            let what =
                "`commit_every` commits, which only a pool's own transactions can do; give the pool, or leave it out";
            return Err(target.unsupported(what.to_owned()).into());
        }
        let mut all = Merged::default();
        loop {
            let committed = all.received;
            let mut source = Limited::new(self.source, every);
            let mut on_progress = |p: Progress| {
                (self.on_progress)(Progress { received: committed + p.received, committed });
            };
            let part = Job {
                plan: self.plan,
                types: self.types.clone(),
                source: &mut source,
                on_progress: &mut on_progress,
                watch: self.watch,
            };
            match part.run(session).await {
                Ok(part) if part.received > 0 => {
                    all.add(part);
                    (self.on_progress)(Progress { received: all.received, committed: all.received });
                }
                Ok(_) => {}
                Err(Failure::Call(error)) if committed > 0 => return Err(target.partly(committed, error).into()),
                Err(failure) => return Err(failure),
            }
            if source.ended() {
                return Ok(all);
            }
        }
    }
}

impl Plan {
    async fn stage_and_merge<DB: Backend>(
        self,
        scope: &mut CallScope<'_, DB>,
        stage: &StagingPlan<DB>,
        feed: &mut RowFeed<'_, DB>,
    ) -> Result<Merged<DB>, Failure> {
        if self.goal == Goal::Create
            && let Some(created) = self.insert_few(scope, stage, feed).await?
        {
            return Ok(Merged { received: feed.sent(), created, ..Merged::default() });
        }
        scope.drop_stage_on_drop();
        scope.begin_transaction().await?;
        DB::open_stage(scope.link()?, stage).await.map_err(|error| self.target.explain::<DB>(error))?;
        DB::fill_stage(scope.link()?, stage, feed).await?;
        stage.note_rows(feed.sent());
        let start = Instant::now();
        let merged = self.merge(scope, stage).await?;
        // Where it is the caller's transaction, an EXPLAIN that fails would harm it.
        if span::is_slow(start.elapsed()) && scope.is_own() && tracing::enabled!(target: "upsertable", Level::DEBUG) {
            if DB::SESSIONS.stages_in_transaction {
                scope.begin_merge().await?;
            }
            explain(scope.link()?, stage, start.elapsed()).await;
            scope.rollback_merge().await?;
        }
        if !(DB::SESSIONS.stages_in_transaction && scope.is_own()) {
            DB::close_stage(scope.link()?, stage).await.map_err(Error::from)?;
        }
        Ok(Merged { received: feed.sent(), ..merged })
    }

    /// Creates the rows at once where they are few.
    ///
    /// What the database says of it means the same as in a merge.
    async fn insert_few<DB: Backend>(
        self,
        scope: &mut CallScope<'_, DB>,
        stage: &StagingPlan<DB>,
        feed: &mut RowFeed<'_, DB>,
    ) -> Result<Option<u64>, Failure> {
        DB::insert_few(scope, stage, feed).await.map_err(|failure| match failure {
            Failure::Call(Error::Sql(error)) => Failure::Call(self.target.explain::<DB>(error)),
            failure => failure,
        })
    }

    /// Merges what is staged.
    ///
    /// On a pool it is run again when another transaction stood in the way, without staging anew.
    async fn merge<DB: Backend>(
        self,
        scope: &mut CallScope<'_, DB>,
        stage: &StagingPlan<DB>,
    ) -> Result<Merged<DB>, Error> {
        let mut retry = Retry::new(DB::ATTEMPTS);
        let mut vanished = 0;
        loop {
            let error = match self.merge_once(scope, stage).await {
                Ok(merged) => return Ok(merged),
                Err(error) => error,
            };
            if matches!(error, Error::Vanished { .. }) {
                vanished += 1;
                if !scope.is_own() || vanished >= SURE_ROUNDS {
                    scope.rollback_merge().await?;
                    if let Some(cause) = DB::mismatch_cause(scope.link()?, stage.table, stage.key).await? {
                        return Err(self.target.key_mismatch(cause));
                    }
                }
            }
            if !(scope.is_own() && error.is_retryable() && retry.again(error.as_sql()).await) {
                return Err(error);
            }
            scope.rollback_merge().await?;
        }
    }

    async fn merge_once<DB: Backend>(
        self,
        scope: &mut CallScope<'_, DB>,
        stage: &StagingPlan<DB>,
    ) -> Result<Merged<DB>, Error> {
        let whole = self.goal == Goal::Create && scope.is_own() && DB::merges_whole(scope.link()?, stage).await?;
        if !whole {
            scope.begin_merge().await?;
        }
        let merged = self.merge_into(scope, stage).await?;
        scope.commit_merge().await?;
        Ok(merged)
    }

    async fn merge_into<DB: Backend>(
        self,
        scope: &mut CallScope<'_, DB>,
        stage: &StagingPlan<DB>,
    ) -> Result<Merged<DB>, Error> {
        let link = scope.link()?;
        let explain = |error| match error {
            sqlx::Error::RowNotFound => self.target.vanished(),
            error => self.target.explain::<DB>(error),
        };
        let mut merged = Merged::default();
        if self.goal == Goal::Create {
            merged.created = DB::merge_new(link, stage).await.map_err(explain)?;
            return Ok(merged);
        }
        merged.created = DB::merge_marked(link, stage).await.map_err(explain)?;
        if matches!(self.goal, Goal::Upsert | Goal::UpsertAndRead) {
            merged.updated = DB::update_existing(link, stage).await.map_err(explain)?;
        }
        merged.rows = match self.goal {
            Goal::GetOrCreate => self.read_all(link, stage).await?,
            Goal::CreateAndRead | Goal::UpsertAndRead => read_created(link, stage).await?,
            Goal::Create | Goal::Upsert => Vec::new(),
        };
        Ok(merged)
    }

    /// Reads a row of the table for each staged row.
    async fn read_all<DB: Backend>(
        self,
        link: &mut Link<'_, DB>,
        stage: &StagingPlan<DB>,
    ) -> Result<Vec<DB::Row>, Error> {
        let rows = DB::read_staged(link, stage, Which::All).await?;
        account_for("staged and read back", stage.rows(), rows.len() as u64)?;
        for row in &rows {
            let Mark { found, created, .. } = Mark::read::<DB>(row)?;
            if !found && created {
                let cause = DB::mismatch_cause(link, stage.table, stage.key).await?;
                let cause = cause.unwrap_or_else(|| "the row that was made is stored with another key".to_owned());
                return Err(self.target.key_mismatch(cause));
            }
            if !found {
                return Err(self.target.vanished());
            }
        }
        Ok(rows)
    }
}

/// Logs how the database would run the merge now.
async fn explain<DB: Backend>(link: &mut Link<'_, DB>, stage: &StagingPlan<DB>, elapsed: Duration) {
    let (sql, explain) = DB::explain_merge(stage);
    match link.fetch(Statement::plain(&explain)).await {
        Ok(rows) => {
            let plan: Vec<String> = rows.iter().filter_map(|row| DB::text(row, DB::PLAN_COLUMN).ok()).collect();
            let (elapsed, plan) = (elapsed.as_secs_f64(), plan.join("\n"));
            tracing::debug!(target: "upsertable", sql = sql.as_str(), elapsed, plan, "the plan of a slow merge");
        }
        Err(error) => {
            tracing::debug!(target: "upsertable", error = %Redacted(&error), "the plan of a slow merge could not be had");
        }
    }
}

/// Reads the rows that the merge has made.
///
/// A trigger can have dropped one.
async fn read_created<DB: Backend>(
    link: &mut Link<'_, DB>,
    stage: &StagingPlan<DB>,
) -> Result<Vec<DB::Row>, sqlx::Error> {
    let mut created = Vec::new();
    for row in DB::read_staged(link, stage, Which::Created).await? {
        if Mark::read::<DB>(&row)?.found {
            created.push(row);
        }
    }
    Ok(created)
}
