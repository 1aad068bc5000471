//! The statements for rows by key.

use super::{DIALECT, index::KeyColumn};
use crate::{
    backend::RowTexts,
    sql::Sql,
    table::{Key, Table},
};

pub(super) fn row_texts(table: &Table, key: &Key) -> RowTexts {
    let into = DIALECT.table(table);
    let all = DIALECT.columns(table, 0..table.columns.len(), "");
    let supplied = DIALECT.columns(table, table.supplied(), "");
    let key_columns = DIALECT.columns(table, key.columns.iter().copied(), "");
    let values = DIALECT.placeholders(1, table.supplied().count(), 1);
    let found = DIALECT.key_is(table, key, 1);
    let find = Sql::from(format!("SELECT {all} FROM {into} WHERE {found} LIMIT 2"));
    RowTexts {
        reread: find.clone(),
        find,
        create: format!(
            "INSERT INTO {into} ({supplied}) VALUES {values} ON CONFLICT ({key_columns}) DO NOTHING RETURNING {all}"
        )
        .into(),
        update: update_row(table, key, &all),
        others: Vec::new(),
    }
}

pub(super) fn find_many(table: &Table, key: &Key, keys: usize) -> Sql {
    let columns = DIALECT.columns(table, 0..table.columns.len(), "t.");
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
    let all = DIALECT.columns(table, 0..table.columns.len(), "");
    format!("SELECT {all} FROM {} WHERE {}", DIALECT.table(table), key_as_index(table, key, columns)).into()
}

/// Gives the row with the key, as its index compares, new values.
pub(super) fn update_as_index(table: &Table, key: &Key, columns: &[KeyColumn]) -> Option<Sql> {
    let set = assignments(table, key);
    let all = DIALECT.columns(table, 0..table.columns.len(), "");
    let update = format!(
        "UPDATE {} SET {set} WHERE {} RETURNING {all}",
        DIALECT.table(table),
        key_as_index(table, key, columns)
    );
    (!set.is_empty()).then(|| update.into())
}

fn key_as_index(table: &Table, key: &Key, columns: &[KeyColumn]) -> String {
    let equal = key.columns.iter().zip(columns).map(|(&column, KeyColumn { collation, .. })| {
        format!("{} COLLATE {} = ?", DIALECT.name(table.columns[column].name), DIALECT.name(collation))
    });
    equal.collect::<Vec<_>>().join(" AND ")
}

/// What an upsert sets.
fn assignments(table: &Table, key: &Key) -> String {
    let set = table.updatable(key).map(|column| format!("{} = ?", DIALECT.name(table.columns[column].name)));
    set.collect::<Vec<_>>().join(", ")
}

/// The index is looked for in the statement itself: without it nothing may be written, and an UPDATE alone would not notice.
fn update_row(table: &Table, key: &Key, all: &str) -> Option<Sql> {
    let set = assignments(table, key);
    let width = key.columns.len();
    let names = key.columns.iter().map(|&column| text(table.columns[column].name)).collect::<Vec<_>>().join(", ");
    let of_table = match table.schema {
        Some(schema) => format!("{}, {}", text(table.name), text(schema)),
        None => text(table.name),
    };
    let of_index = table.schema.map_or_else(String::new, |schema| format!(", {}", text(schema)));
    let update = format!(
        "UPDATE {} SET {} WHERE {} AND (\
         EXISTS (SELECT 1 FROM pragma_index_list({of_table}) AS il WHERE il.\"unique\" = 1 AND il.partial = 0 AND (\
         SELECT count(*) = {width} AND sum(name COLLATE NOCASE IN ({names})) = {width} \
         FROM pragma_index_xinfo(il.name{of_index}) WHERE key = 1)) \
         OR (SELECT count(*) = {width} AND sum(name COLLATE NOCASE IN ({names})) = {width} \
         FROM pragma_table_xinfo({of_table}) WHERE pk > 0)) RETURNING {all}",
        DIALECT.table(table),
        set,
        DIALECT.key_is(table, key, 1),
    );
    (!set.is_empty()).then(|| update.into())
}

/// A name as a string literal.
fn text(name: &str) -> String {
    format!("'{}'", name.replace('\'', "''"))
}

/// `(0, ?, ..), (1, ?, ..), ..`
fn numbered_values(rows: usize, width: usize) -> String {
    let row = |number| format!("({number}{})", ",?".repeat(width));
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}
