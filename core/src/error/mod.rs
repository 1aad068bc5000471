//! The error of every call.

pub(crate) mod classify;
mod debug;
pub(crate) mod end_reason;
pub(crate) mod finding;
pub(crate) mod meaning;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod problem;
pub(crate) mod redact;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use self::{end_reason::EndReason, problem::Problem, redact::Redacted};

/// Any error that can be sent to another thread.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The error of every call.
///
/// Neither its message nor its `Debug` has a value of a row in it: what the database says of one is left out of both, and is in
/// [`source()`](std::error::Error::source), which is sqlx's error as it came.
///
/// Match on a variant to act on one cause; ask [`is_retryable`](Self::is_retryable) and the other questions to act on a kind of cause.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The row conflicts with another key's row in another unique index.
    ///
    /// It does so whether a row with its own key is there or not. A `get_or_create` that answered with that other row would answer with the
    /// wrong one, and an insert that skipped the new row would lose it.
    #[error(
        "{model}::{operation}: a row with another key ({key}) has the same value in another unique index, so nothing was written; find that row by that index, or change the value"
    )]
    #[non_exhaustive]
    OtherUnique {
        /// The model's name.
        model: &'static str,
        /// The call.
        operation: &'static str,
        /// The columns of the key that was asked for.
        key: String,
        /// The database's error, where it gave one.
        source: Option<Box<sqlx::Error>>,
    },

    /// There is no unique index on exactly the key's columns.
    ///
    /// Nothing was written: without the index, two callers can both create the row. Once the call has failed, the catalogue is asked for
    /// what adds the index, which is told as [`verify`](crate::Upsertable::verify) tells it.
    #[error("{model}::{operation}: no unique index on ({key}), so nothing was written; {}", index_hint(.create, .why.as_deref()))]
    #[non_exhaustive]
    MissingUniqueIndex {
        /// The model's name.
        model: &'static str,
        /// The call.
        operation: &'static str,
        /// The columns that lack the index.
        key: String,
        /// The statement that adds the index, or an empty string.
        ///
        /// It is as [`verify`](crate::Upsertable::verify) gives it. Empty where no statement adds the index.
        create: String,
        /// The reason why no statement adds the index, where none does.
        why: Option<String>,
        /// The database's error, where it gave one.
        source: Option<Box<sqlx::Error>>,
    },

    /// The table is not as the model needs it.
    ///
    /// [`Upsertable::verify`](crate::Upsertable::verify) found that.
    #[error("{model}::verify: {}", listed(.problems))]
    #[non_exhaustive]
    Schema {
        /// The model's name.
        model: &'static str,
        /// Everything that was found, with the SQL that puts it right.
        problems: Vec<Problem>,
    },

    /// A key found more than one row.
    ///
    /// The table has no unique index on it.
    #[error(
        "{model}::{operation}: more than one row has this key ({key}); remove the duplicates, then add the unique index"
    )]
    #[non_exhaustive]
    ManyRows {
        /// The model's name.
        model: &'static str,
        /// The call.
        operation: &'static str,
        /// The columns of the key.
        key: String,
    },

    /// A row cannot be found by the key asked for.
    ///
    /// It was inserted with that key, or is in the way of a row with it. The database stores the key otherwise than it was sent, or
    /// compares it otherwise in the index than in a query. The cause lasts, so calling again does not help. Nothing of the call is kept.
    #[error(
        "{model}::{operation}: a row is not found by the key that was asked for ({key}), though the database takes it for the row with that key: {cause}; nothing was written; ask by the key as it is stored"
    )]
    #[non_exhaustive]
    KeyMismatch {
        /// The model's name.
        model: &'static str,
        /// The call.
        operation: &'static str,
        /// The columns of the key that was asked for.
        key: String,
        /// The part of the table that can change keys or hide rows.
        cause: String,
    },

    /// The row was deleted before it could be read.
    ///
    /// It was there when it was to be inserted, and gone when it was to be read. Calling again is safe.
    #[error(
        "{model}::{operation}: the row existed when it was to be inserted, and was deleted before it could be read; call again"
    )]
    #[non_exhaustive]
    Vanished {
        /// The model's name.
        model: &'static str,
        /// The call.
        operation: &'static str,
    },

    /// The transaction is over.
    ///
    /// The server ended it, a statement of the caller did, or a call inside it was cancelled half-way. Nothing of it is kept, but where the
    /// caller's own statement has committed it: see [`EndReason`]. No callback runs in any case.
    #[error("the transaction was ended by {reason}{}; begin a new one", reason.kept())]
    #[non_exhaustive]
    Ended {
        /// Who ended it.
        reason: EndReason,
    },

    /// COMMIT was answered with a ROLLBACK.
    ///
    /// A statement in the transaction had failed. Nothing of it is kept.
    #[error(
        "commit: the database rolled the transaction back, because a statement in it had failed; nothing of it is kept"
    )]
    #[non_exhaustive]
    RolledBack {
        /// The database's error, where it gave one.
        source: Option<Box<sqlx::Error>>,
    },

    /// The connection was lost while COMMIT ran.
    ///
    /// The data may be saved or not. Read it to find out; every call of this crate is safe to repeat.
    #[error("commit: the connection was lost while COMMIT ran, so the data may be saved or not; read it to find out")]
    #[non_exhaustive]
    CommitUnknown {
        /// The error with which the connection was lost.
        source: sqlx::Error,
    },

    /// The call failed after a part of its work was committed.
    ///
    /// That part is kept: see [`Batches`](crate::Batches) and [`Bulk::commit_every`](crate::Bulk::commit_every). Called again, it goes on
    /// from there.
    #[error("{model}::{operation}: {committed} rows are committed and kept; the rest failed: {source}")]
    #[non_exhaustive]
    Partly {
        /// The model's name.
        model: &'static str,
        /// The call.
        operation: &'static str,
        /// Rows that are committed and kept.
        committed: u64,
        /// The error that stopped the rest.
        source: Box<Error>,
    },

    /// The database cannot do what was asked.
    #[error("{model}::{operation}: {what}")]
    #[non_exhaustive]
    Unsupported {
        /// The model's name.
        model: &'static str,
        /// The call.
        operation: &'static str,
        /// Description of what cannot be had, and what to do instead.
        what: String,
    },

    /// Any other error of the database, the driver or the pool.
    #[error("{}", Redacted(.0))]
    Sql(#[from] sqlx::Error),
}

fn index_hint(create: &str, why: Option<&str>) -> String {
    match why {
        Some(why) => format!("none can be added: {why}"),
        None => format!("add it with: {create}"),
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

impl Error {
    /// Tests if the same work may succeed when repeated.
    ///
    /// It has to be done again in a new transaction. It may succeed after a deadlock, a serialization failure, a lock that was not granted
    /// in time, or on PostgreSQL a statement that was prepared before its table changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Vanished { .. } | Self::Ended { reason: EndReason::Conflict } => true,
            Self::Sql(error) => classify::is_retryable(error),
            Self::RolledBack { source: Some(error) } => classify::is_retryable(error),
            Self::Partly { source, .. } => source.is_retryable(),
            _ => false,
        }
    }

    /// The error of the database, the driver or the pool.
    ///
    /// Only where it was given on as it is.
    pub(crate) fn as_sql(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Sql(error) => Some(error),
            _ => None,
        }
    }

    /// Tests if the transaction was over before its COMMIT.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::RolledBack { .. })
    }

    /// Tests if a unique index refused a row.
    ///
    /// A conflict on the key that was asked for is never an error, so it was another index.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        match self {
            Self::OtherUnique { .. } => true,
            Self::Partly { source, .. } => source.is_unique_violation(),
            Self::Sql(error) => classify::is_unique_violation(error),
            _ => false,
        }
    }

    /// Tests if the connection was lost, or could not be made.
    #[must_use]
    pub fn is_connection_lost(&self) -> bool {
        match self {
            Self::CommitUnknown { .. } => true,
            Self::Partly { source, .. } => source.is_connection_lost(),
            Self::Sql(error) => classify::is_connection_lost(error),
            _ => false,
        }
    }
}
