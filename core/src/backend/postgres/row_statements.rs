//! The statements for rows by key.

use crate::{
    backend::postgres::dialect::DIALECT,
    backend::postgres::key_index,
    error::postgres::OTHER_KEY,
    sql::row_statements::RowStatements,
    sql::table::{Key, Table},
    sql::text::Sql,
};

/// The names of a mark's columns.
///
/// They are such that no column of a model is taken for one.
pub(super) const NUMBER: &str = "upsertable_number";
pub(super) const FOUND: &str = "upsertable_found";
pub(super) const CREATED: &str = "upsertable_created";

pub(super) fn row_statements(table: &Table, key: &Key) -> RowStatements {
    let find = find(table, key);
    RowStatements {
        reread: find.clone(),
        find,
        create: create_row(table, key),
        update: update_row(table, key),
        others: Vec::new(),
    }
}

pub(super) fn find(table: &Table, key: &Key) -> Sql {
    format!("SELECT {} FROM {} WHERE {} LIMIT 2", all(table), DIALECT.table(table), key_is(table, key, 1)).into()
}

fn all(table: &Table) -> String {
    DIALECT.columns(table, 0..table.columns.len(), "")
}

/// Returns the INSERT of a row unless its key exists.
///
/// The key is named, so that PostgreSQL refuses the statement where there is no unique index on it, and reports a conflict on another.
/// Behind the row's values come the key's once more: a row that is stored with another key fails the statement.
fn create_row(table: &Table, key: &Key) -> Sql {
    let width = table.supplied().count();
    let mut values = DIALECT.placeholders(1, width, 1);
    if key.nulls_not_distinct {
        let only_if = key_index::takes_nulls_for_equal(table, key);
        values = format!("SELECT {} WHERE {only_if}", values.trim_matches(['(', ')']));
    } else {
        values.insert_str(0, "VALUES ");
    }
    format!(
        "INSERT INTO {} ({}) {values} ON CONFLICT ({}) DO NOTHING RETURNING {}, \
         CAST(CASE WHEN {} THEN '1' ELSE '{OTHER_KEY}' END AS pg_catalog.int4) AS upsertable_key",
        DIALECT.table(table),
        DIALECT.columns(table, table.supplied(), ""),
        DIALECT.columns(table, key.columns.iter().copied(), ""),
        all(table),
        key_is(table, key, width + 1),
    )
    .into()
}

/// Returns the UPDATE of a row, which checks the index too.
///
/// An UPDATE alone would not notice that the index is missing, and change every row with the key.
fn update_row(table: &Table, key: &Key) -> Option<Sql> {
    let mut number = 0;
    let set: Vec<String> = table
        .updatable(key)
        .map(|column| {
            number += 1;
            format!("{} = ${number}", DIALECT.name(table.columns[column].name))
        })
        .collect();
    let only_if = if key.nulls_not_distinct {
        format!(" AND {}", key_index::takes_nulls_for_equal(table, key))
    } else {
        String::new()
    };
    let update = format!(
        "WITH upsertable_probe AS ({}) UPDATE {} SET {} WHERE {}{only_if} RETURNING {}",
        probe(table, key),
        DIALECT.table(table),
        set.join(", "),
        key_is(table, key, number + 1),
        all(table),
    );
    (!set.is_empty()).then(|| update.into())
}

/// Returns an INSERT of nothing that probes for the index.
///
/// It is refused where there is no unique index on the key.
pub(super) fn probe(table: &Table, key: &Key) -> String {
    let into = DIALECT.table(table);
    let columns = DIALECT.columns(table, table.supplied(), "");
    let key = DIALECT.columns(table, key.columns.iter().copied(), "");
    format!("INSERT INTO {into} ({columns}) SELECT {columns} FROM {into} WHERE false ON CONFLICT ({key}) DO NOTHING")
}

/// Returns a condition that the row has this key.
///
/// IS NOT DISTINCT FROM would say the same as the OR, and use no index.
fn key_is(table: &Table, key: &Key, first: usize) -> String {
    let equal = key.columns.iter().enumerate().map(|(position, &column)| {
        let (name, number) = (DIALECT.name(table.columns[column].name), first + position);
        if key.nulls_not_distinct && table.columns[column].nullable {
            format!("({name} = ${number} OR ({name} IS NULL AND ${number} IS NULL))")
        } else {
            format!("{name} = ${number}")
        }
    });
    equal.collect::<Vec<_>>().join(" AND ")
}

/// Finds a row for each of `keys` keys.
///
/// `casts` are the types that the key's values are to be compared as, where they are not their own.
pub(super) fn find_many(table: &Table, key: &Key, keys: usize, casts: &[Option<String>]) -> Sql {
    let columns = DIALECT.columns(table, 0..table.columns.len(), "t.");
    let width = key.columns.len();
    let names: Vec<String> = (0..width).map(|position| format!("c{position}")).collect();
    let equal = key.columns.iter().zip(&names).enumerate().map(|(position, (&column, name))| {
        let cast = casts.get(position).and_then(Option::as_ref).map_or(String::new(), |kind| format!("::{kind}"));
        same(table, key, column, &format!("s.{name}{cast}"))
    });
    format!(
        "SELECT {columns}, s.n AS {NUMBER}, {} AS {FOUND}, false AS {CREATED} FROM (VALUES {}) AS s (n, {}) \
         LEFT JOIN {} AS t ON {} ORDER BY s.n",
        is_there(table, key, true),
        numbered_values(keys, width, 1),
        names.join(", "),
        DIALECT.table(table),
        equal.collect::<Vec<_>>().join(" AND "),
    )
    .into()
}

/// Returns a condition that `t`'s column has the value.
///
/// Where NULLs are equal, it holds for two NULLs too.
///
/// For those it is said twice. An OR is good for a look into the index, and all that it leaves many rows is to compare each with each.
/// Arrays of NULLs are equal, and can be hashed and sorted; the CASE makes what is in them one type, and is gone before the server plans.
pub(super) fn same(table: &Table, key: &Key, column: usize, value: &str) -> String {
    let name = DIALECT.name(table.columns[column].name);
    if key.nulls_not_distinct && table.columns[column].nullable {
        format!(
            "(t.{name} = {value} OR (t.{name} IS NULL AND {value} IS NULL)) \
             AND ARRAY[CASE WHEN false THEN {value} ELSE t.{name} END] = ARRAY[CASE WHEN false THEN t.{name} ELSE {value} END]"
        )
    } else {
        format!("t.{name} = {value}")
    }
}

/// Returns a condition that a row `t` was joined or not.
///
/// A column of the key tells it, and lets the planner see an anti-join, where one cannot be NULL.
pub(super) fn is_there(table: &Table, key: &Key, there: bool) -> String {
    let certain = key.columns.iter().find(|&&column| !(key.nulls_not_distinct && table.columns[column].nullable));
    match certain {
        Some(&column) => {
            let not = if there { "NOT " } else { "" };
            format!("t.{} IS {not}NULL", DIALECT.name(table.columns[column].name))
        }
        // IS NULL is true of a row of NULLs too.
        None => format!("t IS {}DISTINCT FROM NULL", if there { "" } else { "NOT " }),
    }
}

/// Returns `(0, $1, ..), (1, $3, ..), ..`.
///
/// The placeholders are counted on from `first`.
pub(super) fn numbered_values(rows: usize, width: usize, first: usize) -> String {
    let mut values = String::new();
    for row in 0..rows {
        values.push_str(if row == 0 { "(" } else { ", (" });
        values.push_str(&row.to_string());
        if row == 0 {
            values.push_str("::pg_catalog.int8");
        }
        for column in 0..width {
            values.push(',');
            DIALECT.push_placeholder(&mut values, first + row * width + column);
        }
        values.push(')');
    }
    values
}
