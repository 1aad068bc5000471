//! Formats errors without row values.
//!
//! A database puts values into its words: PostgreSQL into the detail ("Key (email)=(ann@example.org) already exists."), MySQL into the
//! message ("Duplicate entry 'ann@example.org' for key"). The words of a log are read by many, so they are left out of `Display` and `Debug`.
//! Who asks for them finds them in `source()`.

use std::fmt;

use sqlx::error::BoxDynError;

use crate::error::classify::without_values;

/// An error of the driver's, without values.
pub(crate) struct Redacted<'e>(pub(crate) &'e sqlx::Error);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            sqlx::Error::Database(error) => {
                write!(f, "error returned from database: {}", without_values(error.as_ref()))
            }
            sqlx::Error::ColumnDecode { index, .. } => write!(f, "the value of column {index} could not be decoded"),
            sqlx::Error::Decode(_) => f.write_str("a value could not be decoded"),
            sqlx::Error::Encode(error) => match error.downcast_ref::<FieldError>() {
                Some(FieldError { model, field, .. }) => {
                    write!(f, "the value of `{model}::{field}` could not be encoded")
                }
                None => f.write_str("a value could not be encoded"),
            },
            other => other.fmt(f),
        }
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            sqlx::Error::Database(error) => f
                .debug_struct("Database")
                .field("code", &error.code())
                .field("message", &without_values(error.as_ref()))
                .field("table", &error.table())
                .field("constraint", &error.constraint())
                .finish_non_exhaustive(),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => {
                f.debug_tuple("Value").field(&self.to_string()).finish()
            }
            other => other.fmt(f),
        }
    }
}

/// A value that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the value of `{model}::{field}` could not be encoded: {source}")]
pub(crate) struct FieldError {
    pub(crate) model: &'static str,
    pub(crate) field: &'static str,
    pub(crate) source: BoxDynError,
}
