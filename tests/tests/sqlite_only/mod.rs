//! Tests of what only SQLite has.
//!
//! A database in memory, a file that is full, its ways with names and indexes.

mod faults;
mod memory;
mod names;
mod plans;

type Fixture = upsertable_tests::Fixture<crate::Subject>;
