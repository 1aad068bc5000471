//! Spans, warnings and logs that show a call from outside.

pub(crate) mod span;
pub(crate) mod statement_log;
