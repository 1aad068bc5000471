//! The `Debug` form of the error, without row values.

use std::fmt;

use crate::{error::Error, error::redact::Redacted};

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
