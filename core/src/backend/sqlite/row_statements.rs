//! The statements for rows by key.

use crate::{
    backend::sqlite::dialect::{DIALECT, OR_ABORT, text},
    backend::sqlite::insert_behavior,
    backend::sqlite::key_index::KeyColumn,
    sql::row_statements::RowStatements,
    sql::table::{Column, Key, Table},
    sql::text::Sql,
};

/// Index of the INSERT where triggers are watched.
///
/// It is one in [`RowStatements::others`], as the next are.
///
/// The other two are what is asked of the table.
pub(super) const CREATE_WATCHED: usize = 0;
pub(super) const ASK_NATURE: usize = 1;
pub(super) const ASK_CAUSE: usize = 2;

/// An expression that fails a statement on a table with triggers.
///
/// It fails with "integer overflow", which no other error but that of a CHECK says.
const FAIL_TRIGGERS: &str = "abs(-9223372036854775808)";
pub(super) const FAILED_TRIGGERS: &str = "integer overflow";

/// An expression that fails an INSERT whose key is stored differently.
const FAIL_KEY: &str = "'' LIKE '' ESCAPE ''";
pub(super) const FAILED_KEY: &str = "ESCAPE expression must be a single character";

/// Returns the columns, each with its own name for its name.
///
/// `PRAGMA short_column_names` and `full_column_names` give others where a statement says none.
pub(super) fn selected(table: &Table, prefix: &str) -> String {
    let column = |column: &Column| {
        let name = DIALECT.name(column.name);
        format!("{prefix}{name} AS {name}")
    };
    table.columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

pub(super) fn row_statements(table: &Table, key: &Key) -> RowStatements {
    let into = DIALECT.table(table);
    let all = selected(table, "");
    let supplied = DIALECT.columns(table, table.supplied(), "");
    let key_columns = DIALECT.columns(table, key.columns.iter().copied(), "");
    let values = DIALECT.placeholders(1, table.supplied().count(), 1);
    let found = DIALECT.key_is(table, key, 1);
    let find = Sql::from(format!("SELECT {all} FROM {into} WHERE {found} LIMIT 2"));
    let selected_values = vec!["?"; table.supplied().count()].join(", ");
    RowStatements {
        reread: find.clone(),
        find,
        create: format!(
            "INSERT{OR_ABORT} INTO {into} ({supplied}) SELECT {selected_values} WHERE {} ON CONFLICT ({key_columns}) DO NOTHING \
             RETURNING {all}, CASE WHEN {found} THEN 1 ELSE {FAIL_KEY} END AS \"upsertable: found\"",
            without_triggers(table)
        )
        .into(),
        update: update_row(table, key, &all),
        others: vec![
            format!("INSERT INTO {into} ({supplied}) VALUES {values} ON CONFLICT ({key_columns}) DO NOTHING RETURNING 1")
                .into(),
            insert_behavior::ask(table, table.schema.unwrap_or("main")),
            mismatch_cause(table, key),
        ],
    }
}

/// Returns a condition that the table has no trigger.
///
/// It fails the statement otherwise.
pub(super) fn without_triggers(table: &Table) -> String {
    let schema = table.schema.unwrap_or("main");
    let name = text(table.name);
    let temporary = if schema.eq_ignore_ascii_case("temp") {
        String::new()
    } else {
        format!(" AND NOT EXISTS (SELECT 1 FROM temp.sqlite_schema WHERE tbl_name = {name} COLLATE NOCASE)")
    };
    format!(
        "CASE WHEN (SELECT sum(type = 'table') = 1 AND sum(type = 'trigger') = 0 FROM {}.sqlite_schema \
         WHERE tbl_name = {name} COLLATE NOCASE){temporary} THEN 1 ELSE {FAIL_TRIGGERS} END",
        DIALECT.name(schema)
    )
}

/// Selects what can make a stored key differ or be dropped.
pub(super) fn mismatch_cause(table: &Table, key: &Key) -> Sql {
    let name = text(table.name);
    let of_table = of_table(table);
    let names = key_names(table, key);
    format!(
        "SELECT coalesce(\
         (SELECT 'the trigger ' || name || ' can change or drop a row' FROM (\
         SELECT type, name, tbl_name, sql FROM {}.sqlite_schema UNION ALL SELECT type, name, tbl_name, sql FROM temp.sqlite_schema) \
         WHERE type = 'trigger' AND tbl_name = {name} COLLATE NOCASE AND instr(lower(sql), 'insert') > 0 ORDER BY name LIMIT 1), \
         (SELECT 'the column ' || name || ' is declared ' || type || ', which rounds numbers' FROM pragma_table_xinfo({of_table}) \
         WHERE name COLLATE NOCASE IN ({names}) AND instr(lower(type), 'int') = 0 AND instr(lower(type), 'char') = 0 \
         AND instr(lower(type), 'clob') = 0 AND instr(lower(type), 'text') = 0 AND instr(lower(type), 'blob') = 0 \
         AND (instr(lower(type), 'real') OR instr(lower(type), 'floa') OR instr(lower(type), 'doub')) ORDER BY cid LIMIT 1))",
        DIALECT.name(table.schema.unwrap_or("main"))
    )
    .into()
}

pub(super) fn find_many(table: &Table, key: &Key, keys: usize) -> Sql {
    let columns = selected(table, "t.");
    let names: Vec<String> = (0..key.columns.len()).map(|position| format!("\"c{position}\"")).collect();
    let equal = key
        .columns
        .iter()
        .zip(&names)
        .map(|(&column, name)| format!("t.{} = s.{name}", DIALECT.name(table.columns[column].name)));
    let found = format!("t.{}", DIALECT.name(table.columns[key.columns[0]].name));
    format!(
        "WITH \"upsertable_keys\"(\"n\", {}) AS (VALUES {}) \
         SELECT {columns}, s.\"n\" AS \"upsertable: n\", {found} IS NOT NULL AS \"upsertable: found\", 0 AS \"upsertable: created\" \
         FROM \"upsertable_keys\" AS s LEFT JOIN {} AS t ON {} ORDER BY s.\"n\"",
        names.join(", "),
        numbered_values(keys, key.columns.len()),
        DIALECT.table(table),
        equal.collect::<Vec<_>>().join(" AND "),
    )
    .into()
}

/// Reads the row by the key as its index compares.
pub(super) fn find_as_index(table: &Table, key: &Key, columns: &[KeyColumn]) -> Sql {
    let all = selected(table, "");
    format!("SELECT {all} FROM {} WHERE {}", DIALECT.table(table), key_as_index(table, key, columns)).into()
}

/// Updates the row by the key as its index compares.
pub(super) fn update_as_index(table: &Table, key: &Key, columns: &[KeyColumn]) -> Option<Sql> {
    let set = assignments(table, key);
    let all = selected(table, "");
    let update = format!(
        "UPDATE{OR_ABORT} {} SET {set} WHERE {} RETURNING {all}",
        DIALECT.table(table),
        key_as_index(table, key, columns)
    );
    (!set.is_empty()).then(|| update.into())
}

/// Removes the conflict clause from a statement.
///
/// So its triggers and its table say what a conflict does.
pub(super) fn without_abort(update: &Sql) -> Sql {
    update.as_str().replacen(OR_ABORT, "", 1).into()
}

fn key_as_index(table: &Table, key: &Key, columns: &[KeyColumn]) -> String {
    let equal = key.columns.iter().zip(columns).map(|(&column, KeyColumn { collation, .. })| {
        format!("{} COLLATE {} = ?", DIALECT.name(table.columns[column].name), DIALECT.name(collation))
    });
    equal.collect::<Vec<_>>().join(" AND ")
}

/// Returns the assignments of an upsert.
fn assignments(table: &Table, key: &Key) -> String {
    let set = table.updatable(key).map(|column| format!("{} = ?", DIALECT.name(table.columns[column].name)));
    set.collect::<Vec<_>>().join(", ")
}

/// Returns the UPDATE of a row, which checks the index too.
///
/// Without the index nothing may be written, and an UPDATE alone would not notice.
fn update_row(table: &Table, key: &Key, all: &str) -> Option<Sql> {
    let set = assignments(table, key);
    let width = key.columns.len();
    let names = key_names(table, key);
    let update = format!(
        "UPDATE{OR_ABORT} {} SET {} WHERE {} AND (\
         EXISTS (SELECT 1 FROM {}) \
         OR (SELECT count(*) = {width} AND sum(name COLLATE NOCASE IN ({names})) = {width} \
         FROM pragma_table_xinfo({}) WHERE pk > 0)) RETURNING {all}",
        DIALECT.table(table),
        set,
        DIALECT.key_is(table, key, 1),
        unique_indexes(table, key),
        of_table(table),
    );
    (!set.is_empty()).then(|| update.into())
}

/// Names the usable unique indexes on exactly the key's columns.
///
/// It stands behind FROM.
pub(super) fn unique_indexes(table: &Table, key: &Key) -> String {
    let width = key.columns.len();
    let names = key_names(table, key);
    format!(
        "pragma_index_list({}) AS il WHERE il.\"unique\" = 1 AND il.partial = 0 AND (\
         SELECT count(*) = {width} AND sum(name COLLATE NOCASE IN ({names})) = {width} \
         FROM pragma_index_xinfo(il.name{}) WHERE key = 1)",
        of_table(table),
        of_index(table)
    )
}

fn key_names(table: &Table, key: &Key) -> String {
    key.columns.iter().map(|&column| text(table.columns[column].name)).collect::<Vec<_>>().join(", ")
}

fn of_table(table: &Table) -> String {
    format!("{}{}", text(table.name), of_index(table))
}

pub(super) fn of_index(table: &Table) -> String {
    table.schema.map_or_else(String::new, |schema| format!(", {}", text(schema)))
}

/// Returns `(0, ?, ..), (1, ?, ..), ..`.
fn numbered_values(rows: usize, width: usize) -> String {
    let row = |number| format!("({number}{})", ",?".repeat(width));
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}
