//! The statements for rows by key.

use std::fmt::Write as _;

use crate::{
    backend::mysql::dialect::{COMMITS_ITSELF, CREATED, DIALECT, FOUND, NO_LIMIT, NUMBER, place_of, text},
    backend::mysql::key_index::{ask_table, unique_index},
    sql::row_statements::RowStatements,
    sql::table::{Key, Table},
    sql::text::Sql,
};

/// Index of an INSERT that every server understands.
///
/// It is one in [`RowStatements::others`], as the next are.
///
/// [`ASK_INDEX`] asks for the unique index, and [`ASK_TABLE`] fails where the table or a column is missing.
pub(super) const CREATE_PLAIN: usize = 0;
pub(super) const ASK_INDEX: usize = 1;
pub(super) const ASK_TABLE: usize = 2;
/// The question for the unique index, after a savepoint.
///
/// Both go in the same round trip.
pub(super) const SAVE_AND_ASK: usize = 3;
/// The question why a new row is not found.
///
/// It is not found by the key that it was made with.
pub(super) const ASK_CAUSE: usize = 4;

/// The savepoint before a row is made.
///
/// A row that is not found by its key is rolled back to it. It is not released, for that would be one round trip more.
pub(super) const ROW_SAVEPOINT: &str = "upsertable_row";

/// A number that is too large for any type.
///
/// It is an error that undoes the statement, where it is come to.
pub(super) const FAIL: &str = "18446744073709551615 + 1";

/// A failing expression for a row with another key than asked.
///
/// The server gives these words back.
const OTHER_KEY: &str = "18446744073709551615 + 2";

/// The statements for one row, by one key.
///
/// MariaDB looks for the index inside its INSERT. MySQL has no RETURNING, and refuses the text before it does anything.
pub(super) fn row_statements(table: &Table, key: &Key) -> RowStatements {
    let into = DIALECT.table(table);
    let all = DIALECT.columns(table, 0..table.columns.len(), "");
    let supplied = DIALECT.columns(table, table.supplied(), "");
    let values = DIALECT.placeholders(1, table.supplied().count(), 1);
    let indexed = format!("EXISTS ({})", unique_index(table, key, "1"));
    let find = format!("SELECT {all}, {COMMITS_ITSELF} FROM {into} WHERE {} LIMIT 2", DIALECT.key_is(table, key, 1));
    let create = format!("INSERT INTO {into} ({supplied}) VALUES {values}");
    RowStatements {
        // At REPEATABLE READ a plain SELECT does not see the row that the INSERT ran into. FOR UPDATE would make three losers deadlock.
        reread: format!("{find} LOCK IN SHARE MODE").into(),
        find: find.into(),
        create: format!(
            "{create} RETURNING {all}, IF({indexed}, IF({}, {COMMITS_ITSELF}, {OTHER_KEY}), {FAIL}) AS `upsertable_indexed`",
            DIALECT.key_is(table, key, 1)
        )
        .into(),
        update: update_row(table, key, &indexed),
        others: vec![
            create.into(),
            format!("SELECT {indexed} LIMIT 1").into(),
            ask_table(table),
            format!("SAVEPOINT {ROW_SAVEPOINT}; SELECT {indexed} LIMIT 1").into(),
            ask_cause(table, key),
        ],
    }
}

/// Returns the UPDATE of a row, which checks the index too.
///
/// An UPDATE alone would not notice that the index is missing.
fn update_row(table: &Table, key: &Key, indexed: &str) -> Option<Sql> {
    let set: Vec<String> =
        table.updatable(key).map(|column| format!("{} = ?", DIALECT.name(table.columns[column].name))).collect();
    let update = format!(
        "UPDATE {} SET {} WHERE {} AND {indexed}",
        DIALECT.table(table),
        set.join(", "),
        DIALECT.key_is(table, key, 1)
    );
    (!set.is_empty()).then(|| update.into())
}

/// Selects what can make a stored key differ from the sent.
///
/// That is triggers, and columns that round, pad or convert.
pub(super) fn ask_cause(table: &Table, key: &Key) -> Sql {
    let (schema, name) = place_of(table);
    let names = key.columns.iter().map(|&column| text(table.columns[column].name)).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT CAST(CONCAT('the trigger ', t.trigger_name, ' can change it') AS CHAR) FROM information_schema.triggers AS t \
         WHERE t.event_object_schema = {schema} AND t.event_object_table = {name} AND t.event_manipulation IN ('INSERT', 'UPDATE') \
         UNION ALL SELECT CAST(CONCAT('the column ', c.column_name, ' (', c.column_type, ') can store it otherwise') AS CHAR) \
         FROM information_schema.columns AS c WHERE c.table_schema = {schema} AND c.table_name = {name} \
         AND c.column_name IN ({names}) AND (c.data_type IN ('date', 'year', 'decimal', 'float', 'double', 'char', 'binary', 'bit', 'enum', \
         'set', 'uuid', 'inet4', 'inet6') OR c.datetime_precision < 6) \
         UNION ALL SELECT CAST('this session has a sql_mode that is not strict, in which values that do not fit are cut' AS CHAR) \
         FROM (SELECT 1 AS one) AS d WHERE @@sql_mode NOT LIKE '%STRICT%' {NO_LIMIT}"
    )
    .into()
}

/// Finds a row for each of `keys` keys, in their order.
///
/// The branch without rows gives the keys the types and collations of the table's columns: compared in those of the connection, text is an
/// "illegal mix of collations". MySQL wants the word ROW, and MariaDB refuses it; it takes the comment for one.
pub(super) fn find_many(table: &Table, key: &Key, keys: usize) -> Sql {
    let into = DIALECT.table(table);
    let columns = DIALECT.columns(table, 0..table.columns.len(), "t.");
    let name = |column: usize| DIALECT.name(table.columns[column].name);
    let key_columns = || key.columns.iter().enumerate();
    let mut sql = format!(
        "SELECT {columns}, {COMMITS_ITSELF}, s.n AS {NUMBER}, t.{} IS NOT NULL AS {FOUND}, 0 AS {CREATED} FROM (SELECT -1 AS n",
        name(key.columns[0])
    );
    sql.extend(key_columns().map(|(position, &column)| format!(", {} AS c{position}", name(column))));
    // Writing to a `String` cannot fail.
    let _ = write!(sql, " FROM {into} WHERE FALSE UNION ALL VALUES ");
    let placeholders = ",?".repeat(key.columns.len());
    for number in 0..keys {
        let comma = if number > 0 { ", " } else { "" };
        let _ = write!(sql, "{comma}/*!80019 ROW*/({number}{placeholders})");
    }
    let equal = key_columns().map(|(position, &column)| format!("t.{} = s.c{position}", name(column)));
    let equal = equal.collect::<Vec<_>>().join(" AND ");
    let _ = write!(sql, ") AS s LEFT JOIN {into} AS t ON {equal} ORDER BY s.n {NO_LIMIT}");
    sql.into()
}
