//! Bulk calls: rows sent to a temporary table, then merged.
//!
//! The merge takes a few statements.

pub(crate) mod builder;
pub(crate) mod call;
pub(crate) mod job;
pub(crate) mod report;
pub(crate) mod stream;
