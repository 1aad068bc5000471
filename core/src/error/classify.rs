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
        #[cfg(feature = "mysql")]
        if let Some(error) = error.try_downcast_ref() {
            return mysql::meaning(error);
        }
        #[cfg(feature = "postgres")]
        if let Some(error) = error.try_downcast_ref() {
            return postgres::meaning(error);
        }
        #[cfg(feature = "sqlite")]
        if let Some(error) = error.try_downcast_ref() {
            return sqlite::meaning(error);
        }
        Self { unique_violation: error.is_unique_violation(), ..Self::default() }
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
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref() {
        return mysql::without_values(error);
    }
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref() {
        return postgres::without_values(error);
    }
    #[cfg(feature = "sqlite")]
    if let Some(error) = error.try_downcast_ref() {
        return sqlite::without_values(error);
    }
    error.code().map_or("an error".into(), |code| format!("an error with code {code}").into())
}
