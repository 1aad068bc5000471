//! The meaning of one error.

use std::borrow::Cow;

use crate::error::end_reason::EndReason;

/// The effect of an error on the transaction around it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionEffect {
    /// The transaction goes on, or can go on from a savepoint.
    #[default]
    Alive,
    /// The transaction can no longer be committed.
    ///
    /// A rollback to a savepoint can save it.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL does so"))]
    Aborted,
    /// The database may have ended it; ask before the next statement.
    #[cfg_attr(not(any(feature = "mysql", feature = "sqlite")), allow(dead_code, reason = "PostgreSQL always tells"))]
    Ask,
    /// The database has ended it.
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "only MySQL does so"))]
    Ended(EndReason),
}

/// The meaning of one error.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub(crate) struct Meaning {
    /// The same work may succeed when done again.
    pub(crate) retryable: bool,
    /// Attempts that this error uses up.
    pub(crate) attempts: u32,
    /// A prepared statement is older than its table.
    ///
    /// All that is prepared on the connection has to be forgotten before the same work is done again.
    pub(crate) outdated: bool,
    /// A row has a value that a unique index has already.
    pub(crate) unique_violation: bool,
    /// The connection is gone.
    pub(crate) connection_lost: bool,
    /// The server had ended the session before it got the statement.
    pub(crate) farewell: bool,
    /// A transaction is open already.
    pub(crate) begun_already: bool,
    /// There is no such savepoint, or no transaction in which it could be.
    pub(crate) no_savepoint: bool,
    /// The unique index on the key is missing.
    pub(crate) missing_index: bool,
    /// The server does not lock a page of this table's rows at once.
    ///
    /// Such is a sharded table.
    pub(crate) cannot_lock_page: bool,
    /// The transaction can neither make nor drop temporary tables.
    pub(crate) no_temporary_tables: bool,
    /// The effect on the transaction around it.
    pub(crate) effect: TransactionEffect,
    /// Why the server cannot do this.
    pub(crate) refusal: Option<&'static str>,
    /// Why a new row is not found by its key.
    pub(crate) mismatch: Option<Cow<'static, str>>,
}

impl Default for Meaning {
    fn default() -> Self {
        Self {
            retryable: false,
            attempts: 1,
            outdated: false,
            unique_violation: false,
            connection_lost: false,
            farewell: false,
            begun_already: false,
            no_savepoint: false,
            missing_index: false,
            cannot_lock_page: false,
            no_temporary_tables: false,
            effect: TransactionEffect::Alive,
            refusal: None,
            mismatch: None,
        }
    }
}
