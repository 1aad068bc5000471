//! What generated code may call. Nothing here is part of the public interface.

pub use crate::{
    Error, On, Row, UniqueKey, Upsertable,
    backend::Backend,
    model::{Column, CreateKey, Field, Key, KeyField, KeyRow, Plain, Probe, Table, Types, Values},
    verify::AllVerified,
};
pub use sqlx::{Database, Error as SqlxError, FromRow};

#[cfg(all(feature = "mysql", feature = "testing"))]
pub use crate::backend::without_returning;
