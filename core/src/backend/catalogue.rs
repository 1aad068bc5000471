//! The description of a table by the database's catalogue.

use crate::operations::verify::Problem;

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
