//! How far a bulk call has come.

/// Progress of a bulk call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Rows that have been read and sent to the database.
    ///
    /// They come from the caller, and are kept when the call is done.
    pub received: u64,
    /// Of these, the rows that are kept already.
    ///
    /// None before the call is done, unless it [commits meanwhile](crate::Bulk::commit_every).
    pub committed: u64,
}
