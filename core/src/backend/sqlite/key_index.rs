//! The schema's view of a key: its unique index and comparisons.

use sqlx::{Arguments as _, Row as _, Sqlite, sqlite::SqliteArguments};

use crate::{
    backend::sqlite::dialect::DIALECT,
    connection::link::Link,
    sql::statement::Statement,
    sql::table::{Key, Table},
    sql::text::Sql,
};

/// The comparison of a key column's values.
pub(super) struct KeyColumn {
    /// The collation of the unique index.
    pub(super) collation: String,
    /// The type that the table declares.
    ///
    /// It decides the column's affinity.
    pub(super) declared: String,
}

/// The columns of one index, each with its collation.
///
/// An expression in place of a column has no name.
type Columns = Vec<(Option<String>, String)>;

/// Selects the columns of the unique indexes, then all columns.
///
/// A row-id primary key has no index of its own, so the table's own list of primary key columns comes after the indexes.
const SCHEMA: &str = r#"
SELECT il.name, ii.name, ii.coll FROM pragma_index_list(?1, ?2) AS il, pragma_index_xinfo(il.name, ?2) AS ii
WHERE il."unique" = 1 AND il.partial = 0 AND ii.key = 1
UNION ALL SELECT '', name, 'BINARY' FROM pragma_table_xinfo(?1, ?2) WHERE pk > 0
UNION ALL SELECT NULL, name, type FROM pragma_table_xinfo(?1, ?2)"#;

/// Reads the key's columns as their unique index sees them.
///
/// `None` if there is no unique index on exactly them.
///
/// The staging table takes them over, so that two staged rows are one key exactly where the index says so.
pub(super) async fn key_columns(
    link: &mut Link<'_, Sqlite>,
    table: &Table,
    key: &Key,
) -> Result<Option<Vec<KeyColumn>>, sqlx::Error> {
    let (indexes, declared) = read_schema(link, table).await?;
    if declared.is_empty() {
        // No such table, most likely: the database says it best.
        link.fetch(Statement::plain(&format!("SELECT 1 FROM {} LIMIT 0", DIALECT.table(table)).into())).await?;
    }
    let wanted: Vec<&str> = key.columns.iter().map(|&column| table.columns[column].name).collect();
    let of_key = |(_, columns): &(String, Columns)| {
        let collations = wanted.iter().map(|name| value_of(columns, name));
        (columns.len() == wanted.len()).then(|| collations.collect::<Option<Vec<_>>>())?
    };
    let Some(collations) = indexes.iter().find_map(of_key) else { return Ok(None) };
    let columns = wanted
        .iter()
        .zip(collations)
        .map(|(name, collation)| KeyColumn { collation, declared: value_of(&declared, name).unwrap_or_default() });
    Ok(Some(columns.collect()))
}

/// Reads the table's unique indexes and its columns' declared types.
async fn read_schema(
    link: &mut Link<'_, Sqlite>,
    table: &Table,
) -> Result<(Vec<(String, Columns)>, Columns), sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in [Some(table.name), table.schema] {
        arguments.add(value).map_err(sqlx::Error::Encode)?;
    }
    let mut indexes: Vec<(String, Columns)> = Vec::new();
    let mut declared = Columns::new();
    for row in link.fetch(Statement::cached(&Sql::from(SCHEMA), arguments)).await? {
        let index: Option<String> = row.try_get(0)?;
        let column = (row.try_get(1)?, row.try_get(2)?);
        let Some(index) = index else {
            declared.push(column);
            continue;
        };
        match indexes.iter_mut().find(|(name, _)| *name == index) {
            Some((_, columns)) => columns.push(column),
            None => indexes.push((index, vec![column])),
        }
    }
    Ok((indexes, declared))
}

/// Finds the value of a column by its name.
///
/// SQLite compares names without case.
fn value_of(columns: &Columns, wanted: &str) -> Option<String> {
    let is_wanted = |name: &Option<String>| name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
    columns.iter().find(|(name, _)| is_wanted(name)).map(|(_, value)| value.clone())
}
