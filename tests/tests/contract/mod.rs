//! The contract: every promise, on the database named `Subject`.
//!
//! The test program names it, whatever it is.
//!
//! A case is named after its promise: `r` rows, `b` bulk, `c` after the commit, `a` batches.

mod after_commit;
mod altered;
mod batches;
mod bulk;
mod bulk_limits;
mod bulk_rows;
mod cancel;
mod cancel_all;
mod commit_every;
mod django;
mod edges;
mod find_all;
mod handles;
mod hooks;
mod hours;
mod isolation;
mod plain_sql;
mod recorded;
mod redaction;
mod retry;
mod rows;
mod statements;
mod tables;
mod traces;
mod transfers;
mod upsert;

use std::{collections::HashMap, fmt};

use sqlx::{AssertSqlSafe, Database};
use upsertable_tests::TestDb;

use crate::Subject;

type Db = <Subject as TestDb>::Db;
type Connection = <Db as Database>::Connection;
type Fixture = upsertable_tests::Fixture<Subject>;

/// Number of callers that race.
///
/// There are as many connections.
const CALLERS: i64 = 8;

/// Row that one caller was given.
///
/// Its key and id, and whether the caller made it.
struct Given {
    key: (i64, i64),
    id: i64,
    created: bool,
}

/// Checks that one caller of each key made its row.
///
/// Everybody was given that one row.
fn assert_created_once(given: impl IntoIterator<Item = Given>, keys: usize) {
    let mut by_key: HashMap<(i64, i64), (i64, usize)> = HashMap::new();
    for Given { key, id, created } in given {
        let (first_id, creators) = by_key.entry(key).or_insert((id, 0));
        assert_eq!(*first_id, id, "two rows of one key: {key:?}");
        *creators += usize::from(created);
    }
    assert_eq!(by_key.len(), keys);
    for (key, (_, creators)) in by_key {
        assert_eq!(creators, 1, "creators of {key:?}");
    }
}

/// A statement for plain sqlx.
fn plain(sql: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql.to_owned())
}

/// The user's own error, from a stream or a closure.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    Line(u32),
    Database(#[from] upsertable::Error),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line} is malformed"),
            Self::Database(error) => error.fmt(f),
        }
    }
}

/// Name of the error's variant.
///
/// It is what a test expects of an error, without its fields.
fn kind(error: &upsertable::Error) -> &'static str {
    use upsertable::Error;
    match error {
        Error::OtherUnique { .. } => "OtherUnique",
        Error::MissingUniqueIndex { .. } => "MissingUniqueIndex",
        Error::ManyRows { .. } => "ManyRows",
        Error::KeyMismatch { .. } => "KeyMismatch",
        Error::Vanished { .. } => "Vanished",
        Error::Ended { .. } => "Ended",
        Error::RolledBack { .. } => "RolledBack",
        Error::CommitUnknown { .. } => "CommitUnknown",
        Error::Unsupported { .. } => "Unsupported",
        Error::Partly { .. } => "Partly",
        Error::Sql(_) => "Sql",
        _ => "another",
    }
}
