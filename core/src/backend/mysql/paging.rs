//! The places where a page of a table begins and ends.
//!
//! The values are those that the server has sent, bound again as they came: what Rust reads from them can be written otherwise. ENUM and
//! SET are sorted by a number and sent as text, so of them the number is asked for.

use std::{
    fmt::Write as _,
    sync::{Arc, atomic::Ordering},
};

use sqlx::{
    Decode, MySql, Row as _, Type, TypeInfo as _, ValueRef as _,
    mysql::{MySqlRow, MySqlTypeInfo},
};

use crate::{
    backend::mysql::dialect::{DIALECT, text},
    backend::mysql::encoding::Encoder,
    backend::mysql::server::NO_SKIP_LOCKED,
    backend::mysql::stage_statements,
    backend::paging::Paging,
    error::mysql::{SYNTAX, has_number},
    sql::dialect::Bound,
    sql::table::{Key, Table},
};

impl Paging for MySql {
    type KeyFacts = KeyFacts;
    type Place = Place;

    // Whoever inserts a row that refers to one of these waits. InnoDB has no lock of a row that keeps out another of its kind and not
    // theirs.
    fn lock_rows(wait: bool) -> &'static str {
        if wait || NO_SKIP_LOCKED.load(Ordering::Relaxed) { " FOR UPDATE" } else { " FOR UPDATE SKIP LOCKED" }
    }

    fn cannot_skip(error: &sqlx::Error) -> bool {
        has_number(error, SYNTAX) && !NO_SKIP_LOCKED.swap(true, Ordering::Relaxed)
    }

    fn bound(table: &Table, key: &Key, _: Option<&KeyFacts>, _: usize, bound: Bound) -> String {
        side_of(table, key, bound)
    }

    fn select_sorted(key: &Key, types: &[MySqlTypeInfo]) -> String {
        let is_long = |&column: &usize| stage_statements::is_long_type(types[column].name());
        stage_statements::set_for(
            &[if key.columns.iter().any(is_long) { stage_statements::SORTS_ALL } else { "" }],
            "SELECT",
        )
    }

    fn place_columns(table: &Table, key: &Key, facts: Option<&KeyFacts>) -> String {
        place_columns(table, key, facts)
    }

    fn learn(row: &MySqlRow, table: &Table, key: &Key) -> Result<(KeyFacts, bool), sqlx::Error> {
        learn_facts(row, table, key)
    }

    fn place(
        row: &MySqlRow,
        key: &Key,
        positions: &[usize],
        types: &[MySqlTypeInfo],
        facts: &KeyFacts,
    ) -> Result<Option<Place>, sqlx::Error> {
        stored_place(row, key, positions, types, facts).map(Some)
    }

    fn put_place(encoder: &mut Encoder, place: &Place) {
        encoder.add_all(place);
    }

    fn identity(
        _: Option<&Place>,
        write: impl FnOnce(&mut Encoder) -> Result<(), sqlx::Error>,
    ) -> Result<Vec<u8>, sqlx::Error> {
        let mut encoder = Encoder::default();
        write(&mut encoder)?;
        Ok(encoder.into_identity())
    }
}

pub(super) type Place = Arc<Encoder>;

/// The key's columns that are sorted by a number.
///
/// They are sent as text.
#[derive(Debug, Default)]
pub struct KeyFacts {
    worded: Vec<usize>,
}

/// Returns the extra columns of a page.
///
/// In the row that is read first they are the names of a table's columns that are sorted by a number, and the server's version.
fn place_columns(table: &Table, key: &Key, facts: Option<&KeyFacts>) -> String {
    let Some(facts) = facts else {
        let schema = table.schema.map_or_else(|| "DATABASE()".to_owned(), text);
        return format!(
            ", (SELECT CAST(GROUP_CONCAT(LOWER(c.column_name) SEPARATOR '\n') AS CHAR) FROM information_schema.columns AS c \
             WHERE c.table_schema = {schema} AND c.table_name = {} AND c.data_type IN ('enum', 'set')) AS `upsertable_worded`, \
             VERSION() AS `upsertable_version`",
            text(table.name)
        );
    };
    let number = |&number: &usize| {
        let name = DIALECT.name(table.columns[key.columns[number]].name);
        format!(", CAST({name} + 0 AS UNSIGNED) AS `upsertable_place_{number}`")
    };
    facts.worded.iter().map(number).collect()
}

fn learn_facts(row: &MySqlRow, table: &Table, key: &Key) -> Result<(KeyFacts, bool), sqlx::Error> {
    let worded: Option<String> = row.try_get("upsertable_worded")?;
    let version: String = row.try_get("upsertable_version")?;
    if locks_in_vain(&version) {
        NO_SKIP_LOCKED.store(true, Ordering::Relaxed);
    }
    let worded = worded.unwrap_or_default();
    let is_worded = |&number: &usize| {
        let name = table.columns[key.columns[number]].name.to_lowercase();
        worded.lines().any(|one| one == name)
    };
    let worded: Vec<usize> = (0..key.columns.len()).filter(is_worded).collect();
    let again = !worded.is_empty();
    Ok((KeyFacts { worded }, again))
}

/// Returns true for `TiDB`, whose SKIP LOCKED skips nothing.
///
/// `TiDB` parses SKIP LOCKED and passes over nothing, so that two runs would do each row twice.
fn locks_in_vain(version: &str) -> bool {
    version.to_ascii_lowercase().contains("tidb")
}

/// Reads the place of a row from the key's columns.
///
/// They are at these positions.
fn stored_place(
    row: &MySqlRow,
    key: &Key,
    positions: &[usize],
    types: &[MySqlTypeInfo],
    facts: &KeyFacts,
) -> Result<Place, sqlx::Error> {
    let mut place = Encoder::default();
    for (number, (&position, &column)) in positions.iter().zip(&key.columns).enumerate() {
        let behind = facts.worded.iter().position(|worded| *worded == number);
        match behind.map(|behind| row.len() - facts.worded.len() + behind) {
            Some(at) => place.add(&row.try_get::<u64, _>(at)?),
            None => add_as_sent(&mut place, row, position, &types[column]),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(Arc::new(place))
}

/// Adds a value as the server has sent it.
///
/// `field` is the type that the model's field sends, which tells text from bytes.
fn add_as_sent(
    place: &mut Encoder,
    row: &MySqlRow,
    position: usize,
    field: &MySqlTypeInfo,
) -> Result<(), sqlx::error::BoxDynError> {
    let value = row.try_get_raw(position)?;
    let kind = value.type_info().into_owned();
    match kind.name() {
        // A parameter is never of these types.
        "BIT" => return place.add(&row.try_get::<u64, _>(position)?),
        "YEAR" => return place.add(&row.try_get_unchecked::<u16, _>(position)?),
        "MEDIUMINT" => return place.add(&row.try_get::<i32, _>(position)?),
        "MEDIUMINT UNSIGNED" => return place.add(&row.try_get::<u32, _>(position)?),
        _ => {}
    }
    let bytes = <&[u8] as Decode<MySql>>::decode(value)?;
    match kind.name() {
        "BOOLEAN" | "FLOAT" | "DOUBLE" | "DATE" | "TIME" | "DATETIME" | "TIMESTAMP" => place.add_encoded(kind, bytes),
        name if name.contains("INT") => place.add_encoded(kind, bytes),
        "DECIMAL" => add_long(place, kind, bytes)?,
        _ if stage_statements::is_text(field.name()) => add_long(place, <str as Type<MySql>>::type_info(), bytes)?,
        _ => add_long(place, <[u8] as Type<MySql>>::type_info(), bytes)?,
    }
    Ok(())
}

/// Adds bytes with their length before them.
fn add_long(place: &mut Encoder, kind: MySqlTypeInfo, bytes: &[u8]) -> Result<(), sqlx::error::BoxDynError> {
    let mut encoded = Vec::with_capacity(bytes.len() + 9);
    let _ = sqlx::Encode::<MySql>::encode_by_ref(&bytes, &mut encoded)?;
    place.add_encoded(kind, &encoded);
    Ok(())
}

/// Returns the bound of a key, written out column by column.
///
/// A comparison of whole rows uses no index: <https://dev.mysql.com/doc/refman/8.4/en/row-constructor-optimization.html>.
fn side_of(table: &Table, key: &Key, bound: Bound) -> String {
    let names: Vec<String> = key.columns.iter().map(|&column| DIALECT.name(table.columns[column].name)).collect();
    let mut way = String::new();
    let ways = names.iter().enumerate().map(|(position, name)| {
        let before = way.clone();
        let _ = write!(way, "{name} = ? AND ");
        if position + 1 == names.len() {
            format!("{before}{name} {} ?", bound.last())
        } else {
            format!("{before}{name} {} ?", bound.inner())
        }
    });
    format!("({})", ways.collect::<Vec<_>>().join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_locks_in_vain_is_known_by_its_version() {
        for version in ["8.0.11-TiDB-v8.5.0", "5.7.25-TiDB-v6.5.0-serverless", "8.0.11-tidb-v7"] {
            assert!(locks_in_vain(version), "{version}");
        }
        for version in
            ["9.7.4-2", "8.0.36", "10.11.19-MariaDB-0+deb12u1", "5.5.5-10.11.19-MariaDB", "8.0.36-28-Percona"]
        {
            assert!(!locks_in_vain(version), "{version}");
        }
    }
}
