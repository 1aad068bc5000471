//! Items that generated code uses.
//!
//! Nothing here is part of the public interface.

pub use crate::{
    On, UniqueKey, Upsertable,
    backend::Backend,
    model::debug::{Then, show},
    model::values::{KeyRow, OptionProbe, Plain, ReadTuple, TypeTuple, Values, WriteTuple},
    model::{
        AnyKey, CreateKey, Holds as CanHold, HoldsKey as CanHoldKey, Reading, Reads,
        RowOperation::{self, Put, PutKey, PutOther, Read, ReadKey, Types},
    },
    operations::verify::AllVerified,
};

// By their short names, as each part of a path is looked up for each model.
pub use std::{
    clone::Clone,
    fmt,
    option::Option::{self as Maybe, None, Some},
};
