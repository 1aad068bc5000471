//! What generated code may call. Nothing here is part of the public interface.

pub use crate::{
    On, UniqueKey, Upsertable,
    backend::Backend,
    model::{
        Column, CreateKey, Holds, HoldsKey, Key, KeyRow, Plain, Probe, Reading, Reads, Table, Types, Values, Work,
    },
    verify::AllVerified,
};

#[cfg(all(feature = "mysql", feature = "testing"))]
pub use crate::backend::without_returning;
