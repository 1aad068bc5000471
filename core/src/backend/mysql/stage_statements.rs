//! The text of the staging tables and their merges.
//!
//! MySQL cannot name a temporary table twice in one statement, so each statement here names each of the two once.

use std::fmt::Write as _;

use sqlx::TypeInfo as _;

use crate::{
    backend::mysql::dialect::{CREATED, DIALECT, FOUND, NO_LIMIT, NUMBER, StagingPlan},
    backend::mysql::key_index::Found,
    backend::mysql::key_order::Order,
    backend::staging::Which,
    sql::text::Sql,
};

/// The name of the table of staged rows.
///
/// It has the rows as they came: `n` numbers them, `c0` and so on are the staged columns. Written once and never changed.
fn staged(stage: &StagingPlan) -> &'static str {
    if has_our_name(stage) { "`upsertable_staged_rows`" } else { "`upsertable_staged`" }
}

/// The name of the table with the numbers of made rows.
fn made(stage: &StagingPlan) -> &'static str {
    if has_our_name(stage) { "`upsertable_made_rows`" } else { "`upsertable_made`" }
}

/// Tests if the target has the name of a staging table.
///
/// A temporary table hides the real one of its name.
fn has_our_name(stage: &StagingPlan) -> bool {
    ["upsertable_staged", "upsertable_made"].iter().any(|name| stage.table.name.eq_ignore_ascii_case(name))
}

/// Returns the engine of a staging table.
///
/// Aria is quicker than a temporary InnoDB table, and MySQL does not have it. InnoDB is named first as of two engines the last counts. Rows
/// one behind the other take two thirds of the time that rows in pages take; of one length each, a sixth less again.
fn engine(stage: &StagingPlan, are_long: bool) -> String {
    if stage.notes.get().is_some_and(|found| found.innodb_only) {
        return "ENGINE = InnoDB".to_owned();
    }
    let rows = if are_long { "DYNAMIC" } else { "FIXED" };
    format!("ENGINE = InnoDB /*M!100500 ENGINE = Aria TRANSACTIONAL = 0 ROW_FORMAT = {rows} */")
}

/// The key of the staged rows, on MySQL only.
///
/// In an Aria table an index takes longer than the rows: no statement looks for a staged row by its number. InnoDB keeps one either way.
const STAGED_KEY: &str = "/*!80000 PRIMARY KEY */";

/// Prefix that makes MariaDB refuse a key that does not fit.
///
/// In a table without transactions MariaDB stores a key that does not fit, cut, from a statement's second row on, unless this is said.
const STRICT: &str = "/*M!100500 SET STATEMENT sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES') FOR */ ";

/// Settings that sort by whole values.
///
/// They are long enough for every key that an index holds, and what sorting needs room for then. By default values are sorted by their
/// first 1,024 bytes, and rows with one key do not come one behind the other.
pub(super) const SORTS_ALL: &str = "max_sort_length=65536,sort_buffer_size=2097152";

/// Returns a statement's first word, free of the session's settings.
///
/// It gives the same whatever the session is set to: each server takes the part that it understands.
pub(super) fn steady(stage: &StagingPlan, verb: &str) -> String {
    let settings = stage.notes.get().map_or("", |found| found.steady.as_str());
    let is_long =
        |position: usize| matches!(staged_type(stage.types[position].name()), Some(LONG_TEXT | LONG_BYTES) | None);
    let sorts = if stage.key_positions().any(is_long) { SORTS_ALL } else { "" };
    set_for(&[settings, sorts], verb)
}

/// Returns the first word of a statement under these settings.
pub(super) fn set_for(settings: &[&str], verb: &str) -> String {
    let all: Vec<&str> = settings.iter().flat_map(|some| some.split(',')).filter(|one| !one.is_empty()).collect();
    if all.is_empty() {
        return verb.to_owned();
    }
    format!("/*M!100500 SET STATEMENT {} FOR */ {verb} /*+ SET_VAR({}) */", all.join(", "), all.join(") SET_VAR("))
}

/// The snapshot that a statement reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// The snapshot of the transaction.
    ///
    /// It takes no locks, and at REPEATABLE READ it may be old.
    Own,
    /// The rows that are committed now, kept so by shared locks.
    Locked,
}

impl View {
    fn lock(self) -> &'static str {
        match self {
            Self::Own => "",
            Self::Locked => " LOCK IN SHARE MODE",
        }
    }
}

/// Creates the table of staged rows.
///
/// The key's columns are those of the target, so that two staged rows are one key where two rows of the table would be: an outer join gives
/// them with type and collation, and lets them be NULL. The others take any value, which the target then takes or refuses when a row is
/// made of it.
pub(super) fn create_staged(stage: &StagingPlan) -> Sql {
    let mut own = String::new();
    let mut of_target = String::new();
    for (position, (&column, kind)) in stage.columns.iter().zip(&stage.types).enumerate() {
        match staged_type(kind.name()) {
            // Writing to a `String` cannot fail.
            Some(kind) if !stage.key.columns.contains(&column) => drop(write!(own, ", c{position} {kind} NULL")),
            _ => drop(write!(of_target, ", t.{} AS c{position}", DIALECT.name(stage.table.columns[column].name))),
        }
    }
    format!(
        "CREATE TEMPORARY TABLE {} (n BIGINT NOT NULL {STAGED_KEY}{own}) {} SELECT 0 AS n{of_target} \
         FROM (SELECT 1 AS one) AS d LEFT JOIN {} AS t ON FALSE WHERE d.one IS NULL",
        staged(stage),
        engine(stage, !stage.types.iter().all(|kind| is_number(kind.name()))),
        DIALECT.table(stage.table)
    )
    .into()
}

/// Returns true if values of this type take one length each.
///
/// That holds also as a column of the target takes them.
fn is_number(sent: &str) -> bool {
    sent.contains("INT") || matches!(sent, "BOOLEAN" | "FLOAT" | "DOUBLE")
}

const LONG_TEXT: &str = "LONGTEXT CHARACTER SET utf8mb4";
const LONG_BYTES: &str = "LONGBLOB";

/// Returns a type that holds all that such a field sends.
fn staged_type(sent: &str) -> Option<&'static str> {
    Some(match sent {
        "BOOLEAN" | "TINYINT" => "TINYINT",
        "TINYINT UNSIGNED" => "TINYINT UNSIGNED",
        "SMALLINT" => "SMALLINT",
        "SMALLINT UNSIGNED" => "SMALLINT UNSIGNED",
        "MEDIUMINT" | "INT" => "INT",
        "MEDIUMINT UNSIGNED" | "INT UNSIGNED" => "INT UNSIGNED",
        "BIGINT" => "BIGINT",
        "BIGINT UNSIGNED" | "BIT" => "BIGINT UNSIGNED",
        "FLOAT" => "FLOAT",
        "DOUBLE" => "DOUBLE",
        // It is sent as digits.
        "DECIMAL" => "VARCHAR(255) CHARACTER SET ascii",
        "DATE" => "DATE",
        "TIME" => "TIME(6)",
        "DATETIME" | "TIMESTAMP" => "DATETIME(6)",
        // The driver calls JSON "BINARY", and sends it as text; a column of JSON refuses bytes.
        "CHAR" | "VARCHAR" | "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" | "ENUM" | "SET" | "JSON" | "BINARY" => {
            LONG_TEXT
        }
        "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" => LONG_BYTES,
        _ => return None,
    })
}

/// Returns true if staged rows hold values of any length.
///
/// They are better not sorted.
pub(super) fn is_long(stage: &StagingPlan) -> bool {
    let beside_key = |column: &usize| !stage.key.columns.contains(column);
    stage.columns.iter().zip(&stage.types).any(|(column, kind)| beside_key(column) && is_long_type(kind.name()))
}

/// Tests if such a field sends values of any length.
pub(super) fn is_long_type(sent: &str) -> bool {
    matches!(staged_type(sent), Some(LONG_TEXT | LONG_BYTES) | None)
}

/// Returns true if a field of this type sends text.
pub(super) fn is_text(sent: &str) -> bool {
    staged_type(sent) == Some(LONG_TEXT)
}

pub(super) fn stage_rows(stage: &StagingPlan, rows: usize) -> Sql {
    let staged = staged(stage);
    let values = DIALECT.placeholders(rows, stage.columns.len() + 1, 1);
    let insert = match stage.notes.get().and_then(|found| found.lenient.as_ref()) {
        Some(mode) => format!("INSERT /*+ SET_VAR(sql_mode='{mode}') */"),
        None => "INSERT".to_owned(),
    };
    format!("{STRICT}{insert} INTO {staged} (n, {}) VALUES {values}", staged_columns(stage, "")).into()
}

pub(super) fn create_made(stage: &StagingPlan) -> Sql {
    let made = made(stage);
    format!("CREATE TEMPORARY TABLE IF NOT EXISTS {made} (n BIGINT NOT NULL PRIMARY KEY) {}", engine(stage, false))
        .into()
}

pub(super) fn clear_made(stage: &StagingPlan) -> Sql {
    let made = made(stage);
    format!("{} FROM {made}", steady(stage, "DELETE")).into()
}

pub(super) fn add_made(stage: &StagingPlan, rows: usize) -> Sql {
    let made = made(stage);
    format!("INSERT INTO {made} (n) VALUES {}", DIALECT.placeholders(rows, 1, 1)).into()
}

/// Selects the first staged row of each key that is new.
///
/// It has these columns.
fn absent(stage: &StagingPlan, columns: &str) -> String {
    absent_of(stage, columns, staged(stage), &target(stage))
}

/// Selects the first of these rows for each new key.
pub(super) fn absent_of(stage: &StagingPlan, columns: &str, rows: &str, target: &str) -> String {
    format!(
        "(SELECT {columns}, ROW_NUMBER() OVER (PARTITION BY {} ORDER BY s.n) AS nth \
         FROM {rows} AS s LEFT JOIN {target} ON {} WHERE {} IS NULL) AS a WHERE a.nth = 1",
        staged_key(stage, "s."),
        same_key(stage, "s."),
        target_key(stage),
    )
}

/// Forgets that the staged rows have distinct keys.
///
/// Returns whether they were thought to.
pub(super) fn no_longer_distinct(stage: &StagingPlan) -> bool {
    stage.notes.get().is_some_and(|found| found.note_order(Order::Unknown) != Order::Unknown)
}

/// Inserts the staged rows that are new.
///
/// They come sorted by the key, so that all merges lock in one order.
pub(super) fn merge_new(stage: &StagingPlan) -> Sql {
    match stage.notes.get().map(Found::order) {
        Some(Order::Sorted) => return merge_distinct(stage, staged(stage)),
        Some(Order::Distinct) => return merge_distinct(stage, &sorted(stage)),
        Some(Order::Unknown) | None => {}
    }
    format!(
        "{} INTO {} ({}) SELECT {} FROM {} ORDER BY {} {NO_LIMIT}",
        steady(stage, "INSERT"),
        DIALECT.table(stage.table),
        DIALECT.columns(stage.table, stage.columns.iter().copied(), ""),
        values(stage, "a."),
        absent(stage, &format!("s.n, {}", staged_columns(stage, "s."))),
        staged_key(stage, "a.")
    )
    .into()
}

/// Selects the staged rows sorted by their key.
///
/// So they are looked for and written where the last one was. A derived table that has no limit is sorted in vain.
fn sorted(stage: &StagingPlan) -> String {
    let (columns, key) = (staged_columns(stage, "s."), staged_key(stage, "s."));
    format!("(SELECT {columns} FROM {} AS s ORDER BY {key} LIMIT {})", staged(stage), u64::MAX)
}

/// Inserts the new rows where each has its own key.
///
/// Rows that came sorted are read as they were staged: of 200,000 that are new, to sort them again takes a sixth of the merge.
fn merge_distinct(stage: &StagingPlan, rows: &str) -> Sql {
    format!(
        "{} INTO {} ({}) SELECT {} FROM {rows} AS s LEFT JOIN {} ON {} WHERE {} IS NULL {NO_LIMIT}",
        steady(stage, "INSERT"),
        DIALECT.table(stage.table),
        DIALECT.columns(stage.table, stage.columns.iter().copied(), ""),
        values(stage, "s."),
        target(stage),
        same_key(stage, "s."),
        target_key(stage),
    )
    .into()
}

pub(super) fn count_absent(stage: &StagingPlan) -> Sql {
    format!("{} COUNT(*) FROM {} LIMIT 1", steady(stage, "SELECT"), absent(stage, "s.n")).into()
}

pub(super) fn find_absent(stage: &StagingPlan) -> Sql {
    format!("{} a.n FROM {} ORDER BY a.n {NO_LIMIT}", steady(stage, "SELECT"), absent(stage, "s.n")).into()
}

pub(super) fn mark_absent(stage: &StagingPlan) -> Sql {
    let made = made(stage);
    format!("{} INTO {made} (n) SELECT a.n FROM {} {NO_LIMIT}", steady(stage, "INSERT"), absent(stage, "s.n")).into()
}

/// Selects the rows to make whose key is still absent.
///
/// The locks then keep it so.
pub(super) fn find_still_absent(stage: &StagingPlan) -> Sql {
    let (staged, made) = (staged(stage), made(stage));
    format!(
        "{} m.n FROM {staged} AS s STRAIGHT_JOIN {made} AS m ON m.n = s.n LEFT JOIN {} ON {} WHERE {} IS NULL \
         ORDER BY m.n {NO_LIMIT}{}",
        steady(stage, "SELECT"),
        target(stage),
        same_key(stage, "s."),
        target_key(stage),
        View::Locked.lock()
    )
    .into()
}

/// The order in which rows are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sorted {
    /// By their keys, so that all merges lock in one order.
    ByKey,
    /// In the order staged.
    ///
    /// A row may refer to one before it, and InnoDB looks for that one when it makes the row.
    AsTheyCame,
}

/// Counts the rows made that are not found by their keys.
pub(super) fn count_lost(stage: &StagingPlan) -> Sql {
    let (staged, made) = (staged(stage), made(stage));
    format!(
        "{} COUNT(*) FROM {staged} AS s STRAIGHT_JOIN {made} AS m ON m.n = s.n LEFT JOIN {} ON {} WHERE {} IS NULL LIMIT 1",
        steady(stage, "SELECT"),
        target(stage),
        same_key(stage, "s."),
        target_key(stage),
    )
    .into()
}

pub(super) fn insert_made(stage: &StagingPlan, sorted: Sorted) -> Sql {
    let order = match sorted {
        Sorted::ByKey => staged_key(stage, "s."),
        Sorted::AsTheyCame => "s.n".to_owned(),
    };
    let (staged, made) = (staged(stage), made(stage));
    format!(
        "{} INTO {} ({}) SELECT {} FROM {staged} AS s STRAIGHT_JOIN {made} AS m ON m.n = s.n ORDER BY {} {NO_LIMIT}",
        steady(stage, "INSERT"),
        DIALECT.table(stage.table),
        DIALECT.columns(stage.table, stage.columns.iter().copied(), ""),
        values(stage, "s."),
        order
    )
    .into()
}

/// Counts the staged rows, their keys, and the rows made.
///
/// The last are the keys that the merge has made.
pub(super) fn count_keys(stage: &StagingPlan) -> Sql {
    let (staged, made) = (staged(stage), made(stage));
    let (select, key) = (steady(stage, "SELECT"), staged_key(stage, ""));
    format!("{select} COUNT(*), COUNT(DISTINCT {key}), (SELECT COUNT(*) FROM {made}) FROM {staged} LIMIT 1").into()
}

/// The rows whose values an update writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// The last staged row of each key that was there.
    OfExisting,
    /// The last staged row of each key that was made.
    ///
    /// It is the merge that has made it. Left out if the row is the one that made it.
    OfMade,
}

/// Updates the table's rows from the staged ones.
///
/// The staged rows come sorted by their key, so the table's rows are locked in that order.
pub(super) fn update_rows(stage: &StagingPlan, last: Last) -> Option<Sql> {
    let (staged, made) = (staged(stage), made(stage));
    let set = stage.table.updatable(stage.key).map(|column| {
        format!("t.{} = {}", DIALECT.name(stage.table.columns[column].name), value(stage, stage.position(column), "x."))
    });
    let set = set.collect::<Vec<_>>().join(", ");
    let which = match last {
        Last::OfExisting => "x.made = 0",
        Last::OfMade => "x.made = 1 AND x.rows_of_key > 1",
    };
    let key = staged_key(stage, "s.");
    let update = format!(
        "{} (SELECT {}, ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY s.n DESC) AS nth, \
         COUNT(m.n) OVER (PARTITION BY {key}) AS made, COUNT(*) OVER (PARTITION BY {key}) AS rows_of_key \
         FROM {staged} AS s LEFT JOIN {made} AS m ON m.n = s.n) AS x STRAIGHT_JOIN {} ON {} SET {set} \
         WHERE x.nth = 1 AND {which}",
        steady(stage, "UPDATE"),
        staged_columns(stage, "s."),
        target(stage),
        same_key(stage, "x."),
    );
    (!set.is_empty()).then(|| update.into())
}

pub(super) fn read_staged(stage: &StagingPlan, which: Which, view: View) -> Sql {
    let (staged, made) = (staged(stage), made(stage));
    let join = match which {
        Which::All => "LEFT JOIN",
        Which::Created => "STRAIGHT_JOIN",
    };
    format!(
        "SELECT {}, s.n AS {NUMBER}, {} IS NOT NULL AS {FOUND}, m.n IS NOT NULL AS {CREATED} FROM {staged} AS s {join} {made} AS m ON m.n = s.n \
         LEFT JOIN {} ON {} ORDER BY s.n {NO_LIMIT}{}",
        DIALECT.columns(stage.table, 0..stage.table.columns.len(), "t."),
        target_key(stage),
        target(stage),
        same_key(stage, "s."),
        view.lock()
    )
    .into()
}

/// Names the table, read through the key's index only.
///
/// Of a table whose statistics are old the optimizer may think that it has no rows, and then read all of it for each block of staged rows.
pub(super) fn target(stage: &StagingPlan) -> String {
    target_by(stage, stage.notes.get().filter(|found| found.usable).map(|found| found.index.as_str()))
}

/// Names the table, read through this index only.
pub(super) fn target_by(stage: &StagingPlan, index: Option<&str>) -> String {
    let hint = index.map(|index| format!(" FORCE INDEX ({})", DIALECT.name(index)));
    format!("{} AS t{}", DIALECT.table(stage.table), hint.unwrap_or_default())
}

pub(super) fn target_key(stage: &StagingPlan) -> String {
    format!("t.{}", DIALECT.name(stage.table.columns[stage.key.columns[0]].name))
}

pub(super) fn same_key(stage: &StagingPlan, prefix: &str) -> String {
    let equal = |&column: &usize| {
        format!("t.{} = {prefix}c{}", DIALECT.name(stage.table.columns[column].name), stage.position(column))
    };
    stage.key.columns.iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

/// The values of a staged row, as written to the table.
///
/// MySQL copies a FLOAT to a FLOAT(10, 2), and a DOUBLE to a DOUBLE(10, 2), without rounding it, unless it is computed.
fn values(stage: &StagingPlan, prefix: &str) -> String {
    let value = |position: usize| value(stage, position, prefix);
    (0..stage.columns.len()).map(value).collect::<Vec<_>>().join(", ")
}

fn value(stage: &StagingPlan, position: usize, prefix: &str) -> String {
    let is_key = stage.key.columns.contains(&stage.columns[position]);
    let computed = matches!(stage.types[position].name(), "FLOAT" | "DOUBLE") && !is_key;
    format!("{prefix}c{position}{}", if computed { " /*!80000 * 1e0 */" } else { "" })
}

fn staged_columns(stage: &StagingPlan, prefix: &str) -> String {
    (0..stage.columns.len()).map(|position| format!("{prefix}c{position}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn staged_key(stage: &StagingPlan, prefix: &str) -> String {
    stage.key_positions().map(|position| format!("{prefix}c{position}")).collect::<Vec<_>>().join(", ")
}
