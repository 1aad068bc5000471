//! What the server says of a table.

use sqlx::{Arguments as _, Column as _, MySql, Row as _, mysql::MySqlArguments};

use super::{DIALECT, errors};
use crate::{
    backend::{ColumnFound, IndexFound, TableFound},
    handle::Link,
    sql::{self, Sql, Statement},
    table::{Column, Key, Table},
};

/// What a column's type ends with that the server computes.
const COMPUTED: &str = " GENERATED";

/// The type with its character set, where that cannot hold all text. MariaDB's default of a column that has none is the word NULL.
const COLUMNS: &str = "
SELECT CAST(column_name AS CHAR),
       CAST(CONCAT(column_type,
           IF(COALESCE(character_set_name, 'utf8mb4') = 'utf8mb4', '', CONCAT(' CHARACTER SET ', character_set_name)),
           IF(extra LIKE '%VIRTUAL GENERATED%' OR extra LIKE '%STORED GENERATED%', ' GENERATED', '')) AS CHAR),
       is_nullable = 'YES',
       (column_default IS NOT NULL AND NOT (is_nullable = 'YES' AND column_default = 'NULL'))
           OR extra LIKE '%auto_increment%' OR extra LIKE '%GENERATED%'
FROM information_schema.columns
WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? ORDER BY ordinal_position LIMIT 18446744073709551615";

/// All that the definition of a column says that is allowed to be NULL, where it says no more than its type.
const PLAIN_COLUMN: &str = "
SELECT CAST(CONCAT(column_type, COALESCE(CONCAT(' CHARACTER SET ', character_set_name, ' COLLATE ', collation_name), '')) AS CHAR)
FROM information_schema.columns
WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND column_name = ?
      AND column_default IS NULL AND extra = '' AND column_comment = '' AND column_key <> 'PRI' LIMIT 1";

/// The columns of the unique indexes; an expression has no name.
const INDEXES: &str = "
SELECT CAST(index_name AS CHAR), CAST(column_name AS CHAR), CAST(sub_part AS SIGNED) FROM information_schema.statistics
WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND non_unique = 0 ORDER BY index_name, seq_in_index
LIMIT 18446744073709551615";

/// Why no call works on a table, if it is of such a kind.
pub(super) async fn refuse_table(link: &mut Link<'_, MySql>, table: &Table) -> Result<Option<String>, sqlx::Error> {
    let (name, Some((first, create))) = (DIALECT.table(table), show_create(link, table).await?) else {
        return Ok(None);
    };
    let kind = if first == "View" {
        "a view, which has no indexes: name the table behind it"
    } else if create.starts_with("CREATE TEMPORARY") {
        "a temporary table on this connection, of which the server's catalogue lists no indexes"
    } else {
        return Ok(None);
    };
    Ok(Some(format!("{name} is {kind}, and a call writes nothing where it finds no unique index")))
}

/// What its first column is called, and the statement that would make the table. Nothing where there is no table.
async fn show_create(link: &mut Link<'_, MySql>, table: &Table) -> Result<Option<(String, String)>, sqlx::Error> {
    let show = Sql::from(format!("SHOW CREATE TABLE {}", DIALECT.table(table)));
    let rows = match link.fetch(Statement::plain(&show)).await {
        Err(error) if errors::is_no_table(&error) => return Ok(None),
        rows => rows?,
    };
    let Some(row) = rows.first() else { return Ok(None) };
    let first = row.columns().first().map(|column| column.name().to_owned());
    Ok(Some((first.unwrap_or_default(), row.try_get(1)?)))
}

/// All causes in one sentence. Nothing where there are none.
pub(super) async fn causes(link: &mut Link<'_, MySql>, ask: &Sql) -> Result<Option<String>, sqlx::Error> {
    let mut causes = Vec::new();
    for row in link.fetch(Statement::plain(ask)).await? {
        causes.push(row.try_get::<String, _>(0)?);
    }
    Ok((!causes.is_empty()).then(|| causes.join(", ")))
}

/// MODIFY has to be told the whole column anew, and what it is not told is lost: so only a column of which nothing else is said, and of a
/// table without CHECK.
pub(super) async fn allow_null(
    link: &mut Link<'_, MySql>,
    table: &Table,
    column: &Column,
) -> Result<Option<String>, sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    for value in [table.schema, Some(table.name), Some(column.name)] {
        arguments.add(value).map_err(sqlx::Error::Encode)?;
    }
    let definition = link.fetch(Statement::cached(&Sql::from(PLAIN_COLUMN), arguments)).await?;
    let Some(definition) = definition.first() else { return Ok(None) };
    let has_check = show_create(link, table).await?.is_none_or(|(_, create)| create.contains("CHECK ("));
    let definition: String = definition.try_get(0)?;
    Ok((!has_check).then(|| {
        format!("ALTER TABLE {} MODIFY COLUMN {} {definition} NULL", DIALECT.table(table), DIALECT.name(column.name))
    }))
}

/// With types that hold all that the field sends. An index holds no long ones.
pub(super) fn add_column(table: &Table, column: &Column, field: &str) -> Option<String> {
    let indexed = table.keys.iter().any(|key| key.columns.iter().any(|&key| table.columns[key].name == column.name));
    let kind = match field {
        "VARCHAR" if indexed => "VARCHAR(255)",
        "VARCHAR" => "LONGTEXT",
        "BLOB" if indexed => "VARBINARY(255)",
        "BLOB" => "LONGBLOB",
        // The driver sends JSON so.
        "BINARY" => "JSON",
        "DECIMAL" => "DECIMAL(65,30)",
        "TIME" => "TIME(6)",
        "DATETIME" => "DATETIME(6)",
        "TIMESTAMP" => "TIMESTAMP(6)",
        // Its words are not known here.
        "ENUM" => return None,
        other => other,
    };
    let null = if column.nullable { "NULL" } else { "NOT NULL" };
    Some(format!("ALTER TABLE {} ADD COLUMN {} {kind} {null}", DIALECT.table(table), DIALECT.name(column.name)))
}

/// The most characters that a name can have.
const NAME_LENGTH: usize = 64;

/// A name that is too long is left to the server to choose.
pub(super) fn create_unique_index(table: &Table, key: &Key) -> String {
    if sql::index_name(table, key).chars().count() <= NAME_LENGTH {
        return DIALECT.create_unique_index(table, key);
    }
    let columns = DIALECT.columns(table, key.columns.iter().copied(), "");
    format!("ALTER TABLE {} ADD UNIQUE INDEX ({columns})", DIALECT.table(table))
}

pub(super) fn is_computed(column: &ColumnFound) -> bool {
    column.kind.ends_with(COMPUTED)
}

pub(super) async fn inspect(link: &mut Link<'_, MySql>, table: &Table) -> Result<Option<TableFound>, sqlx::Error> {
    let mut columns = Vec::new();
    for row in link.fetch(of_table(COLUMNS, table)?).await? {
        columns.push(ColumnFound {
            name: row.try_get(0)?,
            kind: row.try_get(1)?,
            nullable: row.try_get(2)?,
            filled: row.try_get(3)?,
            is_row_id: false,
        });
    }
    if columns.is_empty() {
        return Ok(None);
    }
    let mut indexes: Vec<IndexFound> = Vec::new();
    for row in link.fetch(of_table(INDEXES, table)?).await? {
        let (name, column, part): (String, Option<String>, Option<i64>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if indexes.last().is_none_or(|index| index.name != name) {
            indexes.push(IndexFound { name, columns: Vec::new(), nulls_not_distinct: false, unusable: None });
        }
        if let Some(index) = indexes.last_mut() {
            // No column has the empty name of an expression, so an index with one is on no key.
            let column = column.unwrap_or_default();
            if let Some(part) = part {
                index.unusable = Some(format!("it covers only the first {part} characters of {column}"));
            }
            index.columns.push(column);
        }
    }
    Ok(Some(TableFound { columns, indexes }))
}

fn of_table(sql: &str, table: &Table) -> Result<Statement<MySql>, sqlx::Error> {
    let mut arguments = MySqlArguments::default();
    arguments.add(table.schema).and_then(|()| arguments.add(table.name)).map_err(sqlx::Error::Encode)?;
    Ok(Statement::cached(&Sql::from(sql), arguments))
}
