//! The reason for the end of a transaction.

use std::fmt;

/// Cause of a transaction's end before its COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The server, after a deadlock or a conflict with another transaction.
    ///
    /// Running it again may succeed.
    Conflict,
    /// The server, for another reason.
    Server,
    /// A call inside the transaction was dropped before it was done.
    Cancelled,
    /// A statement of the caller, by its first word.
    ///
    /// It is one such as ROLLBACK or COMMIT.
    Statement(&'static str),
    /// A caller's statement that commits implicitly, by its first word.
    ///
    /// It commits what ran before it, as DDL does on MySQL and MariaDB.
    ImplicitCommit(&'static str),
    /// The server, or a statement that this crate did not see.
    ///
    /// Such a statement ran on the connection of [`raw`](crate::Transaction::raw).
    Unseen,
}

impl EndReason {
    /// The part of the message that says what is kept.
    pub(super) fn kept(self) -> &'static str {
        match self {
            Self::Conflict | Self::Server | Self::Cancelled => " and nothing of it is kept",
            Self::Statement(_) => ", so what ran before is kept or undone as that statement said",
            Self::ImplicitCommit(_) => ", so what ran before is kept",
            Self::Unseen => ", so what ran before may be kept",
        }
    }

    /// Tests if the caller may have committed something.
    ///
    /// The work must not be done again then.
    pub(crate) fn is_callers(self) -> bool {
        matches!(self, Self::Statement(_) | Self::ImplicitCommit(_) | Self::Unseen)
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conflict => "the server, because of a conflict with another transaction",
            Self::Server => "the server",
            Self::Cancelled => "a call that was cancelled half-way",
            Self::Statement(word) => return write!(f, "a statement of the caller: {word}"),
            Self::ImplicitCommit(word) => {
                return write!(f, "a statement of the caller that commits implicitly: {word}");
            }
            Self::Unseen => "the server or a statement on its raw connection",
        })
    }
}
