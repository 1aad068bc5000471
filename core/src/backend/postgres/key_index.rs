//! Catalogue queries about a table's unique indexes and texts.
//!
//! They are for where ON CONFLICT does not ask enough about the indexes.

use crate::{
    backend::postgres::dialect::{table_name, text},
    error::postgres::{CHECKED_LATE, MISSING_INDEX, TOO_OLD},
    sql::table::{Key, Table},
    sql::text::Sql,
};

/// Returns a condition that the index takes two NULLs for equal.
///
/// It fails the statement where there is no such index: ON CONFLICT is content with one that does not.
pub(super) fn takes_nulls_for_equal(table: &Table, key: &Key) -> String {
    format!(
        "CAST(CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 150000 THEN '{TOO_OLD}' \
         WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i WHERE {} AND i.indimmediate \
         AND (pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::pg_catalog.bool) \
         THEN '1' ELSE '{MISSING_INDEX}' END AS pg_catalog.int4) = 1",
        on_exactly(table, key)
    )
}

/// Returns a condition that the key has a usable unique index.
///
/// It fails the statement elsewhere. The catalogue alone is asked, which takes no lock on the table. Of a view the catalogue does not know
/// it. Where one index on the key is checked late, ON CONFLICT refuses the table, but only when a row comes.
pub(super) fn is_there(table: &Table, key: &Key) -> String {
    if key.nulls_not_distinct {
        return takes_nulls_for_equal(table, key);
    }
    format!(
        "CAST(CASE WHEN (SELECT COALESCE(pg_catalog.bool_and(i.indimmediate), \
         (SELECT c.relkind NOT IN ('r', 'p') FROM pg_catalog.pg_class AS c WHERE c.oid = {}::pg_catalog.regclass)) \
         FROM pg_catalog.pg_index AS i WHERE {}) IS FALSE THEN '{MISSING_INDEX}' ELSE '1' END AS pg_catalog.int4) = 1",
        table_name(table),
        on_exactly(table, key)
    )
}

/// Returns a condition that no unique index is checked late.
///
/// It is true where each unique index of the table is checked at once, and fails the statement elsewhere. As a query by itself it is asked
/// once.
pub(super) fn none_is_checked_late(table: &Table) -> String {
    format!(
        "(SELECT CAST(CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = {}::pg_catalog.regclass \
         AND NOT i.indimmediate) THEN '{CHECKED_LATE}' ELSE '1' END AS pg_catalog.int4)) = 1",
        table_name(table)
    )
}

pub(super) fn on_exactly(table: &Table, key: &Key) -> String {
    let width = key.columns.len();
    let names: Vec<String> = key.columns.iter().map(|&column| text(table.columns[column].name)).collect();
    format!(
        "i.indrelid = {}::pg_catalog.regclass AND i.indisunique AND NOT i.indisexclusion AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
         AND i.indnkeyatts = {width} AND (SELECT count(*) FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = i.indrelid \
         AND a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:{}]) AND a.attname IN ({})) = {width}",
        table_name(table),
        width.saturating_sub(1),
        names.join(", ")
    )
}

/// Selects what can make a stored key differ or be hidden.
pub(super) fn mismatch_cause(table: &Table, key: &Key) -> Sql {
    let names: Vec<String> = key.columns.iter().map(|&column| text(table.columns[column].name)).collect();
    format!(
        "WITH t AS (SELECT c.* FROM pg_catalog.pg_class AS c WHERE c.oid = {}::pg_catalog.regclass) \
         SELECT COALESCE(\
         (SELECT 'the trigger ' || g.tgname || ' can change or drop a row' FROM pg_catalog.pg_trigger AS g JOIN t ON g.tgrelid = t.oid \
         WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgtype & 4 = 4 ORDER BY g.tgtype & 2 DESC, g.tgname LIMIT 1), \
         (SELECT 'a policy of row-level security hides it from this user' FROM t WHERE t.relrowsecurity AND pg_catalog.row_security_active(t.oid)), \
         (SELECT 'the index ' || c.relname || ' ' || ({OTHER_COLLATION}) FROM pg_catalog.pg_index AS i \
         JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid WHERE {} AND ({OTHER_COLLATION}) IS NOT NULL LIMIT 1), \
         (SELECT 'the column ' || a.attname || ' is of type ' || pg_catalog.format_type(a.atttypid, a.atttypmod) || ', which rounds or cuts values' \
         FROM pg_catalog.pg_attribute AS a JOIN t ON a.attrelid = t.oid JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid \
         WHERE a.attname IN ({}) AND (a.atttypmod >= 0 OR y.typtypmod >= 0 OR y.typtype = 'd' \
         OR a.atttypid IN ('pg_catalog.float4'::pg_catalog.regtype, 'pg_catalog.date'::pg_catalog.regtype, 'pg_catalog.name'::pg_catalog.regtype)) \
         ORDER BY a.attnum LIMIT 1))",
        table_name(table),
        on_exactly(table, key),
        names.join(", ")
    )
    .into()
}

/// Selects, in words, the other collation of an index `i`.
///
/// It compares otherwise than its columns then. Collations that are deterministic take the same texts for equal.
pub(super) const OTHER_COLLATION: &str = "SELECT 'compares ' || a.attname || ' by the collation ' || o.collname || ', and the column by ' || n.collname \
     FROM ROWS FROM (pg_catalog.unnest(i.indkey::pg_catalog.int2[]), pg_catalog.unnest(i.indcollation::pg_catalog.oid[])) \
     WITH ORDINALITY AS k (number, collation_id, place) \
     JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number AND a.attcollation <> k.collation_id \
     JOIN pg_catalog.pg_collation AS o ON o.oid = k.collation_id JOIN pg_catalog.pg_collation AS n ON n.oid = a.attcollation \
     WHERE k.place <= i.indnkeyatts AND NOT (o.collisdeterministic AND n.collisdeterministic) ORDER BY k.place LIMIT 1";

/// Selects, in words, the other operator class of an index `i`.
///
/// It compares otherwise than its columns' `=` then: an operator class that is not the default one can do so, such as one of `text` on a
/// column of `citext`.
pub(super) const OTHER_CLASS: &str = "SELECT 'compares ' || a.attname || ' by the operator class ' || o.opcname \
     FROM ROWS FROM (pg_catalog.unnest(i.indkey::pg_catalog.int2[]), pg_catalog.unnest(i.indclass::pg_catalog.oid[])) \
     WITH ORDINALITY AS k (number, class_id, place) JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number \
     JOIN pg_catalog.pg_opclass AS o ON o.oid = k.class_id AND NOT o.opcdefault WHERE k.place <= i.indnkeyatts AND (NOT EXISTS (\
     SELECT 1 FROM pg_catalog.pg_opclass AS d JOIN pg_catalog.pg_amop AS da ON da.amopfamily = d.opcfamily AND da.amopstrategy = 3 \
     AND da.amoplefttype = d.opcintype AND da.amoprighttype = d.opcintype JOIN pg_catalog.pg_amop AS oa ON oa.amopfamily = o.opcfamily \
     AND oa.amopstrategy = 3 AND oa.amoplefttype = o.opcintype AND oa.amoprighttype = o.opcintype AND oa.amopopr = da.amopopr \
     WHERE d.opcmethod = o.opcmethod AND d.opcdefault AND d.opcintype = o.opcintype) OR EXISTS (\
     SELECT 1 FROM pg_catalog.pg_opclass AS d WHERE d.opcmethod = o.opcmethod AND d.opcdefault AND d.opcintype = a.atttypid \
     AND d.opcintype <> o.opcintype)) ORDER BY k.place LIMIT 1";

/// Selects the types of staged columns that must be asked.
///
/// Each wanted one has its position, the name of the table's column, and the name of the type of what is sent, or none where it is to be
/// the column's own, with its collation.
///
/// A domain's own base type stands for it: a mark has no values, and a row that is skipped need not be one that the domain allows.
pub(super) fn staged_types(table: &Table, wanted: &[(usize, &str, Option<&str>)]) -> Sql {
    let wanted = wanted.iter().map(|(position, column, kind)| {
        let kind = kind.map_or_else(|| "NULL".to_owned(), |kind| format!("pg_catalog.to_regtype({})", text(kind)));
        format!("({position}::pg_catalog.int8, {}, {kind}::pg_catalog.oid)", text(column))
    });
    format!(
        "WITH RECURSIVE base (position, kind, limits, collated) AS (\
         SELECT w.position, COALESCE(w.kind, a.atttypid), CASE WHEN w.kind IS NULL THEN a.atttypmod ELSE -1 END, \
         CASE WHEN w.kind IS NULL THEN a.attcollation ELSE 0 END \
         FROM (VALUES {}) AS w (position, name, kind) JOIN pg_catalog.pg_attribute AS a \
         ON a.attrelid = {}::pg_catalog.regclass AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped \
         UNION ALL SELECT b.position, y.typbasetype, y.typtypmod, b.collated FROM base AS b JOIN pg_catalog.pg_type AS y ON y.oid = b.kind AND y.typtype = 'd') \
         SELECT b.position, pg_catalog.format_type(b.kind, b.limits) || COALESCE(' COLLATE ' || pg_catalog.quote_ident(s.nspname) || '.' \
         || pg_catalog.quote_ident(c.collname), '') FROM base AS b JOIN pg_catalog.pg_type AS y ON y.oid = b.kind AND y.typtype <> 'd' \
         LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = b.collated AND c.oid <> y.typcollation \
         LEFT JOIN pg_catalog.pg_namespace AS s ON s.oid = c.collnamespace",
        wanted.collect::<Vec<_>>().join(", "),
        table_name(table)
    )
    .into()
}

/// Selects the table's columns that are texts of some kind.
///
/// Each comes with its name, the type that it compares as, and whether that is as `text` does. A domain compares as its base type, which
/// takes a NULL where the domain may not.
pub(super) fn text_columns(table: &Table) -> Sql {
    format!(
        "WITH RECURSIVE base (name, column_type, kind, limits, collated) AS (\
         SELECT a.attname::pg_catalog.text, a.atttypid, a.atttypid, a.atttypmod, a.attcollation FROM pg_catalog.pg_attribute AS a \
         WHERE a.attrelid = {}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped \
         UNION ALL SELECT b.name, b.column_type, y.typbasetype, b.limits, b.collated FROM base AS b \
         JOIN pg_catalog.pg_type AS y ON y.oid = b.kind AND y.typtype = 'd') \
         SELECT b.name, pg_catalog.format_type(y.oid, -1), \
         b.column_type IN ('pg_catalog.text'::pg_catalog.regtype, 'pg_catalog.varchar'::pg_catalog.regtype) AND b.limits = -1 \
         AND COALESCE(c.collisdeterministic, true) FROM base AS b \
         JOIN pg_catalog.pg_type AS y ON y.oid = b.kind LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = b.collated \
         WHERE y.typcategory = 'S' AND y.typtype = 'b'",
        table_name(table)
    )
    .into()
}
