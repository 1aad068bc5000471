//! The connection of a call, and what undoes its work there.

pub(crate) mod handle;
pub(crate) mod scope;

pub use handle::Handle;
