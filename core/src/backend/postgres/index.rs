//! What the server's catalogue knows of a table: its unique indexes, where ON CONFLICT does not ask enough about them, and its texts.

use super::DIALECT;
use crate::{
    sql::Sql,
    table::{Key, Table},
};

/// What a statement fails with, as the text of a number that is none, where the index is not there.
pub(super) const MISSING: &str = "upsertable: no unique index on the key";

/// The same where the server has no such indexes.
pub(super) const TOO_OLD: &str = "upsertable: no NULLS NOT DISTINCT on this server";

/// A condition that is true where the index takes two NULLs for equal, and fails the statement where there is no such index: ON CONFLICT is
/// content with one that does not.
pub(super) fn takes_nulls_for_equal(table: &Table, key: &Key) -> String {
    format!(
        "CAST(CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 150000 THEN '{TOO_OLD}' \
         WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i WHERE {} AND i.indimmediate \
         AND (pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::pg_catalog.bool) \
         THEN '1' ELSE '{MISSING}' END AS pg_catalog.int4) = 1",
        on_exactly(table, key)
    )
}

/// The same for a key without NULLs, of which some index is checked late: ON CONFLICT refuses the table then, but only when a row comes.
pub(super) fn is_checked_at_once(table: &Table, key: &Key) -> String {
    format!(
        "CAST(CASE WHEN (SELECT pg_catalog.bool_and(i.indimmediate) FROM pg_catalog.pg_index AS i WHERE {}) IS FALSE \
         THEN '{MISSING}' ELSE '1' END AS pg_catalog.int4) = 1",
        on_exactly(table, key)
    )
}

/// What a statement fails with, in the same way, where any unique index is checked late.
pub(super) const CHECKED_LATE: &str = "upsertable: a unique index is checked late";

/// A condition that is true where each unique index of the table is checked at once, and fails the statement elsewhere. As a query by itself it
/// is asked once.
pub(super) fn none_is_checked_late(table: &Table) -> String {
    format!(
        "(SELECT CAST(CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = {}::pg_catalog.regclass \
         AND NOT i.indimmediate) THEN '{CHECKED_LATE}' ELSE '1' END AS pg_catalog.int4)) = 1",
        table_name(table)
    )
}

fn on_exactly(table: &Table, key: &Key) -> String {
    let width = key.columns.len();
    let names: Vec<String> = key.columns.iter().map(|&column| text(table.columns[column].name)).collect();
    format!(
        "i.indrelid = {}::pg_catalog.regclass AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
         AND i.indnkeyatts = {width} AND (SELECT count(*) FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = i.indrelid \
         AND a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:{}]) AND a.attname IN ({})) = {width}",
        table_name(table),
        width.saturating_sub(1),
        names.join(", ")
    )
}

/// The table's columns that are texts of some kind: the name, the type that they compare as, and whether that is as `text` does.
pub(super) fn text_columns(table: &Table) -> Sql {
    format!(
        "SELECT a.attname::pg_catalog.text, pg_catalog.format_type(COALESCE(NULLIF(y.typbasetype, 0), y.oid), -1), \
         y.oid IN ('pg_catalog.text'::pg_catalog.regtype, 'pg_catalog.varchar'::pg_catalog.regtype) AND a.atttypmod = -1 \
         AND COALESCE(c.collisdeterministic, true) FROM pg_catalog.pg_attribute AS a \
         JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = a.attcollation \
         WHERE a.attrelid = {}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped \
         AND y.typcategory = 'S' AND y.typtype IN ('b', 'd')",
        table_name(table)
    )
    .into()
}

/// The table's quoted name as a string literal, to be cast to `regclass`.
pub(super) fn table_name(table: &Table) -> String {
    text(&DIALECT.table(table))
}

/// A name as a string literal, whatever the server takes a backslash for.
fn text(name: &str) -> String {
    let quoted = name.replace('\'', "''");
    if name.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}
