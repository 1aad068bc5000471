//! What PostgreSQL says of a table.

use sqlx::{
    Postgres, Row as _,
    postgres::{PgArguments, PgTypeInfo},
};

use super::{index, stage};
use crate::{
    backend::{ColumnFound, Fit, IndexFound, TableFound},
    handle::Link,
    model::Table,
    sql::{Sql, Statement},
};

pub(super) async fn inspect(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Option<TableFound>, sqlx::Error> {
    let columns = columns(link, table).await?;
    if columns.is_empty() {
        return Ok(None);
    }
    Ok(Some(TableFound { columns, indexes: indexes(link, table).await? }))
}

async fn columns(link: &mut Link<'_, Postgres>, table: &Table) -> Result<Vec<ColumnFound>, sqlx::Error> {
    let sql = Sql::from(format!(
        "SELECT a.attname::pg_catalog.text, CASE y.typtype WHEN 'd' THEN pg_catalog.format_type(y.typbasetype, y.typtypmod) \
         ELSE pg_catalog.format_type(a.atttypid, a.atttypmod) END, NOT (a.attnotnull OR y.typnotnull), \
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
