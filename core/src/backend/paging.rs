//! The statements that page through a table by a key.

use super::Backend;
use crate::{
    sql::table::{Key, Table},
    sql::{Bound, Sql},
};

/// A selection of rows by a condition and between two keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'r> {
    pub(crate) table: &'static Table,
    pub(crate) key: &'static Key,
    /// The caller's own condition, and how many values it takes.
    pub(crate) condition: Option<&'r str>,
    pub(crate) values: usize,
    /// True if only the rows after a key are wanted.
    pub(crate) after: bool,
    /// True if only the rows up to a key are wanted.
    pub(crate) up_to: bool,
}

impl Rows<'_> {
    /// Reads the keys of the first rows, each with its place.
    pub(crate) fn keys<DB: Backend>(self, select: &str, paging: &DB::Paging, limit: usize) -> Sql {
        self.read_keys::<DB>(select, Some(paging), "", limit)
    }

    /// Reads the key of the last row, with its place.
    ///
    /// Without a paging, it also reads the columns from which a paging is learned.
    pub(crate) fn last<DB: Backend>(self, select: &str, paging: Option<&DB::Paging>) -> Sql {
        self.read_keys::<DB>(select, paging, " DESC", 1)
    }

    fn read_keys<DB: Backend>(self, select: &str, paging: Option<&DB::Paging>, direction: &str, limit: usize) -> Sql {
        let key = DB::DIALECT.columns(self.table, self.key.columns.iter().copied(), "");
        let place = DB::place_columns(self.table, self.key, paging);
        let order = self.order::<DB>(paging, direction);
        let source = self.source::<DB>(paging, Bound::End);
        format!("{select} {key}{place} FROM {source} ORDER BY {order} LIMIT {limit}").into()
    }

    /// Takes the first rows for a batch.
    ///
    /// In a transaction, they are the batch's until its end.
    pub(crate) fn take<DB: Backend>(self, select: &str, paging: &DB::Paging, limit: usize, wait: bool) -> Sql {
        let all = DB::selected(self.table);
        let order = self.order::<DB>(Some(paging), "");
        let place = DB::place_columns(self.table, self.key, Some(paging));
        let lock = DB::lock_rows(wait);
        let source = self.source::<DB>(Some(paging), Bound::UpTo);
        format!("{select} {all}{place} FROM {source} ORDER BY {order} LIMIT {limit}{lock}").into()
    }

    /// Takes one row by its whole key.
    pub(crate) fn take_one<DB: Backend>(self, select: &str, paging: &DB::Paging, wait: bool) -> Sql {
        let all = DB::DIALECT.columns(self.table, 0..self.table.columns.len(), "");
        let place = DB::place_columns(self.table, self.key, Some(paging));
        let is_key = DB::DIALECT.key_is(self.table, self.key, self.values + 1);
        let joined = if self.condition.is_some() { "AND" } else { "WHERE" };
        format!(
            "{select} {all}{place} FROM {} {joined} {is_key}{}",
            self.source::<DB>(Some(paging), Bound::UpTo),
            DB::lock_rows(wait)
        )
        .into()
    }

    /// Counts the rows.
    pub(crate) fn count<DB: Backend>(self, paging: Option<&DB::Paging>) -> Sql {
        format!("SELECT count(*) FROM {} LIMIT 1", self.source::<DB>(paging, Bound::End)).into()
    }

    fn order<DB: Backend>(self, paging: Option<&DB::Paging>, direction: &str) -> String {
        let order = DB::paging_order(self.table, self.key, paging);
        order.into_iter().map(|column| column + direction).collect::<Vec<_>>().join(", ")
    }

    fn source<DB: Backend>(self, paging: Option<&DB::Paging>, up_to: Bound) -> String {
        let mut conditions = Vec::new();
        if let Some(condition) = self.condition {
            // On a line of its own, as it may end in a comment.
            conditions.push(format!("({condition}\n)"));
        }
        let mut first = self.values + 1;
        for (wanted, bound) in [(self.after, Bound::After), (self.up_to, up_to)] {
            if wanted {
                conditions.push(DB::paging_bound(self.table, self.key, paging, first, bound));
                first += self.key.columns.len();
            }
        }
        let mut source = DB::DIALECT.table(self.table);
        for (position, condition) in conditions.iter().enumerate() {
            source.push_str(if position == 0 { " WHERE " } else { " AND " });
            source.push_str(condition);
        }
        source
    }
}
