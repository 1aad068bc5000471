//! Isolation levels.

/// Isolation level: how much a transaction sees of others.
///
/// A database that has no such level gives the next stricter one. SQLite knows [`Serializable`](Self::Serializable) only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isolation {
    /// Statements also see what is not committed yet.
    ///
    /// PostgreSQL takes it for [`ReadCommitted`](Self::ReadCommitted).
    ReadUncommitted,
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see what was committed before the first.
    RepeatableRead,
    /// Transactions act as if one ran after the other.
    Serializable,
}

impl Isolation {
    /// Name of the level in the SQL standard.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "READ UNCOMMITTED",
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}
