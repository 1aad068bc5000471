//! The meanings of the server's errors.

use sqlx::{error::DatabaseError, mysql::MySqlDatabaseError};

use super::one_row::MISMATCH;
use crate::{backend::TransactionEffect, error::EndReason};

const DEADLOCK: u16 = 1213;
const LOCK_WAIT_TIMEOUT: u16 = 1205;
/// "Record has changed since last read".
///
/// The row was changed after the transaction's snapshot (`innodb_snapshot_isolation` of MariaDB).
const RECORD_CHANGED: u16 = 1020;
/// "Failed to read auto-increment value".
///
/// It is a deadlock on the lock of the table's counter, which ends the transaction, or a counter that is used up, which does not.
const NO_AUTO_INCREMENT: u16 = 1467;
/// "Got error 149 .. during COMMIT".
const ERROR_DURING_COMMIT: u16 = 1180;
/// The engine's number of a deadlock.
const LOCK_DEADLOCK: &str = " 149";
/// "Table definition has changed, please retry transaction".
const DEFINITION_CHANGED: u16 = 1412;
/// "Prepared statement needs to be re-prepared".
const NEEDS_REPREPARE: u16 = 1615;
/// A Galera node that is not part of the cluster now.
const NODE_NOT_READY: u16 = 1047;
const SYNTAX: u16 = 1064;
const NO_SUCH_TABLE: u16 = 1146;
const NO_SUCH_DATABASE: u16 = 1049;
const NO_SUCH_SAVEPOINT: u16 = 1305;
const TRANSACTION_IS_OPEN: u16 = 1568;
const NO_SUCH_INDEX: u16 = 1176;
const DATA_OUT_OF_RANGE: u16 = 1690;
/// A row-based engine, or isolation level, and a log of statements.
const STATEMENT_FORMAT: u16 = 1665;
/// A temporary table in a transaction, and a log of statements.
///
/// It is a CREATE or a DROP.
const STATEMENT_FORMAT_CREATES: u16 = 3748;
const NO_PRIMARY_KEY: u16 = 3750;
/// "Cannot add or update a child row: a foreign key constraint fails".
const NO_PARENT: u16 = 1452;
/// A statement that writes, in a transaction that is READ ONLY.
const READ_ONLY: u16 = 1792;
/// Errors of a server that ends the connection.
///
/// It shuts down, the connection was killed (MariaDB), or it was idle for too long (MySQL).
const GOODBYES: [u16; 3] = [1053, 1927, IDLE_TOO_LONG];
/// Sent when the connection is closed.
///
/// So it comes before whatever is sent there after that.
const IDLE_TOO_LONG: u16 = 4031;

/// There is no unique index on the key.
#[derive(Debug, thiserror::Error)]
#[error("information_schema.statistics has no unique index on exactly these columns")]
struct NoUniqueIndex;

pub(super) fn no_unique_index() -> sqlx::Error {
    sqlx::Error::Configuration(Box::new(NoUniqueIndex))
}

pub(super) fn is_no_unique_index(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Configuration(error) if error.is::<NoUniqueIndex>())
}

/// The error of a row that its key does not find.
///
/// It holds the reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Mismatch(String);

pub(super) fn mismatch(cause: String) -> sqlx::Error {
    sqlx::Error::Configuration(Box::new(Mismatch(cause)))
}

pub(super) fn mismatch_cause(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Configuration(error) => error.downcast_ref::<Mismatch>().map(|mismatch| mismatch.0.as_str()),
        _ => None,
    }
}

/// The session is set to what a call cannot work with.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(&'static str);

pub(super) fn refused(why: &'static str) -> sqlx::Error {
    sqlx::Error::Configuration(Box::new(Refused(why)))
}

/// Returns why a setting of the session forbids what was asked.
pub(super) fn refusal(error: &sqlx::Error) -> Option<&'static str> {
    if let sqlx::Error::Configuration(error) = error {
        return error.downcast_ref::<Refused>().map(|refused| refused.0);
    }
    match number(error)? {
        STATEMENT_FORMAT | STATEMENT_FORMAT_CREATES => Some(
            "this session has binlog_format = STATEMENT, with which the server refuses transactions at READ COMMITTED and temporary tables inside transactions; set binlog_format to ROW or MIXED",
        ),
        NO_PRIMARY_KEY => Some(
            "this session has sql_require_primary_key on, and the server copies none to a temporary table; set it off",
        ),
        _ => None,
    }
}

fn number_of(error: &dyn DatabaseError) -> Option<u16> {
    error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error().and_then(number_of)
}

pub(super) fn is_syntax_error(error: &sqlx::Error) -> bool {
    number(error) == Some(SYNTAX)
}

pub(super) fn is_no_table(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(NO_SUCH_TABLE | NO_SUCH_DATABASE))
}

pub(super) fn is_no_savepoint(error: &sqlx::Error) -> bool {
    number(error) == Some(NO_SUCH_SAVEPOINT)
}

pub(super) fn is_lock_wait_timeout(error: &sqlx::Error) -> bool {
    number(error) == Some(LOCK_WAIT_TIMEOUT)
}

pub(super) fn is_begun_already(error: &sqlx::Error) -> bool {
    number(error) == Some(TRANSACTION_IS_OPEN)
}

pub(super) fn is_no_index(error: &sqlx::Error) -> bool {
    number(error) == Some(NO_SUCH_INDEX)
}

pub(super) fn is_out_of_range(error: &sqlx::Error) -> bool {
    number(error) == Some(DATA_OUT_OF_RANGE)
}

/// Tests if a row has another key than asked for.
///
/// The error has the words of [`MISMATCH`].
pub(super) fn is_mismatch(error: &sqlx::Error) -> bool {
    is_out_of_range(error) && error.as_database_error().is_some_and(|error| error.message().contains(MISMATCH))
}

/// Tests if a row refers to one that does not exist.
pub(super) fn is_no_parent(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(NO_PARENT))
}

pub(super) fn is_no_auto_increment(error: &sqlx::Error) -> bool {
    number(error) == Some(NO_AUTO_INCREMENT)
}

/// The error of a table whose `AUTO_INCREMENT` is used up.
///
/// As a deadlock on the counter, which has the same number, it would have ended the transaction.
pub(super) fn used_up() -> sqlx::Error {
    refused(
        "the table's AUTO_INCREMENT is used up, so it takes no further row; make the column larger, or reset the counter",
    )
}

/// Tests if the transaction cannot make or drop temporary tables.
pub(super) fn keeps_no_tables(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(READ_ONLY | STATEMENT_FORMAT_CREATES))
}

/// Returns true if a unique violation names this index.
///
/// All of the servers' languages do so at the end: `for key 'index'`, `for key 'table.index'`.
pub(super) fn names_index(error: &sqlx::Error, index: &str) -> bool {
    error.as_database_error().is_some_and(|error| {
        let message = error.message().trim_end_matches(['\'', '"', '`', '.']);
        message.strip_suffix(index).is_some_and(|before| before.ends_with(['\'', '"', '`', '.']))
    })
}

/// Returns true if another transaction stood in the way.
pub(in crate::backend) fn is_retryable(error: &dyn DatabaseError) -> bool {
    matches!(
        number_of(error),
        Some(
            DEADLOCK
                | LOCK_WAIT_TIMEOUT
                | RECORD_CHANGED
                | NO_AUTO_INCREMENT
                | DEFINITION_CHANGED
                | NEEDS_REPREPARE
                | NODE_NOT_READY
        )
    ) || is_lost_at_commit(error)
}

/// Returns true if a COMMIT failed on Galera against another node.
///
/// The other node was faster: the engine's number of a deadlock is in the message. Other errors with this number stay.
fn is_lost_at_commit(error: &dyn DatabaseError) -> bool {
    number_of(error) == Some(ERROR_DURING_COMMIT) && error.message().contains(LOCK_DEADLOCK)
}

/// Returns true if the server has ended an idle connection.
pub(super) fn is_farewell(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(number_of) == Some(IDLE_TOO_LONG)
}

pub(in crate::backend) fn is_connection_lost(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|error| {
        GOODBYES.contains(&error.number()) || error.code().is_some_and(|state| state.starts_with("08"))
    })
}

/// Returns the effect of an error on its transaction.
///
/// A deadlock ends the whole transaction, and what follows would run outside any; a refused row ends its statement only. Of the others it
/// hangs on the server and its settings (`innodb_rollback_on_timeout`), so it is asked.
pub(super) fn transaction_effect(error: &sqlx::Error) -> TransactionEffect {
    let Some(error) = error.as_database_error() else { return TransactionEffect::Alive };
    if matches!(number_of(error), Some(DEADLOCK | RECORD_CHANGED | ERROR_DURING_COMMIT)) {
        return TransactionEffect::Ended(EndReason::Conflict);
    }
    let refused = |state: &str| ["21", "22", "23", "42"].iter().any(|class| state.starts_with(class));
    if error.code().is_some_and(|state| refused(&state)) { TransactionEffect::Alive } else { TransactionEffect::Ask }
}
