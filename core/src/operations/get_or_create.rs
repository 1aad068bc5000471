//! One row by its unique key, found or made.

use crate::{
    Error,
    backend::{Backend, InsertOutcome},
    connection::handle::{Link, Session},
    operations::find::{Write, find_by, find_on},
    retry::Retry,
    sql::table::Target,
};

/// Knowledge of the row before its statements run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    /// The row was missing a moment ago, so it is inserted first.
    Absent,
}

/// Finds or creates a row.
///
/// Gives the row, and true if this call made it. Reading first costs an existing row one statement and no id; the insert then leaves the
/// race to the unique index.
pub(crate) async fn get_or_create<DB: Backend>(
    session: &mut Session<'_, DB>,
    target: Target,
    known: Known,
    write: Write<'_, DB>,
) -> Result<(DB::Row, bool), Error> {
    target.check::<DB>()?;
    let mut retry = Retry::new::<DB>();
    loop {
        let error = match attempt(session, target, known, &mut *write).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if !(session.may_repeat(&error) && retry.again(error.as_sql()).await) {
            return Err(target.completed(session, error).await);
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
    let done = attempt_on(&mut link, target, known, write).await;
    link.end_implicit_transaction(done).await
}

async fn attempt_on<DB: Backend>(
    link: &mut Link<'_, DB>,
    target: Target,
    known: Known,
    write: Write<'_, DB>,
) -> Result<(DB::Row, bool), Error> {
    if known == Known::Nothing
        && let Some(row) = find_on(link, target, &mut *write).await?
    {
        return Ok((row, false));
    }
    Ok(match create_on(link, target, write).await? {
        Created::Made(row) => (row, true),
        Created::Found(row) => (row, false),
    })
}

/// A row that was to be inserted.
pub(crate) enum Created<DB: Backend> {
    Made(DB::Row),
    /// The row of another caller, who was faster.
    Found(DB::Row),
}

/// Rounds before the table is asked for a key mismatch.
///
/// Each round found a row in the way and none with the key, so the table may store keys otherwise than they come.
const SURE_ROUNDS: u32 = 2;

/// Rounds in all, where the table stores keys otherwise.
///
/// A row can be deleted and made anew by others so often, and no oftener.
const ROUNDS: u32 = 6;

/// Inserts the row, or reads the one that has its key.
pub(crate) async fn create_on<DB: Backend>(
    link: &mut Link<'_, DB>,
    target: Target,
    write: Write<'_, DB>,
) -> Result<Created<DB>, Error> {
    let texts = target.row_statements::<DB>();
    let mut in_the_way = None;
    let mut mismatch = None;
    // A further round is for a row that was deleted before it could be read.
    for round in 1..=ROUNDS {
        let creation = DB::create_row(link, texts, &mut *write).await.map_err(|error| target.explain::<DB>(error))?;
        in_the_way = match creation {
            InsertOutcome::Made(row) => return Ok(Created::Made(row)),
            InsertOutcome::KeyExists => None,
            InsertOutcome::SomethingExists(error) => Some(error),
        };
        if let Some(row) = find_by(link, target, &texts.reread, &mut *write).await? {
            return Ok(Created::Found(row));
        }
        if let Some(row) = DB::find_as_index(link, target.table, target.key, &mut *write).await? {
            return Ok(Created::Found(row));
        }
        if round == SURE_ROUNDS {
            if let Some(error) = &in_the_way
                && !DB::blames_key(link, target.table, target.key, error).await?
            {
                break;
            }
            mismatch = DB::mismatch_cause(link, target.table, target.key).await?;
            if mismatch.is_none() {
                return Err(target.vanished());
            }
        }
    }
    Err(match (mismatch, in_the_way) {
        (Some(cause), _) => target.key_mismatch(cause),
        (None, in_the_way) => target.other_unique(in_the_way),
    })
}
