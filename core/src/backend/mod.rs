//! The seam between the operations and the databases.
//!
//! An action that differs by database is a method of one of these traits. A difference that is no action is data.

pub(crate) mod catalogue;
#[cfg(feature = "mysql")]
mod mysql;
pub(crate) mod one_row;
pub(crate) mod paging;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
pub(crate) mod staging;

use crate::{
    backend::catalogue::Catalogue, backend::one_row::OneRow, backend::paging::Paging, backend::staging::Staging,
    driver::Driver, driver::encoding::Encoding,
};

/// A database that this crate works on.
///
/// These are `sqlx::Sqlite`, `sqlx::Postgres` and `sqlx::MySql`, each with the feature of its name.
///
/// It is implemented here for these databases and cannot be implemented elsewhere; a function generic over the database names it as a
/// bound.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database that upsertable works on",
    label = "expected `sqlx::Sqlite`, `sqlx::Postgres` or `sqlx::MySql`",
    note = "turn on the feature of upsertable that is named after the database: `sqlite`, `postgres` or `mysql`",
    note = "`sqlx::Any` hides which database it talks to, and every statement depends on that: use the pool of the database itself"
)]
pub trait Backend: Driver + Encoding + OneRow + Staging + Catalogue + Paging {}
