//! The places where a page of a table begins and ends.
//!
//! The values are those that are stored, bound again as they came: what Rust reads from them can be written otherwise, as a time can. The
//! rows are sorted as the unique index compares them, so that no two are in one place.

use std::sync::Arc;

use sqlx::{
    Arguments as _, Decode, Row as _, Sqlite, TypeInfo as _, ValueRef as _,
    sqlite::{SqliteArguments, SqliteRow, SqliteTypeInfo},
};

use crate::{
    backend::paging::Paging,
    backend::sqlite::dialect::{DIALECT, text},
    backend::sqlite::row_statements,
    sql::dialect::Bound,
    sql::table::{Key, Table},
};

/// A value as it is stored.
#[derive(Debug)]
pub enum Stored {
    Null,
    Integer(i64),
    Real(f64),
    Text(Arc<str>),
    Blob(Vec<u8>),
}

pub(super) type Place = Arc<[Stored]>;

/// The collations of the key's columns in its unique index.
///
/// They are given where they have to be said.
pub(super) type Collations = Vec<String>;

impl Paging for Sqlite {
    type KeyFacts = Collations;
    type Place = Place;

    fn bound(table: &Table, key: &Key, facts: Option<&Collations>, first: usize, bound: Bound) -> String {
        side_of(table, key, facts, first, bound)
    }

    fn order(table: &Table, key: &Key, facts: Option<&Collations>) -> Vec<String> {
        sorted_by(table, key, facts)
    }

    fn place_columns(table: &Table, key: &Key, facts: Option<&Collations>) -> String {
        collation_columns(table, key, facts)
    }

    fn learn(row: &SqliteRow, table: &Table, key: &Key) -> Result<(Collations, bool), sqlx::Error> {
        learn_collations(row, table, key)
    }

    fn place(
        row: &SqliteRow,
        _: &Key,
        positions: &[usize],
        _: &[SqliteTypeInfo],
        _: &Collations,
    ) -> Result<Option<Place>, sqlx::Error> {
        stored_place(row, positions).map(Some)
    }

    fn put_place(encoder: &mut SqliteArguments, place: &Place) {
        put_stored(encoder, place);
    }

    fn identity(
        place: Option<&Place>,
        _: impl FnOnce(&mut SqliteArguments) -> Result<(), sqlx::Error>,
    ) -> Result<Vec<u8>, sqlx::Error> {
        Ok(place.map_or_else(Vec::new, identity_of))
    }
}

const COLLATIONS: &str = "upsertable: collations";
const COLLATED: &str = "upsertable: collated";

/// Returns the extra columns of the row that is read first.
///
/// They are the unique index's columns with their collations, and whether the table says a collation.
fn collation_columns(table: &Table, key: &Key, facts: Option<&Collations>) -> String {
    if facts.is_some() {
        return String::new();
    }
    let of_index = row_statements::of_index(table);
    let schema = DIALECT.name(table.schema.unwrap_or("main"));
    let name = text(table.name);
    format!(
        ", (SELECT group_concat(name || char(9) || coll, char(10)) FROM pragma_index_xinfo((SELECT il.name FROM {} LIMIT 1){of_index}) \
         WHERE key = 1) AS \"{COLLATIONS}\", \
         (SELECT coalesce(max(instr(lower(sql), 'collate')), 1) FROM (\
         SELECT name, type, sql FROM {schema}.sqlite_schema UNION ALL SELECT name, type, sql FROM temp.sqlite_schema) \
         WHERE type = 'table' AND name = {name} COLLATE NOCASE) AS \"{COLLATED}\"",
        row_statements::unique_indexes(table, key),
    )
}

/// Learns the collations from the row that is read first.
///
/// It returns also whether that row was found by other collations.
fn learn_collations(row: &SqliteRow, table: &Table, key: &Key) -> Result<(Collations, bool), sqlx::Error> {
    // A row id is a number.
    let Some(found) = row.try_get::<Option<String>, _>(COLLATIONS)? else { return Ok((Collations::new(), false)) };
    let collation = |&column: &usize| {
        let wanted = table.columns[column].name;
        let of_column = |line: &str| {
            let (name, collation) = line.rsplit_once('\t')?;
            name.eq_ignore_ascii_case(wanted).then(|| collation.to_owned())
        };
        found.lines().find_map(of_column).unwrap_or_else(|| "BINARY".to_owned())
    };
    let collations: Collations = key.columns.iter().map(collation).collect();
    let plain = row.try_get::<i64, _>(COLLATED)? == 0 && collations.iter().all(|collation| collation == "BINARY");
    Ok(if plain { (Collations::new(), false) } else { (collations, true) })
}

fn sorted_by(table: &Table, key: &Key, facts: Option<&Collations>) -> Vec<String> {
    let sorted = |(number, &column): (usize, &usize)| {
        let collation = facts.and_then(|facts| facts.get(number));
        let collation = collation.map_or(String::new(), |name| format!(" COLLATE {}", DIALECT.name(name)));
        format!("{}{collation}", DIALECT.name(table.columns[column].name))
    };
    key.columns.iter().enumerate().map(sorted).collect()
}

fn side_of(table: &Table, key: &Key, facts: Option<&Collations>, first: usize, bound: Bound) -> String {
    let columns = sorted_by(table, key, facts).join(", ");
    format!("({columns}) {} {}", bound.last(), DIALECT.placeholders(1, key.columns.len(), first))
}

/// Reads the place of a row from the key's columns.
///
/// They are at these positions.
fn stored_place(row: &SqliteRow, positions: &[usize]) -> Result<Place, sqlx::Error> {
    positions.iter().map(|&position| stored(row, position)).collect()
}

fn stored(row: &SqliteRow, position: usize) -> Result<Stored, sqlx::Error> {
    let value = row.try_get_raw(position)?;
    if value.is_null() {
        return Ok(Stored::Null);
    }
    // The type of a value that is there is the one that it is stored with, whatever the column is declared as.
    let kind = value.type_info().into_owned();
    let read = match kind.name() {
        "INTEGER" => <i64 as Decode<Sqlite>>::decode(value).map(Stored::Integer),
        "REAL" => <f64 as Decode<Sqlite>>::decode(value).map(Stored::Real),
        "TEXT" => <String as Decode<Sqlite>>::decode(value).map(|text| Stored::Text(text.into())),
        _ => <Vec<u8> as Decode<Sqlite>>::decode(value).map(Stored::Blob),
    };
    read.map_err(|source| sqlx::Error::ColumnDecode { index: position.to_string(), source })
}

fn put_stored(encoder: &mut SqliteArguments, place: &Place) {
    for value in &**place {
        // None of these fails to be encoded.
        let _ = match value {
            Stored::Null => encoder.add(None::<i64>),
            Stored::Integer(value) => encoder.add(*value),
            Stored::Real(value) => encoder.add(*value),
            Stored::Text(value) => encoder.add(Arc::clone(value)),
            Stored::Blob(value) => encoder.add(value.clone()),
        };
    }
}

/// Returns bytes that are the same for the same values only.
fn identity_of(place: &Place) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    for value in &**place {
        let (kind, value) = match value {
            Stored::Null => (0, &[][..]),
            Stored::Integer(value) => (1, &value.to_be_bytes()[..]),
            Stored::Real(value) => (2, &value.to_bits().to_be_bytes()[..]),
            Stored::Text(value) => (3, value.as_bytes()),
            Stored::Blob(value) => (4, &value[..]),
        };
        bytes.push(kind);
        bytes.extend((value.len() as u64).to_be_bytes());
        bytes.extend(value);
    }
    bytes
}
