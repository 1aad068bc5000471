//! The staging table and the merges from it.

use std::fmt::Write as _;

use crate::{
    backend::sqlite::dialect::{DIALECT, OR_ABORT, StagingPlan},
    backend::sqlite::key_index::KeyColumn,
    backend::sqlite::row_statements,
    backend::staging::Which,
    sql::text::Sql,
};

/// The staging table.
///
/// It lives in the connection's own `temp` database, so no other connection sees or locks it.
pub(super) const STAGE: &str = r#"temp."upsertable_staged""#;

/// The marks: none, made, updates an old or a new row.
///
/// A row without a mark does nothing, as its key exists or another staged row speaks for it. The others make the table's row, give their
/// values to a row that was there, or give them to a row that the merge has just made.
pub(super) const MARK_NONE: u8 = 0;
pub(super) const MARK_CREATED: u8 = 1;
pub(super) const MARK_UPDATE: u8 = 2;
pub(super) const MARK_AGAIN: u8 = 3;

/// Condition that no staged row has made the key's row.
///
/// [`CREATED_HERE`] holds where some staged row has.
pub(super) const CREATED_NOWHERE: &str = "max(\"w\") = 0";
pub(super) const CREATED_HERE: &str = "max(\"w\") = 1";

/// Creates the staging table.
///
/// `n` numbers the rows in the order they came; `w`, where somebody asks, says what the merge does with them. The key's columns compare as
/// the index does. The other columns have no type, so every value stays as it was bound.
pub(super) fn create_stage(stage: &StagingPlan, key: &[KeyColumn]) -> Sql {
    let mut sql = format!(r#"CREATE TABLE {STAGE} ("n" INTEGER PRIMARY KEY"#);
    if stage.marks {
        // Writing to a `String` cannot fail.
        let _ = write!(sql, r#", "w" INTEGER NOT NULL DEFAULT {MARK_NONE}"#);
    }
    for (position, column) in stage.columns.iter().enumerate() {
        // Writing to a `String` cannot fail.
        let _ = write!(sql, r#", "c{position}""#);
        let in_key = stage.key.columns.iter().position(|key_column| key_column == column);
        if let Some(KeyColumn { collation, declared }) = in_key.and_then(|position| key.get(position)) {
            // ANY keeps every value as it is in a STRICT table, and makes numbers of text in any other.
            if !declared.is_empty() && !declared.eq_ignore_ascii_case("ANY") {
                let _ = write!(sql, " {}", DIALECT.name(declared));
            }
            let _ = write!(sql, " COLLATE {}", DIALECT.name(collation));
        }
    }
    sql.push(')');
    sql.into()
}

pub(super) fn stage_rows(stage: &StagingPlan, rows: usize) -> Sql {
    let values = DIALECT.placeholders(rows, stage.columns.len(), 1);
    format!("INSERT INTO {STAGE} ({}) VALUES {values}", staged_columns(stage, "")).into()
}

/// Staged rows from which on they are sorted before the look.
///
/// Their index no longer fits the page cache of 2 MB that SQLite has by default, so that in random order each look reads a page. Where all
/// rows are there, 2,000,000 of 3 integers take 0.45 of the time so, and 1,000,000 with four short texts 0.65; of 200,000 it makes no
/// difference, and 50,000 would take twice as long.
const MANY_ROWS: u64 = 500_000;

pub(super) fn has_many_rows(stage: &StagingPlan) -> bool {
    stage.rows() >= MANY_ROWS
}

/// Frees the pages of the staging table.
///
/// The library that comes with sqlx keeps the pages of all databases in one place (`SQLITE_ENABLE_MEMORY_MANAGEMENT`). Once those of the
/// staging table have filled it, each page is read anew for each row, unless they are let go first.
pub(super) const FREE_PAGES: &str = "PRAGMA shrink_memory";

/// Inserts the first staged row of each new key.
///
/// The anti-join keeps rows that are there from using up an id, and few of them from being sorted; the grouping keeps the first of several
/// rows with one key, and sorts, so that the index is filled in its order. ON CONFLICT is for what both can miss, and names the key, so
/// that SQLite refuses the statement where there is no unique index on it.
pub(super) fn merge_new(stage: &StagingPlan, or_abort: &str) -> Sql {
    let table = stage.table;
    let into = DIALECT.table(table);
    let columns = DIALECT.columns(table, stage.columns.iter().copied(), "");
    let key = DIALECT.columns(table, stage.key.columns.iter().copied(), "");
    let absent = format!(
        "LEFT JOIN {into} AS t ON {} WHERE t.{} IS NULL",
        same_key(stage),
        DIALECT.name(table.columns[stage.key.columns[0]].name)
    );
    let (staged, staged_of_s, staged_key) =
        (staged_columns(stage, ""), staged_columns(stage, "s."), staged_key(stage, "s."));
    let new = if has_many_rows(stage) {
        format!(
            "SELECT {staged_of_s} FROM (SELECT {staged_of_s}, min(s.\"n\") FROM {STAGE} AS s GROUP BY {staged_key}) AS s {absent}"
        )
    } else {
        format!(
            "SELECT {staged} FROM (SELECT {staged_of_s}, min(s.\"n\") FROM {STAGE} AS s {absent} GROUP BY {staged_key}) WHERE true"
        )
    };
    format!("INSERT{or_abort} INTO {into} ({columns}) {new} ON CONFLICT ({key}) DO NOTHING").into()
}

/// Inserts the staged rows as they came; the index refuses duplicates.
///
/// They go in one by one: the index refuses those that are there, and all but the first with one key. Nothing that is inserted into is
/// read, so SQLite makes no copy of the rows first.
pub(super) fn merge_as_it_came(stage: &StagingPlan) -> Sql {
    let table = stage.table;
    format!(
        "INSERT{OR_ABORT} INTO {} ({}) SELECT {} FROM {STAGE} WHERE true ORDER BY \"n\" ON CONFLICT ({}) DO NOTHING",
        DIALECT.table(table),
        DIALECT.columns(table, stage.columns.iter().copied(), ""),
        staged_columns(stage, ""),
        DIALECT.columns(table, stage.key.columns.iter().copied(), "")
    )
    .into()
}

/// Takes the write lock before anything is read.
///
/// A deferred transaction that reads first cannot write after another has written.
pub(super) fn take_write_lock(stage: &StagingPlan) -> Sql {
    let column = DIALECT.name(stage.table.columns[stage.key.columns[0]].name);
    format!("UPDATE {} SET {column} = {column} WHERE false", DIALECT.table(stage.table)).into()
}

/// Marks the first staged row of each new key.
pub(super) fn mark_new(stage: &StagingPlan) -> Sql {
    let into = DIALECT.table(stage.table);
    let absent = format!("t.{}", DIALECT.name(stage.table.columns[stage.key.columns[0]].name));
    format!(
        "UPDATE {STAGE} SET \"w\" = {MARK_CREATED} WHERE \"n\" IN (SELECT min(s.\"n\") FROM {STAGE} AS s LEFT JOIN {into} AS t \
         ON {} WHERE {absent} IS NULL GROUP BY {})",
        same_key(stage),
        staged_key(stage, "s.")
    )
    .into()
}

/// Inserts the marked rows.
///
/// The key is named for the same reason as in [`merge_new`].
pub(super) fn insert_marked(stage: &StagingPlan, or_abort: &str) -> Sql {
    format!(
        "INSERT{or_abort} INTO {} ({}) SELECT {} FROM {STAGE} WHERE \"w\" = {MARK_CREATED} ORDER BY \"n\" ON CONFLICT ({}) DO NOTHING",
        DIALECT.table(stage.table),
        DIALECT.columns(stage.table, stage.columns.iter().copied(), ""),
        staged_columns(stage, ""),
        DIALECT.columns(stage.table, stage.key.columns.iter().copied(), ""),
    )
    .into()
}

/// Counts the staged keys that are not in the table.
pub(super) fn count_new(stage: &StagingPlan) -> Sql {
    let absent = format!("t.{}", DIALECT.name(stage.table.columns[stage.key.columns[0]].name));
    format!(
        "SELECT count(*) FROM (SELECT 1 FROM {STAGE} AS s LEFT JOIN {} AS t ON {} WHERE {absent} IS NULL GROUP BY {})",
        DIALECT.table(stage.table),
        same_key(stage),
        staged_key(stage, "s.")
    )
    .into()
}

/// Counts the rows to be made that are in the table.
pub(super) fn count_made(stage: &StagingPlan) -> Sql {
    format!(
        "SELECT count(*) FROM {STAGE} AS s WHERE s.\"w\" = {MARK_CREATED} AND EXISTS (SELECT 1 FROM {} AS t WHERE {})",
        DIALECT.table(stage.table),
        same_key(stage)
    )
    .into()
}

/// Marks the last staged row of each key, unless marked already.
pub(super) fn mark_last(stage: &StagingPlan, keys: &str, mark: u8) -> Sql {
    let key = staged_key(stage, "");
    format!(
        "UPDATE {STAGE} SET \"w\" = {mark} WHERE \"w\" = {MARK_NONE} AND \"n\" IN (\
         SELECT max(\"n\") FROM {STAGE} GROUP BY {key} HAVING {keys})"
    )
    .into()
}

pub(super) fn update_marked(stage: &StagingPlan, or_abort: &str) -> Option<Sql> {
    let set = stage.table.updatable(stage.key).map(|column| {
        format!("{} = s.\"c{}\"", DIALECT.name(stage.table.columns[column].name), stage.position(column))
    });
    let set = set.collect::<Vec<_>>().join(", ");
    let update = format!(
        "UPDATE{or_abort} {} AS t SET {set} FROM {STAGE} AS s WHERE s.\"w\" IN ({MARK_UPDATE}, {MARK_AGAIN}) AND {}",
        DIALECT.table(stage.table),
        same_key(stage)
    );
    (!set.is_empty()).then(|| update.into())
}

pub(super) fn read_staged(stage: &StagingPlan, which: Which) -> Sql {
    let columns = row_statements::selected(stage.table, "t.");
    let found = format!("t.{}", DIALECT.name(stage.table.columns[stage.key.columns[0]].name));
    let only = match which {
        Which::All => String::new(),
        Which::Created => format!(" WHERE s.\"w\" = {MARK_CREATED}"),
    };
    format!(
        "SELECT {columns}, s.\"n\" AS \"upsertable: n\", {found} IS NOT NULL AS \"upsertable: found\", \
         s.\"w\" = {MARK_CREATED} AS \"upsertable: created\" \
         FROM {STAGE} AS s LEFT JOIN {} AS t ON {}{only} ORDER BY s.\"n\"",
        DIALECT.table(stage.table),
        same_key(stage)
    )
    .into()
}

/// Returns a condition that two rows have the same key.
///
/// The staged column stands left, for the left side's collation decides, and it has that of the index.
pub(super) fn same_key(stage: &StagingPlan) -> String {
    let equal = |&column: &usize| {
        format!("s.\"c{}\" = t.{}", stage.position(column), DIALECT.name(stage.table.columns[column].name))
    };
    stage.key.columns.iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

fn staged_columns(stage: &StagingPlan, prefix: &str) -> String {
    (0..stage.columns.len()).map(|position| format!("{prefix}\"c{position}\"")).collect::<Vec<_>>().join(", ")
}

fn staged_key(stage: &StagingPlan, prefix: &str) -> String {
    stage.key_positions().map(|position| format!("{prefix}\"c{position}\"")).collect::<Vec<_>>().join(", ")
}
