//! One row by its unique key, found or made.

use crate::{
    Error,
    backend::Backend,
    find::{Part, Write, find_on, statement},
    handle::{Link, Session},
    model::Target,
    retry::Retry,
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
    session: &mut Session<'_, DB>,
    target: Target,
    known: Known,
    write: Write<'_, DB>,
) -> Result<(DB::Row, bool), Error> {
    target.check::<DB>()?;
    let mut retry = Retry::new();
    loop {
        let error = match attempt(session, target, known, &mut *write).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if !(session.may_repeat(&error) && retry.again().await) {
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
    if let Some(row) = create_on(&mut link, target, &mut *write).await? {
        return Ok((row, true));
    }
    // Another caller was faster.
    let row = find_on(&mut link, target, write).await?.ok_or_else(|| target.vanished())?;
    Ok((row, false))
}

/// Inserts the row unless its key is there.
pub(crate) async fn create_on<DB: Backend>(
    link: &mut Link<'_, DB>,
    target: Target,
    write: Write<'_, DB>,
) -> Result<Option<DB::Row>, Error> {
    let create = statement::<DB>(&target.row_texts::<DB>().create, write, Part::Row)?;
    let created = link.fetch_written(create).await.map_err(|error| target.explain::<DB>(error))?;
    Ok(created.into_iter().next())
}
