//! The connections that calls run on, and what undoes a call.

mod dropped;
pub(crate) mod handle;
mod held;
pub(crate) mod link;
pub(crate) mod savepoint_guard;
pub(crate) mod scope;
