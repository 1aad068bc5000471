//! The errors of MySQL and MariaDB.

use std::borrow::Cow;

use sqlx::{error::DatabaseError, mysql::MySqlDatabaseError};

use crate::{
    error::end_reason::EndReason,
    error::finding::Finding,
    error::meaning::{Meaning, TransactionEffect},
};

/// The attempts of a call on a pool.
///
/// Where many write one row and others delete it, InnoDB finds a deadlock in a good part of the attempts.
pub(crate) const MYSQL_ATTEMPTS: u32 = 20;

/// The attempts that a wait for a lock in vain uses up: five such waits end a call.
///
/// Each has taken 50 seconds, unless the server is told otherwise.
const LOCK_WAIT_ATTEMPTS: u32 = MYSQL_ATTEMPTS / 5;

/// Words of the error that a row with another key than asked for makes.
pub(crate) const OTHER_KEY: &str = "+ 2";

const DEADLOCK: u16 = 1213;
const LOCK_WAIT_TIMEOUT: u16 = 1205;
/// "Record has changed since last read".
///
/// The row was changed after the transaction's snapshot (`innodb_snapshot_isolation` of MariaDB).
const RECORD_CHANGED: u16 = 1020;
/// "Failed to read auto-increment value".
///
/// It is a deadlock on the lock of the table's counter, which ends the transaction, or a counter that is used up, which does not.
pub(crate) const NO_AUTO_INCREMENT: u16 = 1467;
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
pub(crate) const SYNTAX: u16 = 1064;
const NO_SUCH_TABLE: u16 = 1146;
const NO_SUCH_DATABASE: u16 = 1049;
const NO_SUCH_SAVEPOINT: u16 = 1305;
const TRANSACTION_IS_OPEN: u16 = 1568;
pub(crate) const NO_SUCH_INDEX: u16 = 1176;
pub(crate) const DATA_OUT_OF_RANGE: u16 = 1690;
/// A row-based engine, or isolation level, and a log of statements.
const STATEMENT_FORMAT: u16 = 1665;
/// A temporary table in a transaction, and a log of statements.
///
/// It is a CREATE or a DROP.
const STATEMENT_FORMAT_CREATES: u16 = 3748;
const NO_PRIMARY_KEY: u16 = 3750;
/// "Cannot add or update a child row: a foreign key constraint fails".
pub(crate) const NO_PARENT: u16 = 1452;
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
/// Errors of work that another transaction stood in the way of.
const RETRYABLE: [u16; 7] = [
    DEADLOCK,
    LOCK_WAIT_TIMEOUT,
    RECORD_CHANGED,
    NO_AUTO_INCREMENT,
    DEFINITION_CHANGED,
    NEEDS_REPREPARE,
    NODE_NOT_READY,
];

/// Reads the meaning of an error from its number.
pub(super) fn meaning(error: &MySqlDatabaseError) -> Meaning {
    let number = error.number();
    let lost_at_commit = number == ERROR_DURING_COMMIT && error.message().contains(LOCK_DEADLOCK);
    Meaning {
        retryable: RETRYABLE.contains(&number) || lost_at_commit,
        attempts: if number == LOCK_WAIT_TIMEOUT { LOCK_WAIT_ATTEMPTS } else { 1 },
        unique_violation: error.is_unique_violation(),
        connection_lost: GOODBYES.contains(&number) || error.code().is_some_and(|state| state.starts_with("08")),
        farewell: number == IDLE_TOO_LONG,
        begun_already: number == TRANSACTION_IS_OPEN,
        no_savepoint: number == NO_SUCH_SAVEPOINT,
        no_temporary_tables: matches!(number, READ_ONLY | STATEMENT_FORMAT_CREATES),
        effect: effect(error),
        refusal: refusal(number),
        ..Meaning::default()
    }
}

/// Returns the effect of an error on its transaction.
///
/// A deadlock ends the whole transaction, and what follows would run outside any; a refused row ends its statement only. Of the others it
/// hangs on the server and its settings (`innodb_rollback_on_timeout`), so it is asked.
fn effect(error: &MySqlDatabaseError) -> TransactionEffect {
    if matches!(error.number(), DEADLOCK | RECORD_CHANGED | ERROR_DURING_COMMIT) {
        return TransactionEffect::Ended(EndReason::Conflict);
    }
    let refused = |state: &str| ["21", "22", "23", "42"].iter().any(|class| state.starts_with(class));
    if error.code().is_some_and(refused) { TransactionEffect::Alive } else { TransactionEffect::Ask }
}

/// Returns why a setting of the session forbids what was asked.
fn refusal(number: u16) -> Option<&'static str> {
    match number {
        STATEMENT_FORMAT | STATEMENT_FORMAT_CREATES => Some(
            "this session has binlog_format = STATEMENT, with which the server refuses transactions at READ COMMITTED and temporary tables inside transactions; set binlog_format to ROW or MIXED",
        ),
        NO_PRIMARY_KEY => Some(
            "this session has sql_require_primary_key on, and the server copies none to a temporary table; set it off",
        ),
        _ => None,
    }
}

/// Tests if an error has this number.
pub(crate) fn has_number(error: &sqlx::Error, wanted: u16) -> bool {
    number(error) == Some(wanted)
}

fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref().map(MySqlDatabaseError::number)
}

pub(crate) fn is_no_table(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(NO_SUCH_TABLE | NO_SUCH_DATABASE))
}

/// Tests if a row has another key than asked for.
///
/// The error has the words of [`OTHER_KEY`].
pub(crate) fn is_other_key(error: &sqlx::Error) -> bool {
    has_number(error, DATA_OUT_OF_RANGE)
        && error.as_database_error().is_some_and(|error| error.message().contains(OTHER_KEY))
}

/// The error of a table whose `AUTO_INCREMENT` is used up.
///
/// As a deadlock on the counter, which has the same number, it would have ended the transaction.
pub(crate) fn used_up() -> sqlx::Error {
    let why = "the table's AUTO_INCREMENT is used up, so it takes no further row; make the column larger, or reset the counter";
    Finding::Refused(why).into()
}

/// Returns true if a unique violation names this index.
///
/// All of the servers' languages do so at the end: `for key 'index'`, `for key 'table.index'`.
pub(crate) fn names_index(error: &sqlx::Error, index: &str) -> bool {
    error.as_database_error().is_some_and(|error| {
        let message = error.message().trim_end_matches(['\'', '"', '`', '.']);
        message.strip_suffix(index).is_some_and(|before| before.ends_with(['\'', '"', '`', '.']))
    })
}

/// Errors whose messages name only tables, columns, constraints and limits.
const WITHOUT_VALUES: &[u16] = &[
    1020, 1021, 1030, 1038, 1040, 1044, 1045, 1046, 1047, 1048, 1049, 1050, 1051, 1053, 1054, 1060, 1061, 1064, 1071,
    1091, 1104, 1114, 1118, 1136, 1142, 1143, 1146, 1153, 1175, 1180, 1203, 1205, 1213, 1216, 1217, 1226, 1227, 1242,
    1264, 1265, 1286, 1290, 1305, 1317, 1364, 1406, 1412, 1451, 1452, 1467, 1615, 1665, 1792, 1836, 1927, 1969, 2013,
    3024, 3144, 3748, 3750, 3819, 4025, 4031,
];

const DUPLICATE: u16 = 1062;

/// Formats an error without row values.
pub(super) fn without_values(error: &MySqlDatabaseError) -> Cow<'_, str> {
    let (number, message) = (error.number(), error.message());
    if WITHOUT_VALUES.contains(&number) {
        return message.into();
    }
    // The key comes last, so whatever the value says is cut off before it.
    let key = (number == DUPLICATE).then(|| message.rsplit_once(" for key ")).flatten();
    match key {
        Some((_, key)) => format!("Duplicate entry for key {key}").into(),
        None => format!("an error with number {number}").into(),
    }
}
