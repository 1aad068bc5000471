//! Shared parts of the tests.
//!
//! A database to try the contract on, the models, and tools for the hard cases.
//!
//! The contract suite itself is `tests/contract/`. It is written once; each database has a test program (`tests/sqlite.rs`) that names its
//! [`TestDb`] as `Subject` and takes in the suite, so that every database runs the very same cases.

// Tests panic: that is how they fail.
#![allow(clippy::missing_panics_doc)]

mod db;
pub mod kinds;
mod log;
pub mod models;
mod mysql;
mod pooler;
mod postgres;
pub mod settings;
mod sqlite;
mod tools;

pub use db::{Fixture, Plan, Server, TestDb, schema};
pub use log::{Traced, keep_log, logged, traced};
pub use mysql::{MySqlHome, OnMySql, mysql_url};
pub use pooler::{OnNarrowPooler, OnPooler, Pooler, PoolerHome};
pub use postgres::{OnPostgres, PostgresHome};
pub use sqlite::OnSqlite;
pub use tools::{Cut, LiveRows, at_every_poll, panic_text, race};
