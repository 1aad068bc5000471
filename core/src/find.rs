//! Finding one row by its key.

use crate::{
    Error,
    backend::{Backend, Engine},
    handle::{Link, Session},
    model::Target,
    retry::Retry,
    sql::Statement,
};

/// Which columns of a row are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Row,
}

/// Writes a part of a row, as often as it is needed.
pub(crate) type Write<'w, DB> = &'w mut (dyn FnMut(Part, &mut <DB as Engine>::Encoder) -> Result<(), sqlx::Error> + Send);

/// The values of a part, to be bound to a statement.
pub(crate) fn arguments<DB: Backend>(write: Write<'_, DB>, part: Part) -> Result<DB::Arguments, sqlx::Error> {
    let mut encoder = DB::Encoder::default();
    write(part, &mut encoder)?;
    Ok(DB::arguments(encoder))
}

/// The row with this key, if there is one.
pub(crate) async fn find<DB: Backend>(
    mut session: Session<'_, DB>,
    target: Target,
    write: Write<'_, DB>,
) -> Result<Option<DB::Row>, Error> {
    target.check::<DB>()?;
    let mut retry = Retry::new();
    loop {
        let outcome = match session.link().await {
            Ok(mut link) => find_on(&mut link, target, &mut *write).await,
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if session.is_pool() && error.is_retryable() && retry.again().await => {}
            outcome => return outcome,
        }
    }
}

/// The same on a connection in hand.
pub(crate) async fn find_on<DB: Backend>(
    link: &mut Link<'_, DB>,
    target: Target,
    write: Write<'_, DB>,
) -> Result<Option<DB::Row>, Error> {
    let key = arguments::<DB>(write, Part::Key)?;
    let mut rows = link.fetch(Statement::cached(&target.row_texts::<DB>().find, key)).await?;
    if rows.len() > 1 {
        return Err(target.many_rows());
    }
    Ok(rows.pop())
}
