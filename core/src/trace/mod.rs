//! Spans and warnings that show a call from outside.

pub(crate) mod span;
