//! Names and limits of the SQL of MySQL and MariaDB.

use std::fmt::Write as _;

use crate::{sql::dialect::Dialect, sql::table::Table};

pub(super) const DIALECT: Dialect = Dialect { quote: '`', numbered: false };

/// The most values that one prepared statement can carry.
///
/// Their number has two bytes.
pub(super) const MAX_BINDS: usize = 65_535;

/// Rows of one staging statement.
///
/// The server keeps a prepared statement of this size for as long as the connection lives.
pub(super) const CHUNK_ROWS: usize = 2_000;

/// Bytes of one staging statement.
///
/// They are limited so that long values do not pile up.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// Bytes of a statement beside its values.
pub(super) const STATEMENT_OVERHEAD: usize = 1_024;

/// The limit of a statement that returns several rows.
///
/// `sql_select_limit` cuts every SELECT that has no limit of its own.
pub(super) const NO_LIMIT: &str = "LIMIT 18446744073709551615";

/// The columns of a mark, after those of the model.
///
/// The names are none that a model would give, for sqlx reads columns by name.
pub(super) const NUMBER: &str = "`upsertable_number`";

pub(super) const FOUND: &str = "`upsertable_found`";

pub(super) const CREATED: &str = "`upsertable_created`";

/// True if a statement outside a transaction commits itself.
///
/// Without autocommit a session begins transactions by itself, and with `completion_type = CHAIN` each COMMIT begins the next one.
pub(super) const COMMITS_ITSELF: &str = "(@@autocommit AND @@completion_type <> 'CHAIN')";

/// The plan of a bulk call on MySQL.
pub(super) type StagingPlan = crate::backend::staging::StagingPlan<sqlx::MySql>;

/// The schema and the name of a table, as SQL expressions.
///
/// The catalogue is asked with them.
pub(super) fn place_of(table: &Table) -> (String, String) {
    (table.schema.map_or_else(|| "DATABASE()".to_owned(), text), text(table.name))
}

/// Writes a name as a string literal.
///
/// The meaning of a backslash hangs on the session, so a name with one is written in digits.
pub(super) fn text(name: &str) -> String {
    if !name.contains('\\') {
        return format!("'{}'", name.replace('\'', "''"));
    }
    let mut literal = "_utf8mb4 x'".to_owned();
    for byte in name.bytes() {
        // Writing to a `String` cannot fail.
        let _ = write!(literal, "{byte:02x}");
    }
    literal.push('\'');
    literal
}
