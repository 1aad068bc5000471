//! SQL: its text, its dialects and the tables that it is about.

pub(crate) mod callers_sql;
pub(crate) mod dialect;
pub(crate) mod row_statements;
pub(crate) mod statement;
pub(crate) mod table;
pub(crate) mod text;
