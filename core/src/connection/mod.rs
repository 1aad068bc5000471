//! The connection that a call runs on, and what undoes its work there.

pub(crate) mod handle;
pub(crate) mod scope;

pub use handle::Handle;
