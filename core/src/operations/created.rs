//! Rows that a call has created, and what becomes of them.

use crate::{
    backend::Backend,
    connection::handle::Session,
    driver::encoding::Encoding,
    error::Error,
    model::On,
    model::erased::{self, ModelVTable},
    outcome::Outcome,
    trace::span::CallSpan,
};

/// Returns the outcome of a call on one row, and hands a created row to the hooks.
pub(crate) fn outcome<DB: Backend, M: On<DB>>(
    watch: &CallSpan,
    session: &mut Session<'_, DB>,
    (row, created): (DB::Row, bool),
) -> Result<Outcome<M>, Error> {
    watch.rows(1);
    watch.created(u64::from(created));
    if created {
        hand_on(session, &ModelVTable::new::<M>(), std::slice::from_ref(&row))?;
    }
    Ok(Outcome { row: erased::read::<DB, M>(&row)?, created })
}

/// Tests if a hook waits for this model's created rows.
pub(crate) fn are_wanted<DB: Encoding>(session: &Session<'_, DB>, model: &ModelVTable<DB>) -> bool {
    matches!(session, Session::Inside(conn) if conn.queue.wants_created(model.id))
}

/// Hands the rows that the call has created to the hooks.
pub(crate) fn hand_on<DB: Encoding>(
    session: &mut Session<'_, DB>,
    model: &ModelVTable<DB>,
    rows: &[DB::Row],
) -> Result<(), Error> {
    if let Session::Inside(conn) = session
        && conn.queue.wants_created(model.id)
    {
        for row in rows {
            (model.read)(row, &mut |row| conn.queue.created(model.id, row))?;
        }
    }
    Ok(())
}
