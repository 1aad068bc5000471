//! What generated code may call. Nothing here is part of the public interface.

pub use crate::{
    Error, On, Row, UniqueKey, Upsertable,
    backend::Backend,
    model::{Column, CreateKey, Holds, HoldsKey, Key, KeyRow, Plain, Probe, Reads, Table, Types, Values},
    verify::AllVerified,
};
pub use sqlx::{Database, Error as SqlxError};

#[cfg(all(feature = "mysql", feature = "testing"))]
pub use crate::backend::without_returning;
