//! What PostgreSQL says of a table.

use sqlx::{
    Postgres, Row as _, TypeInfo as _,
    postgres::{PgArguments, PgTypeInfo},
};

use super::{DIALECT, attempt, index, stage};
use crate::{
    backend::{ColumnFound, Engine as _, Fit, IndexFound, TableFound},
    handle::Link,
    sql::{Sql, Statement},
    table::{Column, Key, Table},
};

/// What a column's type ends with here where the server computes the column.
const COMPUTED: &str = " generated";

/// Of a relation: its kind, and whether rows can be inserted into it without a trigger that does something else in their place.
const KIND: &str = "SELECT c.relkind::pg_catalog.text, pg_catalog.pg_relation_is_updatable(c.oid, false) & 8 = 8 \
                    FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass";

/// Why no call that writes works on a table, if it is of such a kind.
pub(super) async fn refuse_table(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Option<String>, sqlx::Error> {
    let ask = Sql::from(format!("{KIND}({})", index::table_name(table)));
    let rows = link.fetch(Statement::once(&ask, PgArguments::default())).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (kind, takes_rows): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
    let name = DIALECT.table(table);
    Ok(match kind.as_str() {
        "r" | "p" => None,
        "v" if takes_rows => refuse_view(link, table).await?,
        "v" => {
            Some(format!("{name} is a view that takes no rows, or hands them to a trigger: name the table behind it"))
        }
        "m" => Some(format!("{name} is a materialized view, which takes no rows: name the table behind it")),
        "f" => Some(format!("{name} is a foreign table, and this server cannot keep a key of it unique")),
        _ => Some(format!("{name} is not a table")),
    })
}

/// The index is on the table behind a view, where the server finds it: so it is asked whether it does.
async fn refuse_view(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Option<String>, sqlx::Error> {
    let name = DIALECT.table(table);
    for key in &table.keys {
        let columns = DIALECT.columns(table, key.columns.iter().copied(), "");
        if key.nulls_not_distinct {
            return Ok(Some(format!(
                "{name} is a view, through which the index of a key with `nulls_not_distinct` ({columns}) is not found: \
                 name the table behind it"
            )));
        }
        let explain =
            Sql::from(format!("EXPLAIN INSERT INTO {name} DEFAULT VALUES ON CONFLICT ({columns}) DO NOTHING"));
        match attempt(link, Statement::once(&explain, PgArguments::default())).await {
            Ok(_) => {}
            Err(error) if Postgres::is_missing_index(&error) => {
                return Ok(Some(format!(
                    "{name} is a view, and the table behind it has no unique index on ({columns})"
                )));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

pub(super) async fn inspect(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Option<TableFound>, sqlx::Error> {
    let mut columns = columns(link, table).await?;
    if columns.is_empty() {
        return Ok(None);
    }
    let mut indexes = indexes(link, table).await?;
    if is_view(link, table).await? {
        // A view without them is refused.
        indexes.extend(table.keys.iter().map(|key| index_behind_view(table, key)));
        // What may be NULL or left out is known of the table behind it only.
        for there in &mut columns {
            let field = table.columns.iter().find(|column| column.name == there.name);
            there.nullable = field.is_none_or(|column| column.nullable);
            there.filled = true;
        }
    }
    Ok(Some(TableFound { columns, indexes }))
}

async fn is_view(link: &mut Link<'_, Postgres>, table: &Table) -> Result<bool, sqlx::Error> {
    let ask = Sql::from(format!("{KIND}({})", index::table_name(table)));
    let rows = link.fetch(Statement::once(&ask, PgArguments::default())).await?;
    rows.first().map_or(Ok(false), |row| Ok(row.try_get::<&str, _>(0)? == "v"))
}

fn index_behind_view(table: &Table, key: &Key) -> IndexFound {
    let columns = key.columns.iter().map(|&column| table.columns[column].name.to_owned());
    IndexFound {
        name: String::new(),
        columns: columns.collect(),
        nulls_not_distinct: key.nulls_not_distinct,
        unusable: None,
    }
}

pub(super) fn is_computed(column: &ColumnFound) -> bool {
    column.kind.ends_with(COMPUTED)
}

/// A column that the database fills in is a number that it counts up; how else it would fill one in is not known here.
pub(super) fn add_column(table: &Table, column: &Column, kind: &PgTypeInfo) -> Option<String> {
    let null = if column.nullable { "" } else { " NOT NULL" };
    let counted = match (column.generated, kind.name()) {
        (false, _) => "",
        (true, "INT2" | "INT4" | "INT8") => " GENERATED BY DEFAULT AS IDENTITY",
        (true, _) => return None,
    };
    let (table, name) = (DIALECT.table(table), DIALECT.name(column.name));
    Some(format!("ALTER TABLE {table} ADD COLUMN {name} {}{null}{counted}", stage::type_name(kind)))
}

async fn columns(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Vec<ColumnFound>, sqlx::Error> {
    let sql = Sql::from(format!(
        "SELECT a.attname::pg_catalog.text, CASE y.typtype WHEN 'd' THEN pg_catalog.format_type(y.typbasetype, y.typtypmod) \
         ELSE pg_catalog.format_type(a.atttypid, a.atttypmod) END \
         || CASE WHEN a.attgenerated <> '' OR a.attidentity = 'a' THEN '{COMPUTED}' ELSE '' END, NOT (a.attnotnull OR y.typnotnull), \
         a.atthasdef OR a.attidentity <> '' OR y.typdefault IS NOT NULL FROM pg_catalog.pg_attribute AS a \
         JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid \
         WHERE a.attrelid = pg_catalog.to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        index::table_name(table)
    ));
    let rows = link.fetch(Statement::once(&sql, PgArguments::default())).await?;
    let column = |row: &sqlx::postgres::PgRow| {
        Ok(ColumnFound {
            name: row.try_get(0)?,
            kind: row.try_get(1)?,
            nullable: row.try_get(2)?,
            filled: row.try_get(3)?,
            is_row_id: false,
        })
    };
    rows.iter().map(column).collect()
}

async fn indexes(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Vec<IndexFound>, sqlx::Error> {
    let sql = Sql::from(format!(
        "SELECT c.relname::pg_catalog.text, ARRAY(SELECT COALESCE(a.attname::pg_catalog.text, '') \
         FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (number, place) \
         LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number \
         WHERE k.place <= i.indnkeyatts ORDER BY k.place), \
         COALESCE((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::pg_catalog.bool, false), \
         CASE WHEN NOT i.indisvalid THEN 'it is not valid' WHEN i.indpred IS NOT NULL THEN 'it is partial' \
         WHEN NOT i.indimmediate THEN 'it is of a deferrable constraint' WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_index AS d \
         WHERE d.indrelid = i.indrelid AND d.indisunique AND NOT d.indimmediate AND d.indnkeyatts = i.indnkeyatts \
         AND d.indkey::pg_catalog.int2[] <@ i.indkey::pg_catalog.int2[] AND d.indkey::pg_catalog.int2[] @> i.indkey::pg_catalog.int2[]) \
         THEN 'there is a deferrable constraint on the same columns' END FROM pg_catalog.pg_index AS i \
         JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid \
         WHERE i.indrelid = pg_catalog.to_regclass({}) AND i.indisunique ORDER BY c.relname",
        index::table_name(table)
    ));
    let rows = link.fetch(Statement::once(&sql, PgArguments::default())).await?;
    let index = |row: &sqlx::postgres::PgRow| {
        Ok(IndexFound {
            name: row.try_get(0)?,
            columns: row.try_get(1)?,
            nulls_not_distinct: row.try_get(2)?,
            unusable: row.try_get(3)?,
        })
    };
    rows.iter().map(index).collect()
}

/// The driver reads a column by its own type only, so a type that the server would convert to on the way in is not enough.
pub(super) fn fit(kind: &PgTypeInfo, declared: &str) -> Fit {
    let declared = declared.strip_suffix(COMPUTED).unwrap_or(declared);
    let (sent, held) = (sql_name(stage::type_name(kind)), without_limits(declared));
    let is_text =
        |name: &str| matches!(name, "text" | "character varying" | "character" | "bpchar" | "name" | "citext");
    let limited = held != declared;
    match (sent.as_str(), held.as_str()) {
        ("jsonb", "json") => Fit::Loses(
            "it is declared json, and the field sends jsonb, which keeps no order of keys and no spaces".to_owned(),
        ),
        ("inet", "cidr") => Fit::Loses("it is declared cidr, which keeps the network of an address only".to_owned()),
        (sent, "character") if is_text(sent) => {
            Fit::Loses(format!("it is declared {declared}, which fills short texts up with spaces"))
        }
        (sent, "character varying") if limited && is_text(sent) => {
            let most: String = declared.chars().filter(char::is_ascii_digit).collect();
            Fit::Loses(format!("it is declared {declared}, which holds no more than {most} characters"))
        }
        (sent, held) if is_text(sent) && is_text(bare_name(held)) => Fit::Holds,
        (_, "numeric") if limited && sent == held => {
            Fit::Loses(format!("it is declared {declared}, which rounds longer numbers"))
        }
        (sent, held) if limited && sent == held && held.contains("time") => {
            Fit::Loses(format!("it is declared {declared}, which rounds finer times"))
        }
        (sent, held) if bare_name(sent) == bare_name(held) => Fit::Holds,
        _ => Fit::Refuses(format!("it is declared {declared}, and the field is one of {sent}")),
    }
}

/// A type's name as the server writes it.
fn sql_name(name: &str) -> String {
    let (element, array) = name.strip_suffix("[]").map_or((name, ""), |element| (element, "[]"));
    let server = match element {
        "BOOL" => "boolean",
        "INT2" => "smallint",
        "INT4" => "integer",
        "INT8" => "bigint",
        "FLOAT4" => "real",
        "FLOAT8" => "double precision",
        "VARCHAR" => "character varying",
        "VARBIT" => "bit varying",
        "TIMESTAMP" => "timestamp without time zone",
        "TIMESTAMPTZ" => "timestamp with time zone",
        "TIME" => "time without time zone",
        "TIMETZ" => "time with time zone",
        "\"char\"" => "\"char\"",
        "pg_catalog.bpchar" => "character",
        // A name in quotes is the user's; one without is folded by the server.
        other if other.contains('"') => return format!("{other}{array}"),
        other => return format!("{}{array}", other.to_lowercase()),
    };
    format!("{server}{array}")
}

/// Without `(10,2)` and the like.
fn without_limits(declared: &str) -> String {
    match (declared.find('('), declared.find(')')) {
        (Some(open), Some(close)) if open < close => format!("{}{}", &declared[..open], &declared[close + 1..]),
        _ => declared.to_owned(),
    }
}

/// Without its schema, which is written or not as the search path is.
fn bare_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
