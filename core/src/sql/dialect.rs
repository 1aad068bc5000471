//! Quoting, placeholders and the SQL that all dialects share.

use std::fmt::Write as _;

use crate::sql::table::{Key, Table};

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
}

/// Name that this crate gives to a key's unique index.
#[cfg_attr(not(any(feature = "mysql", feature = "sqlite")), allow(dead_code, reason = "PostgreSQL finds a name"))]
pub(crate) fn index_name(table: &Table, key: &Key) -> String {
    let columns: Vec<&str> = key.columns.iter().map(|&column| table.columns[column].name).collect();
    format!("{}_{}_key", table.name, columns.join("_"))
}
