//! Items that generated code uses.
//!
//! Nothing here is part of the public interface.

pub use crate::{
    backend::Backend,
    model::{
        AnyKey, CreateKey, Model, On, Reading,
        RowOperation::{self, Put, PutKey, PutOther, Read, ReadKey, Types},
        UniqueKey,
        column::{Holds as CanHold, HoldsKey as CanHoldKey, Reads},
        debug::{Then, show},
        values::{KeyRow, NotAnOption, OptionProbe, ReadTuple, TypeTuple, Values, WriteTuple},
    },
    operations::verify::AllVerified,
};

// By their short names, as each part of a path is looked up for each model.
pub use std::{
    clone::Clone,
    fmt,
    option::Option::{self as Maybe, None, Some},
};
