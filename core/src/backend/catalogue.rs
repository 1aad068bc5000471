//! The database's catalogue: its description of a table.

use crate::{
    connection::link::Link,
    driver::encoding::Encoding,
    error::problem::Problem,
    outcome::SqlFuture,
    sql::table::{Column, Key, Table},
};

/// The questions to the catalogue, and statements that change a table.
pub trait Catalogue: Encoding {
    /// Returns the catalogue's description of a table, or `None` without one.
    fn inspect<'l>(link: &'l mut Link<'_, Self>, table: &'static Table) -> SqlFuture<'l, Option<CatalogTable>>;

    /// Returns why a table of this kind takes no writes.
    ///
    /// No call that writes works on it, whatever its columns are. `None` if its kind is fine.
    fn refuse_table<'l>(link: &'l mut Link<'_, Self>, table: &'static Table) -> SqlFuture<'l, Option<String>>;

    /// Returns how a column fits a field of this type.
    ///
    /// The column has to hold what the field sends, and give what it reads.
    fn fit(kind: &Self::TypeInfo, column: &CatalogColumn) -> Fit;

    /// Returns true if the database takes two column names for one.
    fn same_name(one: &str, other: &str) -> bool {
        one.eq_ignore_ascii_case(other)
    }

    /// Returns the statement that adds a missing column.
    fn add_column(table: &Table, column: &Column, kind: &Self::TypeInfo) -> Option<String>;

    /// Returns the statement that lets a column be NULL, if any.
    fn allow_null<'l>(
        _link: &'l mut Link<'_, Self>,
        _table: &'static Table,
        _column: &'static Column,
    ) -> SqlFuture<'l, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Returns the statement that makes the key's unique index.
    ///
    /// Used for a table of which nothing is known.
    fn create_unique_index(table: &Table, key: &Key) -> String;

    /// Returns what gives a key its unique index.
    ///
    /// The catalogue is asked: a table may take no such index, or need more than that.
    fn mend_index<'l>(link: &'l mut Link<'_, Self>, table: &'static Table, key: &'static Key) -> SqlFuture<'l, Mend>;

    /// Finds what can make a stored key differ from the sent.
    ///
    /// Or what can hide a row from a query. Asked if a row stands in the way that the key does not find. `None` if only a row that was
    /// deleted meanwhile explains it.
    fn mismatch_cause<'l>(
        link: &'l mut Link<'_, Self>,
        table: &'static Table,
        key: &'static Key,
    ) -> SqlFuture<'l, Option<String>>;
}

/// A table as the database has it.
#[derive(Debug, Default)]
pub struct CatalogTable {
    pub(crate) columns: Vec<CatalogColumn>,
    /// Its unique indexes, the primary key among them.
    pub(crate) indexes: Vec<CatalogIndex>,
    /// Problems other than those of its columns and indexes.
    pub(crate) problems: Vec<Problem>,
    /// Facts that break nothing and may surprise.
    pub(crate) warnings: Vec<String>,
    /// True if a trigger before INSERT may fill its columns.
    pub(crate) has_filling_trigger: bool,
    /// True if a column counts up its values.
    ///
    /// There may be no second such column.
    pub(crate) counts: bool,
    /// True if it takes no further columns: they are another's.
    pub(crate) is_closed: bool,
    /// The prefix of a statement that changes the table.
    pub(crate) before_ddl: &'static str,
}

/// A column as the database has it.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub struct CatalogColumn {
    pub(crate) name: String,
    /// Its type, as the database writes it.
    pub(crate) kind: String,
    pub(crate) nullable: bool,
    /// True if an INSERT may leave it out.
    ///
    /// It is not NULL then: it has a default, is an identity, or is computed.
    pub(crate) filled: bool,
    /// True if the database computes it and takes no value.
    pub(crate) computed: bool,
    /// True if it refuses values of other types than its own.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "elsewhere every column does"))]
    pub(crate) strict: bool,
    /// True if it is the row id of the table.
    ///
    /// That is never NULL whatever the schema says.
    pub(crate) is_row_id: bool,
}

/// A unique index as the database has it.
#[derive(Debug)]
pub(crate) struct CatalogIndex {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) nulls_not_distinct: bool,
    /// The reason that it does not keep the key unique.
    pub(crate) unusable: Option<String>,
}

/// The statement that makes a unique index, or why none does.
#[derive(Debug)]
pub enum Mend {
    By(String),
    /// Nothing does, for this reason.
    Not(String),
}

/// The fit of a column to the values of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    Holds,
    /// It stores them, and may lose a part.
    Loses(String),
    /// It cannot store them, or cannot give them back.
    Refuses(String),
}
