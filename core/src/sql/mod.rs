//! Quoting, and the SQL that all dialects share.
//!
//! This is the one place where text becomes a statement.

pub(crate) mod placeholders;
pub(crate) mod table;

use std::{fmt::Write as _, sync::Arc};

use sqlx::{AssertSqlSafe, Database, Execute, SqlSafeStr as _, SqlStr, error::BoxDynError};

use crate::sql::table::{Column, Key, Table};

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

/// A statement with its values, ready to run.
pub struct Statement<DB: Database> {
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

/// The side of a key on which rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    After,
    UpTo,
    /// Up to a key that can be far away.
    End,
}

impl Bound {
    /// Comparison operator for a column before the last.
    ///
    /// A further column can still decide.
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "the others compare rows as a whole"))]
    pub(crate) fn inner(self) -> char {
        match self {
            Self::After => '>',
            Self::UpTo | Self::End => '<',
        }
    }

    /// Comparison operator for the last column.
    pub(crate) fn last(self) -> &'static str {
        match self {
            Self::After => ">",
            Self::UpTo | Self::End => "<=",
        }
    }
}

/// A database's syntax of quoted names and placeholders.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    pub(crate) quote: char,
    /// True for `$1, $2, ..` rather than `?, ?, ..`.
    pub(crate) numbered: bool,
}

impl Dialect {
    /// A quoted identifier; the quote character inside it is doubled.
    pub(crate) fn name(self, name: &str) -> String {
        let mut out = String::with_capacity(name.len() + 2);
        self.push_name(&mut out, name);
        out
    }

    fn push_name(self, out: &mut String, name: &str) {
        out.push(self.quote);
        for character in name.chars() {
            if character == self.quote {
                out.push(character);
            }
            out.push(character);
        }
        out.push(self.quote);
    }

    /// The table's name, with its schema where the model says one.
    pub(crate) fn table(self, table: &Table) -> String {
        match table.schema {
            Some(schema) => format!("{}.{}", self.name(schema), self.name(table.name)),
            None => self.name(table.name),
        }
    }

    /// Quoted columns, each behind `prefix`, separated by commas.
    pub(crate) fn columns(self, table: &Table, columns: impl IntoIterator<Item = usize>, prefix: &str) -> String {
        let mut out = String::new();
        for column in columns {
            if !out.is_empty() {
                out.push_str(", ");
            }
            out.push_str(prefix);
            self.push_name(&mut out, table.columns[column].name);
        }
        out
    }

    /// The placeholder of the value with this number, counted from 1.
    pub(crate) fn push_placeholder(self, out: &mut String, number: usize) {
        if self.numbered {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "${number}");
        } else {
            out.push('?');
        }
    }

    /// `rows` parenthesised lists of `width` placeholders, counted on from `first`.
    pub(crate) fn placeholders(self, rows: usize, width: usize, first: usize) -> String {
        let mut out = String::with_capacity(rows * (width * if self.numbered { 7 } else { 2 } + 3));
        let mut number = first;
        for row in 0..rows {
            out.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..width {
                if column > 0 {
                    out.push(',');
                }
                self.push_placeholder(&mut out, number);
                number += 1;
            }
            out.push(')');
        }
        out
    }

    /// Condition `name = ? AND ..` over a key's columns.
    ///
    /// Placeholders are counted on from `first`.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "PostgreSQL compares in its own way"))]
    pub(crate) fn key_is(self, table: &Table, key: &Key, first: usize) -> String {
        let mut out = String::new();
        for (position, &column) in key.columns.iter().enumerate() {
            if position > 0 {
                out.push_str(" AND ");
            }
            self.push_name(&mut out, table.columns[column].name);
            out.push_str(" = ");
            self.push_placeholder(&mut out, first + position);
        }
        out
    }

    /// Condition that a row's key lies behind a bound, or not.
    ///
    /// The order is the key's, and placeholders are counted on from `first`. The database compares, so that its order is that of its own
    /// `ORDER BY`.
    pub(crate) fn key_bound(self, table: &Table, key: &Key, first: usize, bound: Bound) -> String {
        let columns = self.columns(table, key.columns.iter().copied(), "");
        format!("({columns}) {} {}", bound.last(), self.placeholders(1, key.columns.len(), first))
    }

    /// The statement that makes the unique index which a key needs.
    pub(crate) fn create_unique_index(self, table: &Table, key: &Key) -> String {
        let index = self.name(&index_name(table, key));
        let columns = self.columns(table, key.columns.iter().copied(), "");
        format!("CREATE UNIQUE INDEX {index} ON {} ({columns})", self.table(table))
    }
}

/// Name that this crate gives to a key's unique index.
pub(crate) fn index_name(table: &Table, key: &Key) -> String {
    let columns: Vec<&str> = key.columns.iter().map(|&column| table.columns[column].name).collect();
    format!("{}_{}_key", table.name, columns.join("_"))
}

impl Table {
    /// The columns that a caller supplies.
    pub(crate) fn supplied(&self) -> impl Iterator<Item = usize> + Clone {
        self.columns.iter().enumerate().filter(|(_, column)| !column.generated).map(|(index, _)| index)
    }

    /// The columns that an upsert by this key gives new values.
    pub(crate) fn updatable(&self, key: &Key) -> impl Iterator<Item = usize> {
        self.supplied().filter(|&column| self.is_updatable(key, column))
    }

    /// Tests if an upsert by this key updates this column.
    pub(crate) fn is_updatable(&self, key: &Key, column: usize) -> bool {
        let Column { generated, create_only, .. } = self.columns[column];
        !generated && !create_only && !key.columns.contains(&column)
    }
}
