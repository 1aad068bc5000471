//! What generated code may call. Nothing here is part of the public interface.

pub use crate::{
    On, UniqueKey, Upsertable,
    backend::Backend,
    model::{
        CreateKey, Holds as CanHold, HoldsKey as CanHoldKey, Reading, Reads, SomeKey,
        Work::{self, Put, PutKey, PutOther, Read, ReadKey, Types},
    },
    show::{Then, show},
    values::{KeyParts, KeyRow, Kinds, Plain, Probe, Together, Values},
    verify::AllVerified,
};

// By their short names, as each part of a path is looked up for each model.
pub use std::{
    clone::Clone,
    fmt,
    option::Option::{self as Maybe, None, Some},
};
