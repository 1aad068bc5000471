//! What a database's catalogue says of a table.

use crate::operations::verify::Problem;

/// A table as the database has it.
#[derive(Debug, Default)]
pub struct CatalogTable {
    pub(crate) columns: Vec<CatalogColumn>,
    /// Its unique indexes, the primary key among them.
    pub(crate) indexes: Vec<CatalogIndex>,
    /// What is wrong with it beside its columns and indexes.
    pub(crate) problems: Vec<Problem>,
    /// What works and may surprise.
    pub(crate) warnings: Vec<String>,
    /// A trigger that runs before a row is inserted may fill its columns in.
    pub(crate) has_filling_trigger: bool,
    /// A column counts, and there may be no second one.
    pub(crate) counts: bool,
    /// It takes no further columns: they are another's.
    pub(crate) is_closed: bool,
    /// What stands before a statement that changes the table.
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
    /// An INSERT may leave it out and it is not NULL then: it has a default, is an identity, or is computed.
    pub(crate) filled: bool,
    /// The database computes it, and takes no value for it.
    pub(crate) computed: bool,
    /// It refuses values of other types than its own.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "elsewhere every column does"))]
    pub(crate) strict: bool,
    /// It is the table's row id, which is never NULL whatever the schema says.
    pub(crate) is_row_id: bool,
}

/// A unique index as the database has it.
#[derive(Debug)]
pub(crate) struct CatalogIndex {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) nulls_not_distinct: bool,
    /// Why it does not keep the key unique, if it does not.
    pub(crate) unusable: Option<String>,
}

/// What gives a key its unique index.
#[derive(Debug)]
pub enum Mend {
    By(String),
    /// Nothing does, for this reason.
    Not(String),
}

/// How a column takes the values of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    Holds,
    /// It stores them, and may lose a part.
    Loses(String),
    /// It cannot store them, or cannot give them back.
    Refuses(String),
}
