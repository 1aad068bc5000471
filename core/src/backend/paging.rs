//! The statements that page through a table by a key.

use crate::{
    backend::one_row::OneRow,
    sql::dialect::Bound,
    sql::table::{Key, Table},
    sql::text::Sql,
};

/// The order of a table's rows, and the places where its pages begin and end.
pub trait Paging: OneRow {
    /// Facts about the key, learned from the first row read.
    type KeyFacts: Default + Send + Sync;

    /// A position in the order of the key.
    ///
    /// A page begins or ends there. It holds the values of a key as the database has them, not as Rust makes them.
    type Place: Clone + Send + Sync;

    /// Returns the locking clause of a batch's SELECT.
    ///
    /// The clause waits for rows that another transaction has locked, or passes them over. Where there is such a lock, it keeps nobody from
    /// inserting rows that refer to them.
    fn lock_rows(_wait: bool) -> &'static str {
        ""
    }

    /// Tests if the error says that locked rows cannot be skipped.
    ///
    /// The server does not know how to pass over them, which is kept in mind.
    fn cannot_skip(_error: &sqlx::Error) -> bool {
        false
    }

    /// Returns the condition for keys on one side of a bound.
    ///
    /// They stand behind it, or not behind it, in the order of [`order`](Self::order).
    fn bound(table: &Table, key: &Key, _facts: Option<&Self::KeyFacts>, first: usize, bound: Bound) -> String {
        Self::DIALECT.key_bound(table, key, first, bound)
    }

    /// Returns the expressions that a page is sorted by.
    fn order(table: &Table, key: &Key, _facts: Option<&Self::KeyFacts>) -> Vec<String> {
        key.columns.iter().map(|&column| Self::DIALECT.name(table.columns[column].name)).collect()
    }

    /// Returns the first word of a SELECT in key order.
    ///
    /// It reads rows in the order of a key whose fields are of these types.
    fn select_sorted(_key: &Key, _types: &[Self::TypeInfo]) -> String {
        "SELECT".to_owned()
    }

    /// Returns the extra columns of a page, each after a comma.
    ///
    /// They are for [`place`](Self::place), or in the row that is read first for [`learn`](Self::learn).
    fn place_columns(_table: &Table, _key: &Key, _facts: Option<&Self::KeyFacts>) -> String {
        String::new()
    }

    /// Learns about the key from the row that is read first.
    ///
    /// Returns also whether that row has to be read again.
    fn learn(_row: &Self::Row, _table: &Table, _key: &Key) -> Result<(Self::KeyFacts, bool), sqlx::Error> {
        Ok((Self::KeyFacts::default(), false))
    }

    /// Returns the place of a row of a page.
    ///
    /// The row has the key's columns at these positions and the [`place_columns`](Self::place_columns) at its end. `None` if the values
    /// that Rust makes of them are bound again.
    fn place(
        _row: &Self::Row,
        _key: &Key,
        _positions: &[usize],
        _types: &[Self::TypeInfo],
        _facts: &Self::KeyFacts,
    ) -> Result<Option<Self::Place>, sqlx::Error> {
        Ok(None)
    }

    /// Writes the values of a place.
    fn put_place(_encoder: &mut Self::Encoder, _place: &Self::Place) {}

    /// Returns the bytes that identify a row by its key's values.
    ///
    /// By them a row that is read twice is recognized. `write` writes the values, which are those of the place where there is one.
    fn identity(
        place: Option<&Self::Place>,
        write: impl FnOnce(&mut Self::Encoder) -> Result<(), sqlx::Error>,
    ) -> Result<Vec<u8>, sqlx::Error>;
}

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
    pub(crate) fn keys<DB: Paging>(self, select: &str, paging: &DB::KeyFacts, limit: usize) -> Sql {
        self.read_keys::<DB>(select, Some(paging), "", limit)
    }

    /// Reads the key of the last row, with its place.
    ///
    /// Without a paging, it also reads the columns from which a paging is learned.
    pub(crate) fn last<DB: Paging>(self, select: &str, paging: Option<&DB::KeyFacts>) -> Sql {
        self.read_keys::<DB>(select, paging, " DESC", 1)
    }

    fn read_keys<DB: Paging>(self, select: &str, paging: Option<&DB::KeyFacts>, direction: &str, limit: usize) -> Sql {
        let key = DB::DIALECT.columns(self.table, self.key.columns.iter().copied(), "");
        let place = DB::place_columns(self.table, self.key, paging);
        let order = self.order::<DB>(paging, direction);
        let source = self.source::<DB>(paging, Bound::End);
        format!("{select} {key}{place} FROM {source} ORDER BY {order} LIMIT {limit}").into()
    }

    /// Takes the first rows for a batch.
    ///
    /// In a transaction, they are the batch's until its end.
    pub(crate) fn take<DB: Paging>(self, select: &str, paging: &DB::KeyFacts, limit: usize, wait: bool) -> Sql {
        let all = DB::selected(self.table);
        let order = self.order::<DB>(Some(paging), "");
        let place = DB::place_columns(self.table, self.key, Some(paging));
        let lock = DB::lock_rows(wait);
        let source = self.source::<DB>(Some(paging), Bound::UpTo);
        format!("{select} {all}{place} FROM {source} ORDER BY {order} LIMIT {limit}{lock}").into()
    }

    /// Takes one row by its whole key.
    pub(crate) fn take_one<DB: Paging>(self, select: &str, paging: &DB::KeyFacts, wait: bool) -> Sql {
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
    pub(crate) fn count<DB: Paging>(self, paging: Option<&DB::KeyFacts>) -> Sql {
        format!("SELECT count(*) FROM {} LIMIT 1", self.source::<DB>(paging, Bound::End)).into()
    }

    fn order<DB: Paging>(self, paging: Option<&DB::KeyFacts>, direction: &str) -> String {
        let order = DB::order(self.table, self.key, paging);
        order.into_iter().map(|column| column + direction).collect::<Vec<_>>().join(", ")
    }

    fn source<DB: Paging>(self, paging: Option<&DB::KeyFacts>, up_to: Bound) -> String {
        let mut conditions = Vec::new();
        if let Some(condition) = self.condition {
            // On a line of its own, as it may end in a comment.
            conditions.push(format!("({condition}\n)"));
        }
        let mut first = self.values + 1;
        for (wanted, bound) in [(self.after, Bound::After), (self.up_to, up_to)] {
            if wanted {
                conditions.push(DB::bound(self.table, self.key, paging, first, bound));
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
