//! Formats errors of the server without row values.

use std::borrow::Cow;

use sqlx::postgres::PgDatabaseError;

/// Classes of errors whose messages hold no values.
///
/// They are of constraints, transactions, names, rights, resources, and of how the server is.
const WITHOUT_VALUES: [&str; 17] =
    ["08", "0A", "23", "25", "28", "2D", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57", "58"];

/// Formats an error without row values.
///
/// Values stand in the detail, and in the message only where a value itself is wrong.
pub(in crate::backend) fn told(error: &PgDatabaseError) -> Cow<'_, str> {
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
