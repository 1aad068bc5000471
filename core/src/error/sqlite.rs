//! The errors of SQLite.

use std::borrow::Cow;

use sqlx::{error::DatabaseError, sqlite::SqliteError};

use crate::error::meaning::{Meaning, TransactionEffect};

/// Another connection has locked the database or a table (`SQLITE_BUSY`, `SQLITE_LOCKED`).
const LOCKED: [i32; 2] = [5, 6];
const READ_ONLY: i32 = 8;
const CONSTRAINT: i32 = 19;
/// Errors of a statement that writes what it must not (`SQLITE_ERROR`, `TOOBIG`, `CONSTRAINT`, `MISMATCH`).
const REFUSED: [i32; 4] = [1, 18, CONSTRAINT, 20];

/// Reads the meaning of an error from its code and words.
pub(super) fn meaning(error: &SqliteError) -> Meaning {
    let code = primary_code(error);
    let message = error.message();
    Meaning {
        retryable: code.is_some_and(|code| LOCKED.contains(&code)),
        unique_violation: error.is_unique_violation(),
        no_savepoint: message.starts_with("no such savepoint"),
        missing_index: message.contains("does not match any PRIMARY KEY or UNIQUE constraint"),
        // A full disk, an I/O error, ON CONFLICT ROLLBACK or RAISE(ROLLBACK) end the transaction, and the error's code does not say so.
        effect: TransactionEffect::Ask,
        refusal: refusal(code, message),
        ..Meaning::default()
    }
}

/// Returns why nothing can be written.
fn refusal(code: Option<i32>, message: &str) -> Option<&'static str> {
    // Not "virtual table", which is worded alike.
    if message.contains("cannot UPSERT a view") {
        return Some("a view has no unique index, so that no call can write to it: name the table behind it");
    }
    (code == Some(READ_ONLY)).then_some(
        "the connection may not write (\"attempt to write a readonly database\"): turn `PRAGMA query_only` off, or open a database that can be written",
    )
}

fn primary_code(error: &dyn DatabaseError) -> Option<i32> {
    error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff)
}

/// Tests if a row breaks a constraint.
pub(crate) fn is_constraint(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| primary_code(error) == Some(CONSTRAINT))
}

/// Returns true if a row was refused, also one that exists.
///
/// Where a conflict clause alone is to skip rows that are there, they are checked before they are skipped. The causes are an expression
/// that fails in a CHECK (`SQLITE_ERROR`), a value too long, a constraint, or a value of another type.
pub(crate) fn is_refused(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| primary_code(error).is_some_and(|code| REFUSED.contains(&code)))
}

/// Tests if the error has exactly these words.
pub(crate) fn says(error: &sqlx::Error, message: &str) -> bool {
    error.as_database_error().is_some_and(|error| error.message() == message)
}

/// Formats errors without row values.
///
/// SQLite names tables and columns only, but a trigger may put values of rows into its words.
pub(super) fn without_values(error: &SqliteError) -> Cow<'_, str> {
    const CONSTRAINT_TRIGGER: &str = "1811";
    if error.code().as_deref() == Some(CONSTRAINT_TRIGGER) {
        return "a trigger of the database refused it (code 1811)".into();
    }
    error.message().into()
}
