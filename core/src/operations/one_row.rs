//! Calls on one row, attempted until they are done.

use crate::{
    backend::Backend,
    connection::handle::Session,
    driver::bind::{Columns, Write},
    error::Error,
    model::On,
    model::erased,
    operations::target::Target,
    operations::{created, find, get_or_create, upsert},
    outcome::Outcome,
    retry::Retry,
    trace::span::CallSpan,
};

/// A call on one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OneRowCall {
    /// Finds the row.
    Find,
    /// Finds the row, or creates it.
    GetOrCreate,
    /// Creates the row, or finds it: it was missing a moment ago.
    Create,
    /// Updates the row, or creates it.
    Upsert,
}

/// Runs a call, again where it lost against another transaction.
///
/// Returns the row, and true if this call made it.
pub(crate) async fn run<DB: Backend>(
    session: &mut Session<'_, DB>,
    target: Target,
    call: OneRowCall,
    write: Write<'_, DB>,
) -> Result<Option<(DB::Row, bool)>, Error> {
    target.check::<DB>()?;
    let mut retry = Retry::new(DB::ATTEMPTS);
    loop {
        let error = match attempt(session, target, call, &mut *write).await {
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
    call: OneRowCall,
    write: Write<'_, DB>,
) -> Result<Option<(DB::Row, bool)>, Error> {
    let mut link = session.link().await?;
    let done = match call {
        OneRowCall::Find => find::find(&mut link, target, write).await.map(|row| row.map(|row| (row, false))),
        OneRowCall::GetOrCreate => get_or_create::get_or_create(&mut link, target, write).await.map(Some),
        OneRowCall::Create => get_or_create::create(&mut link, target, write).await.map(Some),
        OneRowCall::Upsert => upsert::upsert(&mut link, target, write).await.map(Some),
    };
    link.end_implicit_transaction(done).await
}

/// Stores a new row by a call, and reads the row that is there then.
pub(crate) async fn store<DB: Backend, M: On<DB>>(
    span: &CallSpan,
    session: &mut Session<'_, DB>,
    target: Target,
    call: OneRowCall,
    new: M::New,
) -> Result<Outcome<M>, Error> {
    let write = &mut move |columns: Columns, encoder: &mut DB::Encoder| {
        erased::put::<DB, M>(&new, target.table, target.key, columns, encoder)
    };
    let done = run::<DB>(session, target, call, write).await?.ok_or_else(|| target.vanished())?;
    created::outcome::<DB, M>(span, session, done)
}
