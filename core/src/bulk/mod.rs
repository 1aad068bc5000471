//! Any number of rows: staged in a temporary table, merged from there in one statement.

mod source;

use std::{fmt, sync::OnceLock};

pub(crate) use source::{Failure, Source, Streamed};

use crate::{
    Error,
    backend::{Backend, Stage, StageError},
    handle::{Session, Unit},
    model::Target,
    retry::Retry,
};

/// What a `bulk_create_new` did.
///
/// Its `Display` is `2 of 4 records added`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BulkCreated {
    /// Rows that were given.
    pub received: u64,
    /// Rows that were not there and are now. The others were there already, or came twice.
    pub created: u64,
}

impl fmt::Display for BulkCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} records added", self.created, self.received)
    }
}

/// Creates the rows whose key is not in the table yet.
pub(crate) async fn create_new<DB: Backend>(
    mut session: Session<'_, DB>,
    target: Target,
    source: &mut dyn Source<DB>,
) -> Result<BulkCreated, Failure> {
    target.check::<DB>()?;
    let mut chunk = Chunk::default();
    // The first row before the connection: a source that waits must not hold one.
    if !chunk.add_row(source).await? {
        return Ok(BulkCreated::default());
    }
    let stage = Stage {
        table: target.table,
        key: target.key,
        columns: target.table.supplied().collect(),
        full_chunk: OnceLock::new(),
    };
    let mut unit = Unit::begin(&mut session).await?;
    match stage_and_merge(&mut unit, target, &stage, chunk, source).await {
        Ok(done) => {
            unit.commit().await?;
            Ok(done)
        }
        Err(failure) => {
            unit.rollback().await;
            Err(failure)
        }
    }
}

async fn stage_and_merge<DB: Backend>(
    unit: &mut Unit<'_, DB>,
    target: Target,
    stage: &Stage,
    first: Chunk<DB>,
    source: &mut dyn Source<DB>,
) -> Result<BulkCreated, Failure> {
    DB::open_stage(unit.link()?, stage).await.map_err(|error| match error {
        StageError::MissingUniqueIndex => target.missing_unique_index::<DB>(None),
        StageError::Sql(error) => target.explain::<DB>(error),
    })?;
    let received = fill(unit, stage, first, source).await?;
    let created = merge(unit, target, stage).await?;
    DB::close_stage(unit.link()?).await.map_err(Error::from)?;
    Ok(BulkCreated { received, created })
}

/// Sends the rows to the staging table, a chunk at a time, and counts them.
async fn fill<DB: Backend>(
    unit: &mut Unit<'_, DB>,
    stage: &Stage,
    mut chunk: Chunk<DB>,
    source: &mut dyn Source<DB>,
) -> Result<u64, Failure> {
    let full = DB::chunk_rows(stage);
    let mut received = 0;
    loop {
        let mut more = true;
        while chunk.rows < full && more {
            more = chunk.add_row(source).await?;
        }
        if chunk.rows > 0 {
            let Chunk { rows, values } = std::mem::take(&mut chunk);
            DB::fill_stage(unit.link()?, stage, rows, values).await.map_err(Error::from)?;
            received += rows as u64;
        }
        if !more {
            return Ok(received);
        }
    }
}

/// Merges what is staged. On a pool it is run again when another transaction stood in the way, without staging anew.
async fn merge<DB: Backend>(unit: &mut Unit<'_, DB>, target: Target, stage: &Stage) -> Result<u64, Error> {
    let mut retry = Retry::new();
    loop {
        let error = match merge_once(unit, target, stage).await {
            Ok(created) => return Ok(created),
            Err(error) => error,
        };
        if !(unit.is_own() && error.is_retryable() && retry.again().await) {
            return Err(error);
        }
        unit.rollback_merge().await?;
    }
}

async fn merge_once<DB: Backend>(unit: &mut Unit<'_, DB>, target: Target, stage: &Stage) -> Result<u64, Error> {
    unit.begin_merge().await?;
    let created = DB::merge_new(unit.link()?, stage).await.map_err(|error| target.explain::<DB>(error))?;
    unit.commit_merge().await?;
    Ok(created)
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
