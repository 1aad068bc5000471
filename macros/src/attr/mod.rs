//! The attributes that the derive reads, one file each.
//!
//! Mistakes within one attribute are reported here, those across attributes by `validate`.

mod container;
mod entry;
mod field;
mod forward;
mod known;
mod unique;

pub(crate) use self::{
    container::{ContainerAttrs, New},
    entry::check_identifier,
    field::{FieldAttrs, Json},
    forward::ForwardedAttrs,
    unique::Unique,
};
