//! Finding rows by key.

use crate::{
    backend::Backend,
    backend::staging::Mark,
    connection::handle::Session,
    connection::link::Link,
    driver::bind::{Columns, Write, statement},
    driver::encoding::Encoding,
    error::Error,
    operations::target::Target,
    retry::Retry,
    sql::text::Sql,
};

/// Writes the key with this number, counted from 0.
///
/// It says `false` when there is no such key.
pub(crate) type WriteKey<'w, DB> =
    &'w mut (dyn FnMut(usize, &mut <DB as Encoding>::Encoder) -> Result<bool, sqlx::Error> + Send);

/// Finds the row with this key, if there is one.
pub(crate) async fn find<DB: Backend>(
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
    let find = statement::<DB>(sql, write, &[Columns::Key])?;
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
    let mut retry = Retry::new(DB::ATTEMPTS);
    loop {
        let mut values = DB::Encoder::default();
        let mut keys = 0;
        while keys < DB::LIMITS.keys_at_once(target.key) && write_key(found.len() + keys, &mut values)? {
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
        found.push(if Mark::read::<DB>(&row)?.found { Some(row) } else { None });
    }
    Ok(())
}
