//! The `Debug` form of the error, without row values.

use std::fmt;

use crate::error::{Error, redact::Redacted};

/// Shows a variant by its fields, of which those behind `;` are errors of sqlx.
macro_rules! show {
    ($f:ident, $name:literal $(, $field:ident)* $(; $source:ident)?) => {
        $f.debug_struct($name)
            $(.field(stringify!($field), $field))*
            $(.field(stringify!($source), &$source.as_deref().map(Redacted)))?
            .finish()
    };
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherUnique { model, operation, key, source } => {
                show!(f, "OtherUnique", model, operation, key; source)
            }
            Self::MissingUniqueIndex { model, operation, key, create, why, source } => {
                show!(f, "MissingUniqueIndex", model, operation, key, create, why; source)
            }
            Self::Schema { model, problems } => show!(f, "Schema", model, problems),
            Self::ManyRows { model, operation, key } => show!(f, "ManyRows", model, operation, key),
            Self::KeyMismatch { model, operation, key, cause } => show!(f, "KeyMismatch", model, operation, key, cause),
            Self::Vanished { model, operation } => show!(f, "Vanished", model, operation),
            Self::Ended { reason } => show!(f, "Ended", reason),
            Self::RolledBack { source } => show!(f, "RolledBack"; source),
            Self::CommitUnknown { source } => {
                f.debug_struct("CommitUnknown").field("source", &Redacted(source)).finish()
            }
            Self::Partly { model, operation, committed, source } => {
                show!(f, "Partly", model, operation, committed, source)
            }
            Self::Unsupported { model, operation, what } => show!(f, "Unsupported", model, operation, what),
            Self::Sql(error) => f.debug_tuple("Sql").field(&Redacted(error)).finish(),
        }
    }
}
