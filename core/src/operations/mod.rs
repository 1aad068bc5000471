//! The operations: the order of their steps, without SQL text.

pub(crate) mod batches;
pub(crate) mod bulk;
pub(crate) mod created;
pub(crate) mod find;
pub(crate) mod get_or_create;
pub(crate) mod one_row;
pub(crate) mod target;
pub(crate) mod upsert;
pub(crate) mod verify;
