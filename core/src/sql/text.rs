//! The text of a statement.
//!
//! This is the one place where text becomes a statement.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

/// The text of a statement.
///
/// It is made of fixed words, quoted identifiers and placeholders, and cheap to clone.
#[derive(Debug, Clone)]
pub struct Sql(Arc<str>);

impl Sql {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn text(&self) -> SqlStr {
        AssertSqlSafe(Arc::clone(&self.0)).into_sql_str()
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}
