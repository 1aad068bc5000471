//! What generated code may call. Nothing here is part of the public interface.

pub use crate::{
    On, UniqueKey, Upsertable,
    backend::Backend,
    model::{
        CreateKey, Described, Holds, HoldsKey, KeyParts, KeyRow, Kinds, Plain, Probe, Reading, Reads, Table, Together,
        Types, Values, Work,
    },
    show::{Then, show},
    verify::AllVerified,
};

#[cfg(all(feature = "mysql", feature = "testing"))]
pub use crate::backend::without_returning;
