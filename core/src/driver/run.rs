//! Runs the crate's own statements on a connection.

use std::sync::atomic::Ordering;

use futures_util::TryStreamExt as _;
use sqlx::{Either, Row as _};

use crate::{
    driver::Driver, driver::raw::Raw, error::meaning::Meaning, sql::statement::Statement, sql::text::Sql,
    trace::statement_log,
};

/// Runs a statement and returns the number of rows that it changed.
pub(crate) async fn execute<DB: Raw>(conn: &mut DB::Connection, statement: Statement<DB>) -> Result<u64, sqlx::Error> {
    statement_log::record(statement.as_str());
    let changed = |step: Either<DB::QueryResult, DB::Row>| step.left().map_or(0, |result| DB::rows_affected(&result));
    DB::fetch_many(conn, statement).try_fold(0, |sum, step| std::future::ready(Ok(sum + changed(step)))).await
}

/// Runs a statement and returns its rows.
pub(crate) async fn fetch<DB: Raw>(
    conn: &mut DB::Connection,
    statement: Statement<DB>,
) -> Result<Vec<DB::Row>, sqlx::Error> {
    statement_log::record(statement.as_str());
    let rows = DB::fetch_many(conn, statement).try_filter_map(|step| std::future::ready(Ok(step.right())));
    rows.try_collect().await
}

/// Runs the statement that comes before a BEGIN.
///
/// A transaction that the session began by itself is committed first.
pub(crate) async fn prepare_begin<DB: Driver>(conn: &mut DB::Connection, before: &Sql) -> Result<(), sqlx::Error> {
    match execute::<DB>(conn, Statement::plain(before)).await {
        Err(error) if Meaning::of(&error).begun_already => {
            if !DB::end_implicit(conn).await? {
                return Err(error);
            }
            execute::<DB>(conn, Statement::plain(before)).await.map(drop)
        }
        outcome => outcome.map(drop),
    }
}

/// Notes whether the session begins transactions unasked.
///
/// The row says so `from_end` columns before its end: true where a statement outside a transaction commits itself.
pub(crate) fn note_session<DB: Driver>(row: &DB::Row, from_end: usize) {
    if let (Some(implicit), Some(column)) = (DB::implicit_transactions(), row.len().checked_sub(from_end))
        && !DB::flag(row, column).unwrap_or(true)
    {
        implicit.store(true, Ordering::Relaxed);
    }
}

/// Returns true if a session may begin transactions unasked.
pub(crate) fn begins_unasked<DB: Driver>() -> bool {
    DB::implicit_transactions().is_some_and(|implicit| implicit.load(Ordering::Relaxed))
}
