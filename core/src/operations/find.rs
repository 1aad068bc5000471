//! Finding rows by key.

use crate::{
    Error,
    backend::{Backend, Engine},
    connection::handle::{Link, Session},
    retry::Retry,
    sql::table::Target,
    sql::{Sql, Statement},
};

/// Selects the columns of a row that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Key,
    /// All that a caller supplies.
    Row,
    /// The columns that an upsert updates, and behind them the key.
    Update,
}

/// Writes a part of a row, as often as it is needed.
pub(crate) type Write<'w, DB> =
    &'w mut (dyn FnMut(Part, &mut <DB as Engine>::Encoder) -> Result<(), sqlx::Error> + Send);

/// Writes the key with this number, counted from 0.
///
/// It says `false` when there is no such key.
pub(crate) type WriteKey<'w, DB> =
    &'w mut (dyn FnMut(usize, &mut <DB as Engine>::Encoder) -> Result<bool, sqlx::Error> + Send);

/// A cached statement with the values of a part.
pub(crate) fn statement<DB: Backend>(
    sql: &Sql,
    write: Write<'_, DB>,
    part: Part,
) -> Result<Statement<DB>, sqlx::Error> {
    let mut encoder = DB::Encoder::default();
    write(part, &mut encoder)?;
    Ok(Statement::cached(sql, DB::arguments(encoder)))
}

/// Finds the row with this key, if there is one.
pub(crate) async fn find<DB: Backend>(
    session: &mut Session<'_, DB>,
    target: Target,
    write: Write<'_, DB>,
) -> Result<Option<DB::Row>, Error> {
    target.check::<DB>()?;
    let mut retry = Retry::new::<DB>();
    loop {
        let outcome = match session.link().await {
            Ok(mut link) => {
                let found = find_on(&mut link, target, &mut *write).await;
                link.end_implicit_transaction(found).await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if session.is_pool() && session.may_repeat(&error) && retry.again(error.as_sql()).await => {}
            outcome => return outcome,
        }
    }
}

/// Finds the row on a connection in hand.
pub(crate) async fn find_on<DB: Backend>(
    link: &mut Link<'_, DB>,
    target: Target,
    write: Write<'_, DB>,
) -> Result<Option<DB::Row>, Error> {
    find_by(link, target, &target.row_statements::<DB>().find, write).await
}

/// Finds the row by one of the key's statements.
pub(crate) async fn find_by<DB: Backend>(
    link: &mut Link<'_, DB>,
    target: Target,
    sql: &Sql,
    write: Write<'_, DB>,
) -> Result<Option<DB::Row>, Error> {
    let find = statement::<DB>(sql, write, Part::Key)?;
    let mut rows = link.fetch(find).await?;
    if rows.len() > 1 {
        return Err(target.many_rows());
    }
    Ok(rows.pop().inspect(|row| link.note_session(row, 1)))
}

/// Finds the rows of many keys, in the keys' order.
pub(crate) async fn find_all<DB: Backend>(
    session: &mut Session<'_, DB>,
    target: Target,
    write_key: WriteKey<'_, DB>,
) -> Result<Vec<Option<DB::Row>>, Error> {
    target.check::<DB>()?;
    let mut found = Vec::new();
    let mut retry = Retry::new::<DB>();
    loop {
        let mut values = DB::Encoder::default();
        let mut keys = 0;
        while keys < DB::find_rows(target.key) && write_key(found.len() + keys, &mut values)? {
            keys += 1;
        }
        if keys == 0 {
            return Ok(found);
        }
        match find_keys(session, target, keys, values).await {
            Ok(rows) => add_found::<DB>(&mut found, rows, keys, target)?,
            Err(error) if session.is_pool() && session.may_repeat(&error) && retry.again(error.as_sql()).await => {}
            Err(error) => return Err(error),
        }
    }
}

async fn find_keys<DB: Backend>(
    session: &mut Session<'_, DB>,
    target: Target,
    keys: usize,
    values: DB::Encoder,
) -> Result<Vec<DB::Row>, Error> {
    let mut link = session.link().await?;
    let rows = DB::find_keys(&mut link, target.table, target.key, keys, values).await;
    if let Some(row) = rows.iter().flatten().next() {
        link.note_session(row, 4);
    }
    Ok(link.end_implicit_transaction(rows).await?)
}

/// Adds the rows that a statement found for its keys.
///
/// Each key gives one row, of the table or of NULLs; a second row for a key means that the key is not unique.
fn add_found<DB: Backend>(
    found: &mut Vec<Option<DB::Row>>,
    rows: Vec<DB::Row>,
    keys: usize,
    target: Target,
) -> Result<(), Error> {
    if rows.len() != keys {
        return Err(target.many_rows());
    }
    for row in rows {
        found.push(if DB::mark(&row)?.found { Some(row) } else { None });
    }
    Ok(())
}
