//! Errors that the crate itself finds while it works.

/// A fault that no error of the database tells.
///
/// It travels as an [`sqlx::Error::Configuration`] until a call turns it into its own error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Finding {
    /// There is no unique index on the key.
    #[error("the catalogue has no unique index on exactly these columns")]
    #[cfg_attr(not(any(feature = "mysql", feature = "sqlite")), allow(dead_code, reason = "PostgreSQL says so itself"))]
    NoUniqueIndex,
    /// A row is stored with another key than the one that was sent.
    #[error("{0}")]
    #[cfg_attr(not(any(feature = "mysql", feature = "sqlite")), allow(dead_code, reason = "PostgreSQL says so itself"))]
    OtherKey(String),
    /// The session or the server cannot do what a call needs.
    #[error("{0}")]
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "the others refuse it themselves"))]
    Refused(&'static str),
    /// Rows were lost on their way.
    #[error("of {sent} rows that were {what}, the server has {there}; nothing of the call is kept")]
    Miscounted {
        /// The step that was counted.
        what: &'static str,
        /// The rows that were sent.
        sent: u64,
        /// The rows that the server counts.
        there: u64,
    },
}

impl From<Finding> for sqlx::Error {
    fn from(finding: Finding) -> Self {
        Self::Configuration(Box::new(finding))
    }
}

/// Fails unless the server has as many rows as were sent.
///
/// Some servers and the proxies before them lose rows without an error.
pub(crate) fn account_for(what: &'static str, sent: u64, there: u64) -> Result<(), sqlx::Error> {
    if sent == there { Ok(()) } else { Err(Finding::Miscounted { what, sent, there }.into()) }
}

/// The error of a row that is stored with another key.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) fn other_key(cause: Option<String>) -> sqlx::Error {
    Finding::OtherKey(cause.unwrap_or_else(|| "it is stored with another key".to_owned())).into()
}
