//! What SQLite says of a table.

use sqlx::{Arguments as _, Row as _, Sqlite, sqlite::SqliteArguments};

use super::SHOWN;
use crate::{
    backend::{ColumnFound, Fit, IndexFound, TableFound},
    handle::Link,
    sql::{Sql, Statement},
    table::Table,
};

/// Columns, hidden ones but those that are computed left out.
const COLUMNS: &str = "
SELECT name, type, \"notnull\", dflt_value IS NOT NULL OR hidden IN (2, 3), pk, (SELECT count(*) FROM pragma_table_xinfo(?1, ?2) WHERE pk > 0)
FROM pragma_table_xinfo(?1, ?2) WHERE hidden <> 1 ORDER BY cid";

/// The columns of the unique indexes; an expression has no name.
const INDEXES: &str = r#"
SELECT il.name, il.partial, ii.name FROM pragma_index_list(?1, ?2) AS il, pragma_index_xinfo(il.name, ?2) AS ii
WHERE il."unique" = 1 AND ii.key = 1 ORDER BY il.seq, ii.seqno"#;

/// Why no call that writes works on a table, if it is of such a kind: only a table has a unique index.
pub(super) async fn refuse_table(link: &mut Link<'_, Sqlite>, table: &Table) -> Result<Option<String>, sqlx::Error> {
    let kind = Sql::from(
        "SELECT type FROM pragma_table_list WHERE name = ?1 COLLATE NOCASE AND (?2 IS NULL OR schema = ?2 COLLATE NOCASE)",
    );
    let rows = link.fetch(Statement::cached(&kind, of_table(table)?)).await?;
    let name = SHOWN.table(table);
    let kinds = rows.iter().map(|row| row.try_get::<&str, _>(0)).collect::<Result<Vec<_>, _>>()?;
    // One of the name that can be written is the one that is meant.
    Ok(match kinds.first() {
        Some(_) if kinds.iter().any(|kind| !["view", "virtual"].contains(kind)) => None,
        Some(kind) => {
            let (what, help) =
                if *kind == "view" { ("view", ": name the table behind it") } else { ("virtual table", "") };
            Some(format!("{name} is a {what}, which no unique index can be on, so that no call can write to it{help}"))
        }
        None => None,
    })
}

pub(super) async fn inspect(link: &mut Link<'_, Sqlite>, table: &Table) -> Result<Option<TableFound>, sqlx::Error> {
    let columns = columns(link, table).await?;
    if columns.is_empty() {
        return Ok(None);
    }
    let mut indexes = indexes(link, table).await?;
    // A row-id primary key has no index of its own.
    if let Some(row_id) = columns.iter().find(|column| column.is_row_id) {
        indexes.push(IndexFound {
            name: "the row id".to_owned(),
            columns: vec![row_id.name.clone()],
            nulls_not_distinct: false,
            unusable: None,
        });
    }
    Ok(Some(TableFound { columns, indexes }))
}

fn of_table(table: &Table) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in [Some(table.name), table.schema] {
        arguments.add(value).map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

async fn columns(link: &mut Link<'_, Sqlite>, table: &Table) -> Result<Vec<ColumnFound>, sqlx::Error> {
    let mut columns = Vec::new();
    for row in link.fetch(Statement::cached(&Sql::from(COLUMNS), of_table(table)?)).await? {
        let (kind, in_key, key_columns): (String, i64, i64) = (row.try_get(1)?, row.try_get(4)?, row.try_get(5)?);
        // https://www.sqlite.org/lang_createtable.html#rowid: exactly this word makes the column the row id.
        let is_row_id = in_key > 0 && key_columns == 1 && kind.eq_ignore_ascii_case("INTEGER");
        columns.push(ColumnFound {
            name: row.try_get(0)?,
            kind,
            nullable: !row.try_get::<bool, _>(2)?,
            filled: is_row_id || row.try_get(3)?,
            is_row_id,
        });
    }
    Ok(columns)
}

async fn indexes(link: &mut Link<'_, Sqlite>, table: &Table) -> Result<Vec<IndexFound>, sqlx::Error> {
    let mut indexes: Vec<IndexFound> = Vec::new();
    for row in link.fetch(Statement::cached(&Sql::from(INDEXES), of_table(table)?)).await? {
        let (name, partial, column): (String, bool, Option<String>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if indexes.last().is_none_or(|index| index.name != name) {
            let unusable = partial.then(|| {
                "it is partial, and keeps only those rows apart that its WHERE holds for: make one without WHERE"
                    .to_owned()
            });
            indexes.push(IndexFound { name, columns: Vec::new(), nulls_not_distinct: false, unusable });
        }
        if let Some(index) = indexes.last_mut() {
            // No column has the empty name of an expression, so an index with one is on no key.
            index.columns.push(column.unwrap_or_default());
        }
    }
    Ok(indexes)
}

/// By the column's affinity: <https://www.sqlite.org/datatype3.html#determination_of_column_affinity>
pub(super) fn fit(kind: &str, declared: &str) -> Fit {
    let declared_upper = declared.to_ascii_uppercase();
    let has = |word: &str| declared_upper.contains(word);
    let numbers = "INTEGER|INT4|INT8|BIGINT|INT|BOOLEAN|REAL|NUMERIC".split('|').any(|number| number == kind);
    let text_column = !has("INT") && (has("CHAR") || has("CLOB") || has("TEXT"));
    let integer_column = has("INT");
    let real_column = has("REAL") || has("FLOA") || has("DOUB");
    if numbers && text_column {
        return Fit::Refuses(format!(
            "it is declared {declared}, which turns numbers into text, and the field sends {kind}"
        ));
    }
    if kind == "TEXT" && (integer_column || real_column) {
        return Fit::Loses(format!("it is declared {declared}, which turns text that looks like a number into one"));
    }
    if kind == "REAL" && integer_column {
        return Fit::Loses(format!("it is declared {declared}, which turns whole numbers of the field into integers"));
    }
    Fit::Holds
}
