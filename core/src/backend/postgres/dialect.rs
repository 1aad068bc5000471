//! Names and limits of PostgreSQL's SQL.

use crate::{sql::dialect::Dialect, sql::table::Table};

pub(super) const DIALECT: Dialect = Dialect { quote: '"', numbered: true };

pub(super) const MAX_BINDS: usize = 65_535;

/// The plan of a bulk call on PostgreSQL.
pub(super) type StagingPlan = crate::backend::staging::StagingPlan<sqlx::Postgres>;

/// Returns the table's quoted name as a string literal.
///
/// It is to be cast to `regclass`.
pub(super) fn table_name(table: &Table) -> String {
    text(&DIALECT.table(table))
}

/// Writes a name as a string literal.
///
/// It works whatever the server takes a backslash for.
pub(super) fn text(name: &str) -> String {
    let quoted = name.replace('\'', "''");
    if name.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}
