//! One row by its unique key, made or given new values.

use crate::{
    Error,
    backend::Backend,
    connection::handle::{Link, Session},
    operations::find::Write,
    operations::get_or_create::{self, Created, Known, create_on},
    retry::Retry,
    sql::Sql,
    sql::table::Target,
};

/// Updates or creates a row.
///
/// Gives the row, and true if this call made it. The update comes first: it alone says for certain that the row was there, and a conflict
/// clause would use up an id.
pub(crate) async fn upsert<DB: Backend>(
    session: &mut Session<'_, DB>,
    target: Target,
    write: Write<'_, DB>,
) -> Result<(DB::Row, bool), Error> {
    let texts = target.row_statements::<DB>();
    let Some(update) = &texts.update else {
        return get_or_create::get_or_create(session, target, Known::Nothing, write).await;
    };
    target.check::<DB>()?;
    let mut retry = Retry::new::<DB>();
    loop {
        let error = match attempt(session, target, update, &mut *write).await {
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
    update: &Sql,
    write: Write<'_, DB>,
) -> Result<(DB::Row, bool), Error> {
    let mut link = session.link().await?;
    let done = attempt_on(&mut link, target, update, write).await;
    link.end_implicit_transaction(done).await
}

async fn attempt_on<DB: Backend>(
    link: &mut Link<'_, DB>,
    target: Target,
    update: &Sql,
    write: Write<'_, DB>,
) -> Result<(DB::Row, bool), Error> {
    let texts = target.row_statements::<DB>();
    // The second round is for a row that another caller made after the first update.
    for _ in 0..2 {
        let updated = DB::update_row(link, texts, update, &mut *write).await;
        if let Some(row) = updated.map_err(|error| target.explain::<DB>(error))? {
            return Ok((row, false));
        }
        if let Created::Made(row) = create_on(link, target, &mut *write).await? {
            return Ok((row, true));
        }
    }
    let updated = DB::update_as_index(link, target.table, target.key, write).await;
    let updated = updated.map_err(|error| target.explain::<DB>(error))?;
    updated.map(|row| (row, false)).ok_or_else(|| target.vanished())
}
