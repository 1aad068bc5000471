//! One row by its unique key, found or made.

use crate::{
    backend::Backend,
    backend::one_row::InsertOutcome,
    connection::link::Link,
    driver::bind::Write,
    error::Error,
    operations::find::{find, find_by},
    operations::target::Target,
};

/// Finds or creates a row.
///
/// Returns the row, and true if this call made it. Reading first costs an existing row one statement and no id; the insert then leaves the
/// race to the unique index.
pub(crate) async fn get_or_create<DB: Backend>(
    link: &mut Link<'_, DB>,
    target: Target,
    write: Write<'_, DB>,
) -> Result<(DB::Row, bool), Error> {
    match find(link, target, &mut *write).await? {
        Some(row) => Ok((row, false)),
        None => create(link, target, write).await,
    }
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
pub(crate) async fn create<DB: Backend>(
    link: &mut Link<'_, DB>,
    target: Target,
    write: Write<'_, DB>,
) -> Result<(DB::Row, bool), Error> {
    let texts = target.row_statements::<DB>();
    let mut in_the_way = None;
    let mut mismatch = None;
    // A further round is for a row that was deleted before it could be read.
    for round in 1..=ROUNDS {
        let creation = DB::create_row(link, texts, &mut *write).await.map_err(|error| target.explain::<DB>(error))?;
        in_the_way = match creation {
            InsertOutcome::Made(row) => return Ok((row, true)),
            InsertOutcome::KeyExists => None,
            InsertOutcome::SomethingExists(error) => Some(error),
        };
        if let Some(row) = find_by(link, target, &texts.reread, &mut *write).await? {
            return Ok((row, false));
        }
        if let Some(row) = DB::find_as_index(link, target.table, target.key, &mut *write).await? {
            return Ok((row, false));
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
