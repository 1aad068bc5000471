//! The statements for one row.

use crate::sql::text::Sql;

/// The statements for one row, by one key.
#[derive(Debug)]
pub struct RowStatements {
    /// Reads at most two rows by the key.
    ///
    /// So a duplicate is noticed.
    pub(crate) find: Sql,
    /// Reads the row that stood in the way of `create`.
    pub(crate) reread: Sql,
    /// Inserts the row unless its key is there.
    ///
    /// Returns the row that it made where the database can.
    pub(crate) create: Sql,
    /// Updates the row with this key.
    ///
    /// Returns the row where the database can. `None` if no column may change.
    pub(crate) update: Option<Sql>,
    /// Further statements of the database, numbered in its own module.
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "only MySQL needs more"))]
    pub(crate) others: Vec<Sql>,
}
