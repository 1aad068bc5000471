//! One row by its unique key, made or given new values.

use crate::{
    backend::Backend,
    connection::link::Link,
    driver::bind::Write,
    error::Error,
    operations::get_or_create::{create, get_or_create},
    operations::target::Target,
};

/// Updates the row with this key, or creates it.
///
/// Returns the row, and true if this call made it. Where no column may change, a row that is there is left alone.
pub(crate) async fn upsert<DB: Backend>(
    link: &mut Link<'_, DB>,
    target: Target,
    write: Write<'_, DB>,
) -> Result<(DB::Row, bool), Error> {
    let texts = target.row_statements::<DB>();
    let Some(update) = &texts.update else { return get_or_create(link, target, write).await };
    // The second round is for a row that another caller made after the first update.
    for _ in 0..2 {
        let updated = DB::update_row(link, texts, update, &mut *write).await;
        if let Some(row) = updated.map_err(|error| target.explain::<DB>(error))? {
            return Ok((row, false));
        }
        if let made @ (_, true) = create(link, target, &mut *write).await? {
            return Ok(made);
        }
    }
    let updated = DB::update_as_index(link, target.table, target.key, write).await;
    let updated = updated.map_err(|error| target.explain::<DB>(error))?;
    updated.map(|row| (row, false)).ok_or_else(|| target.vanished())
}
