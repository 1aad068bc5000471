//! The meaning of database errors.
//!
//! Each database answers for its own errors in the file of its name beside this one.

use std::borrow::Cow;

use sqlx::error::DatabaseError;

#[cfg(feature = "mysql")]
use crate::error::mysql;
#[cfg(feature = "postgres")]
use crate::error::postgres;
#[cfg(feature = "sqlite")]
use crate::error::sqlite;
use crate::{error::finding::Finding, error::meaning::Meaning};

/// Asks the database whose error it is.
macro_rules! ask {
    ($question:ident($error:ident)) => {{
        let answer = None;
        #[cfg(feature = "mysql")]
        let answer = answer.or_else(|| $error.try_downcast_ref().map(mysql::$question));
        #[cfg(feature = "postgres")]
        let answer = answer.or_else(|| $error.try_downcast_ref().map(postgres::$question));
        #[cfg(feature = "sqlite")]
        let answer = answer.or_else(|| $error.try_downcast_ref().map(sqlite::$question));
        answer
    }};
}

impl Meaning {
    /// Asks the error's database.
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => Self::of_database(error.as_ref()),
            sqlx::Error::Configuration(error) => match error.downcast_ref() {
                Some(Finding::NoUniqueIndex) => Self { missing_index: true, ..Self::default() },
                Some(Finding::OtherKey(cause)) => Self { mismatch: Some(cause.clone().into()), ..Self::default() },
                Some(Finding::Refused(why)) => Self { refusal: Some(why), ..Self::default() },
                Some(Finding::Miscounted { .. }) | None => Self::default(),
            },
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self { connection_lost: true, ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    fn of_database(error: &dyn DatabaseError) -> Self {
        ask!(meaning(error))
            .unwrap_or_else(|| Self { unique_violation: error.is_unique_violation(), ..Self::default() })
    }
}

/// Returns true if the same work may succeed when done again.
pub(crate) fn is_retryable(error: &sqlx::Error) -> bool {
    Meaning::of(error).retryable
}

/// Returns true if a unique index was violated.
pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    Meaning::of(error).unique_violation
}

/// Returns true if the connection is gone.
pub(crate) fn is_connection_lost(error: &sqlx::Error) -> bool {
    Meaning::of(error).connection_lost
}

/// Formats a database error without the values of rows.
///
/// The database may have put such values into its words.
pub(crate) fn without_values(error: &dyn DatabaseError) -> Cow<'_, str> {
    ask!(without_values(error))
        .unwrap_or_else(|| error.code().map_or("an error".into(), |code| format!("an error with code {code}").into()))
}
