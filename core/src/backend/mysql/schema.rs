//! What the server says of a table.

use sqlx::{Arguments as _, MySql, Row as _, mysql::MySqlArguments};

use crate::{
    backend::{ColumnFound, Fit, IndexFound, TableFound},
    handle::Link,
    model::Table,
    sql::{Sql, Statement},
};

const COLUMNS: &str = "
SELECT CAST(column_name AS CHAR), CAST(column_type AS CHAR), is_nullable = 'YES',
       column_default IS NOT NULL OR extra LIKE '%auto_increment%' OR extra LIKE '%GENERATED%'
FROM information_schema.columns
WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? ORDER BY ordinal_position";

/// The columns of the unique indexes; an expression has no name.
const INDEXES: &str = "
SELECT CAST(index_name AS CHAR), CAST(column_name AS CHAR), CAST(sub_part AS SIGNED) FROM information_schema.statistics
WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND non_unique = 0 ORDER BY index_name, seq_in_index";

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

/// Kinds of types between which sqlx reads nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Signed,
    Unsigned,
    Float,
    Decimal,
    Text,
    Bytes,
    Other,
}

impl Kind {
    /// By the first word of a type's name, as `int` of `int(10) unsigned`.
    fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let word = name.split(|character: char| !character.is_ascii_alphabetic()).next().unwrap_or_default();
        match word {
            "boolean" => Self::Bool,
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" if name.contains("unsigned") => Self::Unsigned,
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Self::Signed,
            "float" | "double" => Self::Float,
            "decimal" => Self::Decimal,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" => Self::Text,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes,
            _ => Self::Other,
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Bool | Self::Signed | Self::Unsigned | Self::Float | Self::Decimal)
    }
}

pub(super) fn fit(field: &str, column: &str) -> Fit {
    let (sent, there) = (Kind::of(field), Kind::of(column));
    let refused = match (sent, there) {
        (Kind::Signed, Kind::Unsigned) | (Kind::Unsigned, Kind::Signed) | (Kind::Text, Kind::Bytes) => true,
        (Kind::Bool, Kind::Signed | Kind::Unsigned) | (Kind::Other, _) | (_, Kind::Other) => false,
        (sent, there) => sent != there && (sent.is_number() || there.is_number()),
    };
    if refused {
        Fit::Refuses(format!("it is {column}, which sqlx does not read as the field's {field}"))
    } else {
        Fit::Holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_fits_a_column_that_sqlx_can_read_it_from() {
        let fits =
            [("BIGINT", "int(11)"), ("BOOLEAN", "tinyint(1)"), ("VARCHAR", "enum('a','b')"), ("BLOB", "varchar(9)")];
        let others = [("TIMESTAMP", "datetime"), ("JSON", "longtext"), ("BINARY", "uuid")];
        for (field, column) in fits.into_iter().chain(others) {
            assert_eq!(fit(field, column), Fit::Holds, "{field} {column}");
        }
        let refused =
            [("BIGINT", "bigint(20) unsigned"), ("INT UNSIGNED", "int"), ("VARCHAR", "int(11)"), ("DOUBLE", "bigint")];
        for (field, column) in
            refused.into_iter().chain([("BIGINT", "text"), ("DECIMAL", "double"), ("VARCHAR", "binary(16)")])
        {
            assert!(matches!(fit(field, column), Fit::Refuses(_)), "{field} {column}");
        }
    }
}
