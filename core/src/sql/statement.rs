//! A statement with its arguments.

use sqlx::{Database, Execute, SqlStr, error::BoxDynError};

use crate::sql::text::Sql;

/// A statement with its values, ready to run.
pub(crate) struct Statement<DB: Database> {
    sql: SqlStr,
    arguments: Option<DB::Arguments>,
    cached: bool,
}

impl<DB: Database> Statement<DB> {
    /// A statement whose text comes back, prepared once a connection.
    pub(crate) fn cached(sql: &Sql, arguments: DB::Arguments) -> Self {
        Self { sql: sql.text(), arguments: Some(arguments), cached: true }
    }

    /// A statement whose text is rare, so it is not cached.
    ///
    /// It takes no place in the connection's cache of prepared statements.
    pub(crate) fn once(sql: &Sql, arguments: DB::Arguments) -> Self {
        Self { sql: sql.text(), arguments: Some(arguments), cached: false }
    }

    /// A statement without values, sent as plain text.
    pub(crate) fn plain(sql: &Sql) -> Self {
        Self { sql: sql.text(), arguments: None, cached: false }
    }

    pub(crate) fn as_str(&self) -> &str {
        self.sql.as_str()
    }
}

impl<DB: Database> Execute<'_, DB> for Statement<DB> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.cached
    }
}
