//! What generated code may call. Nothing here is part of the public interface.

pub use crate::{
    On, UniqueKey, Upsertable,
    backend::Backend,
    model::{CreateKey, Holds, HoldsKey, Reading, Reads, Work},
    show::{Then, show},
    table::{Described, Table},
    values::{KeyParts, KeyRow, Kinds, Plain, Probe, Together, Types, Values},
    verify::AllVerified,
};

#[cfg(all(feature = "mysql", feature = "testing"))]
pub use crate::backend::without_returning;
