//! What a database's catalogue says of a table.

/// A table as the database has it.
#[derive(Debug)]
pub struct TableFound {
    pub(crate) columns: Vec<ColumnFound>,
    /// Its unique indexes, the primary key among them.
    pub(crate) indexes: Vec<IndexFound>,
}

/// A column as the database has it.
#[derive(Debug)]
pub struct ColumnFound {
    pub(crate) name: String,
    /// Its type, as the database writes it.
    pub(crate) kind: String,
    pub(crate) nullable: bool,
    /// An INSERT may leave it out and it is not NULL then: it has a default, is an identity, or is computed.
    pub(crate) filled: bool,
    /// It is the table's row id, which is never NULL whatever the schema says.
    pub(crate) is_row_id: bool,
}

/// A unique index as the database has it.
#[derive(Debug)]
pub(crate) struct IndexFound {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    pub(crate) nulls_not_distinct: bool,
    /// Why it does not keep the key unique, if it does not.
    pub(crate) unusable: Option<String>,
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
