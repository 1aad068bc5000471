//! The errors of PostgreSQL.
//!
//! Some questions are asked by a cast that fails: its text is the answer.

use std::borrow::Cow;

use sqlx::{
    error::DatabaseError,
    postgres::{PgDatabaseError, PgSeverity},
};

use crate::error::meaning::{Meaning, TransactionEffect};

/// Text of the failed cast where the key has no unique index.
pub(crate) const MISSING_INDEX: &str = "upsertable: no unique index on the key";

/// Text of the failed cast where the server does not know `NULLS NOT DISTINCT`.
pub(crate) const TOO_OLD: &str = "upsertable: no NULLS NOT DISTINCT on this server";

/// Text of the failed cast where a unique index is checked late.
pub(crate) const CHECKED_LATE: &str = "upsertable: a unique index is checked late";

/// Text of the failed cast where a new row has another key.
pub(crate) const OTHER_KEY: &str = "upsertable: the row is stored with another key";

/// Text of the failed cast where a transaction is open already.
pub(crate) const IS_OPEN: &str = "upsertable: a transaction is open";

/// Reads the meaning of an error from its code.
pub(super) fn meaning(error: &PgDatabaseError) -> Meaning {
    let code = error.code();
    let cast_failed = |text: &str| code == "22P02" && error.message().contains(text);
    let outdated = is_outdated(error);
    Meaning {
        retryable: outdated || matches!(code, "40001" | "40P01" | "55P03") || is_of_node(error, "deadlock detected"),
        outdated,
        unique_violation: error.is_unique_violation()
            || is_of_node(error, "duplicate key value violates unique constraint"),
        connection_lost: matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic) || code.starts_with("08"),
        // What ends a session while a COMMIT is kept is held back until that is done, and then told to nobody.
        farewell: matches!(error.severity(), PgSeverity::Fatal),
        // The level of a transaction that is open can no longer be set.
        begun_already: code == "25001" || cast_failed(IS_OPEN),
        no_savepoint: matches!(code, "25P01" | "3B001"),
        // The only index on the key may be one that is checked late.
        missing_index: code == "42P10"
            || (code == "55000" && error.routine() == Some("ExecCheckIndexConstraints"))
            || cast_failed(MISSING_INDEX),
        cannot_lock_page: code == "0A000",
        effect: TransactionEffect::Aborted,
        refusal: refusal(error, cast_failed(TOO_OLD)),
        mismatch: cast_failed(OTHER_KEY).then_some("a trigger or the column's type has changed it".into()),
        ..Meaning::default()
    }
}

/// Returns why the server cannot do what was asked.
fn refusal(error: &PgDatabaseError, is_too_old: bool) -> Option<&'static str> {
    match error.code() {
        "25006" => Some(
            "the transaction is read-only: default_transaction_read_only is on, the caller has begun it so, or the server is a standby",
        ),
        "42501" if error.routine() == Some("check_enable_rls") => {
            Some("row_security is off, and a policy of row-level security would hide rows from this user")
        }
        _ if is_too_old => Some("a key with `nulls_not_distinct` needs PostgreSQL 15 or later"),
        _ => None,
    }
}

/// Tests if a prepared statement is older than its table.
///
/// A pooler words it without the routine.
fn is_outdated(error: &PgDatabaseError) -> bool {
    error.code() == "0A000"
        && (error.routine() == Some("RevalidateCachedQuery")
            || error.message() == "cached plan must not change result type")
}

/// Tests if a node of a cluster says so.
///
/// The server in front of it passes the message on with a code of its own.
fn is_of_node(error: &PgDatabaseError, words: &str) -> bool {
    error.code() == "XX000" && error.message().contains(words)
}

/// Returns PostgreSQL's own error, if it is one.
pub(crate) fn database_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error().and_then(|error| error.try_downcast_ref())
}

/// Classes of errors whose messages hold no values.
///
/// They are of constraints, transactions, names, rights, resources, and of how the server is.
const WITHOUT_VALUES: [&str; 17] =
    ["08", "0A", "23", "25", "28", "2D", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57", "58"];

/// Formats an error without row values.
///
/// Values stand in the detail, and in the message only where a value itself is wrong.
pub(super) fn without_values(error: &PgDatabaseError) -> Cow<'_, str> {
    let code = error.code();
    if error.routine() == Some("exec_stmt_raise") {
        return format!("a function of the database refused it (code {code})").into();
    }
    match code {
        "22001" | "22012" => error.message().into(),
        "22003" => "a number out of the range of its type (code 22003)".into(),
        "22007" | "22008" => format!("a date or time that its type cannot hold (code {code})").into(),
        "22021" => "a text that the encoding of the database cannot hold (code 22021)".into(),
        "22P02" => "a value that its type cannot be made from (code 22P02)".into(),
        _ if WITHOUT_VALUES.iter().any(|class| code.starts_with(class)) => error.message().into(),
        _ => format!("an error with code {code}").into(),
    }
}
