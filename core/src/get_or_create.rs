//! One row by its unique key, found or made.

use crate::{
    Error,
    backend::Backend,
    find::{Part, Write, arguments, find_on},
    handle::Session,
    model::Target,
    retry::Retry,
    sql::Statement,
};

/// What is known of the row before its statements run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    /// It was not there a moment ago, so it is inserted first.
    Absent,
}

/// The row, and whether this call made it.
///
/// Reading first costs an existing row one statement and no id; the insert then leaves the race to the unique index.
pub(crate) async fn get_or_create<DB: Backend>(
    mut session: Session<'_, DB>,
    target: Target,
    known: Known,
    write: Write<'_, DB>,
) -> Result<(DB::Row, bool), Error> {
    target.check::<DB>()?;
    let mut retry = Retry::new();
    loop {
        let error = match attempt(&mut session, target, known, &mut *write).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        // A row that vanished leaves the caller's transaction as it was; every other conflict has ended it.
        let may_repeat = session.is_pool() || matches!(error, Error::Vanished { .. });
        if !(may_repeat && error.is_retryable() && retry.again().await) {
            return Err(error);
        }
    }
}

async fn attempt<DB: Backend>(
    session: &mut Session<'_, DB>,
    target: Target,
    known: Known,
    write: Write<'_, DB>,
) -> Result<(DB::Row, bool), Error> {
    let mut link = session.link().await?;
    if known == Known::Nothing
        && let Some(row) = find_on(&mut link, target, &mut *write).await?
    {
        return Ok((row, false));
    }
    let values = arguments::<DB>(&mut *write, Part::Row)?;
    let create = Statement::cached(&target.row_texts::<DB>().create, values);
    let created = link.fetch_written(create).await.map_err(|error| target.explain::<DB>(error))?;
    if let Some(row) = created.into_iter().next() {
        return Ok((row, true));
    }
    // Another caller was faster.
    let row = find_on(&mut link, target, write).await?.ok_or_else(|| target.vanished())?;
    Ok((row, false))
}
