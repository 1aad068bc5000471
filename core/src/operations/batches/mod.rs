//! Work over the rows of a table, in batches.
//!
//! The table may be full already, and each batch is kept.

pub(crate) mod builder;
mod pace;
pub(crate) mod report;
mod run;
mod settings;
mod span;
pub(crate) mod work;
