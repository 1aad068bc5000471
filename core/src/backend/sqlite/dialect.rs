//! Names and limits of SQLite's SQL.

use crate::sql::dialect::Dialect;

/// The dialect of statements that are run.
///
/// In double quotes, a name that is no column would be read as a string: <https://www.sqlite.org/quirks.html#dblquote>. In backticks it
/// never is.
pub(super) const DIALECT: Dialect = Dialect { quote: '`', numbered: false };

/// The dialect of statements that are shown and not run.
pub(super) const SHOWN: Dialect = Dialect { quote: '"', numbered: false };

/// The most values that one statement can carry.
///
/// It is SQLite's default `SQLITE_MAX_VARIABLE_NUMBER` since 3.32.
pub(super) const MAX_BINDS: usize = 32_766;

/// The conflict clause of a statement, over any of the table.
///
/// It counts for the statements of triggers too, over their own.
pub(super) const OR_ABORT: &str = " OR ABORT";

/// The plan of a bulk call on SQLite.
pub(super) type StagingPlan = crate::backend::staging::StagingPlan<sqlx::Sqlite>;

/// Writes a name as a string literal.
pub(super) fn text(name: &str) -> String {
    format!("'{}'", name.replace('\'', "''"))
}
