//! What is seen of a call from outside.

pub(crate) mod span;
