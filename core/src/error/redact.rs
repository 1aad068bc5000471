//! Formats errors without row values.
//!
//! A database puts values into its words: PostgreSQL into the detail ("Key (email)=(ann@example.org) already exists."), MySQL into the
//! message ("Duplicate entry 'ann@example.org' for key"). The words of a log are read by many, so they are left out of `Display` and `Debug`.
//! Who asks for them finds them in `source()`.

use std::fmt;

use crate::{Error, backend, model::values::FieldError};

/// An error of the driver's, without values.
pub(crate) struct Redacted<'e>(pub(crate) &'e sqlx::Error);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            sqlx::Error::Database(error) => {
                write!(f, "error returned from database: {}", backend::told(error.as_ref()))
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
                .field("message", &backend::told(error.as_ref()))
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

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherUnique { model, operation, key, source } => f
                .debug_struct("OtherUnique")
                .field("model", model)
                .field("operation", operation)
                .field("key", key)
                .field("source", &source.as_deref().map(Redacted))
                .finish(),
            Self::MissingUniqueIndex { model, operation, key, create, why, source } => f
                .debug_struct("MissingUniqueIndex")
                .field("model", model)
                .field("operation", operation)
                .field("key", key)
                .field("create", create)
                .field("why", why)
                .field("source", &source.as_deref().map(Redacted))
                .finish(),
            Self::Schema { model, problems } => {
                f.debug_struct("Schema").field("model", model).field("problems", problems).finish()
            }
            Self::ManyRows { model, operation, key } => f
                .debug_struct("ManyRows")
                .field("model", model)
                .field("operation", operation)
                .field("key", key)
                .finish(),
            Self::KeyMismatch { model, operation, key, cause } => f
                .debug_struct("KeyMismatch")
                .field("model", model)
                .field("operation", operation)
                .field("key", key)
                .field("cause", cause)
                .finish(),
            Self::Vanished { model, operation } => {
                f.debug_struct("Vanished").field("model", model).field("operation", operation).finish()
            }
            Self::Ended { reason } => f.debug_struct("Ended").field("reason", reason).finish(),
            Self::RolledBack { source } => {
                f.debug_struct("RolledBack").field("source", &source.as_deref().map(Redacted)).finish()
            }
            Self::CommitUnknown { source } => {
                f.debug_struct("CommitUnknown").field("source", &Redacted(source)).finish()
            }
            Self::Partly { model, operation, committed, source } => f
                .debug_struct("Partly")
                .field("model", model)
                .field("operation", operation)
                .field("committed", committed)
                .field("source", source)
                .finish(),
            Self::Unsupported { model, operation, what } => f
                .debug_struct("Unsupported")
                .field("model", model)
                .field("operation", operation)
                .field("what", what)
                .finish(),
            Self::Sql(error) => f.debug_tuple("Sql").field(&Redacted(error)).finish(),
        }
    }
}
