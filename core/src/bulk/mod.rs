//! Any number of rows: staged in a temporary table, merged from there in a few statements.

mod builder;
mod report;
mod source;

pub use builder::Bulk;
pub use report::{BulkCreated, BulkUpserted, Progress};
pub(crate) use source::{Failure, Source, Streamed};

use crate::{
    Error,
    backend::{Backend, Stage, StageError, Which},
    handle::{Link, Session, Unit},
    model::Target,
    retry::Retry,
};

/// What a bulk call does with its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Creates those whose key is not there.
    Create,
    /// The same, and gives the rows created.
    CreateAndRead,
    /// Creates those whose key is not there, and gives a row for each that came.
    GetOrCreate,
    /// Creates those whose key is not there, and gives the others' values to the rows that are.
    Upsert,
    /// The same, and gives the rows created.
    UpsertAndRead,
}

/// What came of it.
pub(crate) struct Merged<DB: Backend> {
    pub(crate) received: u64,
    pub(crate) created: u64,
    pub(crate) updated: u64,
    pub(crate) rows: Vec<DB::Row>,
}

impl<DB: Backend> Default for Merged<DB> {
    fn default() -> Self {
        Self { received: 0, created: 0, updated: 0, rows: Vec::new() }
    }
}

/// What a bulk call is about, and what it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) goal: Goal,
}

/// A bulk call: what for, where from, and whom to tell how far it is.
pub(crate) struct Job<'j, DB: Backend> {
    pub(crate) plan: Plan,
    pub(crate) types: Vec<DB::TypeInfo>,
    pub(crate) source: &'j mut dyn Source<DB>,
    pub(crate) on_progress: &'j mut (dyn FnMut(Progress) + Send),
}

impl<DB: Backend> Job<'_, DB> {
    /// Stages the rows and merges them, wholly or not at all.
    pub(crate) async fn run(mut self, session: &mut Session<'_, DB>) -> Result<Merged<DB>, Failure> {
        self.plan.target.check::<DB>()?;
        let mut chunk = Chunk::default();
        // The first row before the connection: a source that waits must not hold one.
        if !chunk.add_row(self.source).await? {
            return Ok(Merged::default());
        }
        let stage = Stage::new(self.plan.target.table, self.plan.target.key, std::mem::take(&mut self.types));
        let mut unit = Unit::begin(session).await?;
        match self.stage_and_merge(&mut unit, &stage, chunk).await {
            Ok(merged) => {
                unit.commit().await?;
                Ok(merged)
            }
            Err(failure) => {
                unit.rollback().await;
                Err(failure)
            }
        }
    }

    async fn stage_and_merge(
        &mut self,
        unit: &mut Unit<'_, DB>,
        stage: &Stage<DB>,
        first: Chunk<DB>,
    ) -> Result<Merged<DB>, Failure> {
        DB::open_stage(unit.link()?, stage).await.map_err(|error| match error {
            StageError::MissingUniqueIndex => self.plan.target.missing_unique_index::<DB>(None),
            StageError::Sql(error) => self.plan.target.explain::<DB>(error),
        })?;
        let received = self.fill(unit, stage, first).await?;
        let merged = self.plan.merge(unit, stage).await?;
        DB::close_stage(unit.link()?).await.map_err(Error::from)?;
        Ok(Merged { received, ..merged })
    }

    /// Sends the rows to the staging table, a chunk at a time, and counts them.
    async fn fill(&mut self, unit: &mut Unit<'_, DB>, stage: &Stage<DB>, mut chunk: Chunk<DB>) -> Result<u64, Failure> {
        let full = DB::chunk_rows(stage);
        let mut received = 0;
        loop {
            let mut more = true;
            while chunk.rows < full && more {
                more = chunk.add_row(self.source).await?;
            }
            if chunk.rows > 0 {
                let Chunk { rows, values } = std::mem::take(&mut chunk);
                DB::fill_stage(unit.link()?, stage, rows, values).await.map_err(Error::from)?;
                received += rows as u64;
                (self.on_progress)(Progress { received });
            }
            if !more {
                return Ok(received);
            }
        }
    }

}

impl Plan {
    /// Merges what is staged. On a pool it is run again when another transaction stood in the way, without staging anew.
    async fn merge<DB: Backend>(self, unit: &mut Unit<'_, DB>, stage: &Stage<DB>) -> Result<Merged<DB>, Error> {
        let mut retry = Retry::new();
        loop {
            let error = match self.merge_once(unit, stage).await {
                Ok(merged) => return Ok(merged),
                Err(error) => error,
            };
            if !(unit.is_own() && error.is_retryable() && retry.again().await) {
                return Err(error);
            }
            unit.rollback_merge().await?;
        }
    }

    async fn merge_once<DB: Backend>(self, unit: &mut Unit<'_, DB>, stage: &Stage<DB>) -> Result<Merged<DB>, Error> {
        unit.begin_merge().await?;
        let merged = self.merge_into(unit, stage).await?;
        unit.commit_merge().await?;
        Ok(merged)
    }

    async fn merge_into<DB: Backend>(self, unit: &mut Unit<'_, DB>, stage: &Stage<DB>) -> Result<Merged<DB>, Error> {
        let link = unit.link()?;
        let explain = |error| self.target.explain::<DB>(error);
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
            Goal::CreateAndRead | Goal::UpsertAndRead => DB::read_staged(link, stage, Which::Created).await?,
            Goal::Create | Goal::Upsert => Vec::new(),
        };
        Ok(merged)
    }

    /// A row of the table for each staged row.
    async fn read_all<DB: Backend>(self, link: &mut Link<'_, DB>, stage: &Stage<DB>) -> Result<Vec<DB::Row>, Error> {
        let rows = DB::read_staged(link, stage, Which::All).await?;
        for row in &rows {
            if !DB::mark(row)?.found {
                return Err(self.target.vanished());
            }
        }
        Ok(rows)
    }
}

/// Rows that have been written and not yet sent.
struct Chunk<DB: Backend> {
    rows: usize,
    values: DB::Encoder,
}

impl<DB: Backend> Default for Chunk<DB> {
    fn default() -> Self {
        Self { rows: 0, values: DB::Encoder::default() }
    }
}

impl<DB: Backend> Chunk<DB> {
    /// Writes the source's next row. At the end it says `false`.
    async fn add_row(&mut self, source: &mut dyn Source<DB>) -> Result<bool, Failure> {
        let written = std::future::poll_fn(|context| source.poll_row(context, &mut self.values)).await;
        match written {
            Some(Ok(())) => {
                self.rows += 1;
                Ok(true)
            }
            Some(Err(failure)) => Err(failure),
            None => Ok(false),
        }
    }
}
