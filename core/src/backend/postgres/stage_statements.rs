//! The staging table and the merges from it.
//!
//! Every statement keeps to forms that a sharded PostgreSQL (Citus) runs too: an anti-join is a LEFT JOIN, and rows that went in past a
//! conflict clause are counted by what RETURNING gives.

use sqlx::{TypeInfo as _, postgres::PgTypeInfo};

use crate::{
    backend::postgres::dialect::{DIALECT, StagingPlan},
    backend::postgres::key_index,
    backend::postgres::row_statements::{self, CREATED, FOUND, NUMBER},
    backend::postgres::stage_state::JoinStrategy,
    backend::staging::Which,
    sql::text::Sql,
};

// The staging table is the connection's own, so no other connection sees or locks it, and gone with its transaction.
//
// `n` numbers the staged rows in the order they came. A row with `w` is a mark: it says of the staged row with its number what the merge
// does with it, and has no values. An UPDATE of the staged rows instead would write them all once more.

/// The marks: made, updates an old row, updates a new row.
///
/// A row with the first makes the table's row; with the second it gives its values to a row that was there; with the third it gives its
/// values to a row that the merge has just made.
const MARK_CREATED: u8 = 1;
const MARK_UPDATE: u8 = 2;
const MARK_AGAIN: u8 = 3;

/// The savepoint around a statement that may fail.
///
/// It is done in another way then.
const SAVEPOINT: &str = "upsertable_merge";

/// Looks for the unique index and makes the staging table.
///
/// That is one round trip, and does not lock the table. Each staged column has a type of its own, and so takes no lock on the table either.
pub(super) fn open(stage: &StagingPlan, types: &[String]) -> Sql {
    let columns = types.iter().enumerate().map(|(position, kind)| format!(", c{position} {kind}"));
    format!(
        "SELECT {}; CREATE TEMP TABLE {} (n pg_catalog.int8, w pg_catalog.int2{}) ON COMMIT DROP",
        key_index::is_there(stage.table, stage.key),
        stage.notes.name,
        columns.collect::<String>(),
    )
    .into()
}

/// Returns a type's name as SQL has it.
pub(super) fn type_name(kind: &PgTypeInfo) -> &str {
    // Some of the driver's names mean another type there.
    match kind.name() {
        "\"CHAR\"" => "\"char\"",
        "CHAR" => "pg_catalog.bpchar",
        "\"CHAR\"[]" => "\"char\"[]",
        "CHAR[]" => "pg_catalog.bpchar[]",
        name => name,
    }
}

/// Counts the named types whose values hold no other types' numbers.
pub(super) fn scalar_types() -> Sql {
    "SELECT count(*) FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n (name) \
     JOIN pg_catalog.pg_type AS y ON y.oid = pg_catalog.to_regtype(n.name) LEFT JOIN pg_catalog.pg_type AS b ON b.oid = y.typbasetype \
     WHERE COALESCE(b.typtype, y.typtype) IN ('b', 'e', 'r') AND COALESCE(b.typcategory, y.typcategory) <> 'A'"
        .into()
}

/// Starts the stream of rows, each with its number.
pub(super) fn copy(stage: &StagingPlan) -> String {
    format!("COPY {} (n, {}) FROM STDIN WITH (FORMAT binary)", stage.notes.name, staged_columns(stage, ""))
}

/// Stages the rows of one array a column.
///
/// They are numbered on from the value behind the arrays.
pub(super) fn stage_arrays(stage: &StagingPlan) -> Sql {
    let columns = staged_columns(stage, "");
    format!(
        "INSERT INTO {} (n, {columns}) SELECT s.n + ${}::pg_catalog.int8, {columns} FROM {}",
        stage.notes.name,
        stage.columns.len() + 1,
        unnested(stage, Arrays::Counted)
    )
    .into()
}

/// Stages so many rows of one placeholder a value.
///
/// They are numbered on from the value behind them.
pub(super) fn stage_values(stage: &StagingPlan, count: usize) -> Sql {
    let width = stage.columns.len();
    let columns = staged_columns(stage, "");
    format!(
        "INSERT INTO {} (n, {columns}) SELECT s.n + ${}::pg_catalog.int8, {columns} FROM (VALUES {}) AS s (n, {columns})",
        stage.notes.name,
        count * width + 1,
        row_statements::numbered_values(count, width, 1),
    )
    .into()
}

/// The planner's knowledge of the rows that travel in arrays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrays {
    /// The planner knows their number.
    Counted,
    /// The planner knows nothing; one plan does for all calls.
    ///
    /// To make a plan takes four times as long as to run it (0.16 against 0.04 milliseconds for 1 row). It is a plan for some ten rows,
    /// which for many more would read a small table again and again.
    Hidden,
}

/// Rows made of one array a column, to merge from.
fn unnested(stage: &StagingPlan, arrays: Arrays) -> String {
    let array = |(position, kind)| match arrays {
        Arrays::Counted => format!("${}::{}[]", position + 1, type_name(kind)),
        Arrays::Hidden => format!("(SELECT ${}::{}[])", position + 1, type_name(kind)),
    };
    let arrays: Vec<String> = stage.types.iter().enumerate().map(array).collect();
    format!("unnest({}) WITH ORDINALITY AS s ({}, n)", arrays.join(", "), staged_columns(stage, ""))
}

/// Lets the planner know how many staged rows are marks.
///
/// Autovacuum never looks at a temporary table. How many rows there are it sees by the size of the table.
pub(super) fn analyze_marks(stage: &StagingPlan) -> Sql {
    format!("ANALYZE {} (w)", stage.notes.name).into()
}

/// Inserts the new rows plainly, behind an anti-join.
///
/// So rows that are there use up no id. Where another writer gets in between, it fails on the unique index, and [`merge_colliding`] takes
/// over.
///
/// The rows are sorted by the whole key: so all writers take their locks in one order, and the join is done before the first row goes in.
/// Otherwise a plan made for an empty table would read it again for every row while it grows.
///
/// Before it the server is asked for the unique index once more, and the table is locked against its removal: staging can have taken long.
pub(super) fn merge_new(stage: &StagingPlan) -> Sql {
    saved(&format!("{}; {}", row_statements::probe(stage.table, stage.key), insert_new(stage)))
}

/// Returns the INSERT of [`merge_new`] alone.
pub(super) fn insert_new(stage: &StagingPlan) -> String {
    insert_first(stage, &looked_for(stage))
}

pub(super) fn merge_colliding(stage: &StagingPlan) -> Sql {
    saved(&counted(&format!("{} {} RETURNING 1", insert_first(stage, &looked_for(stage)), on_conflict(stage))))
}

/// Inserts the new rows from arrays, without a staging table.
///
/// There is little to lose by the conflict clause, and it asks for the unique index.
pub(super) fn merge_arrays(stage: &StagingPlan, arrays: Arrays) -> String {
    let first = first_looked_for(stage, arrays, "");
    counted(&format!("{} {} RETURNING 1", insert_from(stage, &first), on_conflict(stage)))
}

/// Inserts the new rows from arrays by a join.
///
/// A sharded server wants it so.
pub(super) fn merge_arrays_joined(stage: &StagingPlan, arrays: Arrays) -> String {
    counted(&format!("{} {} RETURNING 1", insert_first(stage, &unnested(stage, arrays)), on_conflict(stage)))
}

/// Selects the first row of each new key in the arrays.
fn first_looked_for(stage: &StagingPlan, arrays: Arrays, also: &str) -> String {
    let (key, source) = (staged_key(stage), unnested(stage, arrays));
    format!("SELECT DISTINCT ON ({key}) s.* {} ORDER BY {key}, s.n", from_looked_for(stage, &source, also))
}

/// Selects the source's rows whose key is new, by single looks.
///
/// Each is looked for by itself: a planner that takes the table to be empty would read all of it for each row of a join.
fn from_looked_for(stage: &StagingPlan, source: &str, also: &str) -> String {
    format!(
        "FROM {source} LEFT JOIN LATERAL (SELECT true AS there FROM {} AS t WHERE {} OFFSET 0) AS t ON true WHERE t.there IS NULL{also}",
        DIALECT.table(stage.table),
        same_key(stage),
    )
}

/// Inserts one row from arrays of one element, if new.
///
/// There is nothing to sort.
pub(super) fn merge_one(stage: &StagingPlan) -> String {
    let element = |(position, kind)| format!("(${}::{}[])[1] AS c{position}", position + 1, type_name(kind));
    let elements: Vec<String> = stage.types.iter().enumerate().map(element).collect();
    // By OFFSET it stays a row to the planner, which would otherwise make its values what the columns are before it is known whether the
    // key is there, and some cannot be.
    format!(
        "INSERT INTO {} ({}) SELECT {} {} {} RETURNING 1::pg_catalog.int8",
        DIALECT.table(stage.table),
        target_columns(stage),
        staged_columns(stage, "s."),
        from_looked_for(stage, &format!("(SELECT {} OFFSET 0) AS s", elements.join(", ")), ""),
        on_conflict(stage),
    )
}

/// Inserts the new rows from arrays without a conflict clause.
///
/// It is two statements in one: the first inserts nothing and is refused without the unique index, so that the other can do without the
/// conflict clause.
pub(super) fn merge_arrays_plainly(stage: &StagingPlan, arrays: Arrays, late: Late) -> String {
    let asked = match late {
        Late::Asked => format!(" AND {}", key_index::none_is_checked_late(stage.table)),
        Late::Known => String::new(),
    };
    let first = first_looked_for(stage, arrays, &asked);
    format!(
        "WITH upsertable_probe AS ({}) {}",
        row_statements::probe(stage.table, stage.key),
        insert_from(stage, &first)
    )
}

/// A statement's knowledge of indexes that are checked late.
///
/// The probe does not notice them, as no row comes to it. To ask for them the server reads its list of all indexes, half as long as it
/// takes for the rest of a call of 10 rows. Such an index lets no duplicate in either, as the commit fails, so what was seen a while ago
/// may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Late {
    Asked,
    Known,
}

fn counted(insert: &str) -> String {
    format!("WITH made AS ({insert}) SELECT count(*) FROM made")
}

fn saved(statement: &str) -> Sql {
    format!("SAVEPOINT {SAVEPOINT}; {statement}; RELEASE SAVEPOINT {SAVEPOINT}").into()
}

/// Undoes the statement that failed, and its marks.
pub(super) fn undo() -> Sql {
    format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}; RELEASE SAVEPOINT {SAVEPOINT}").into()
}

/// Marks the first staged row of each new key.
pub(super) fn mark_new(stage: &StagingPlan) -> Sql {
    let first = first_absent(stage, &looked_for(stage), &format!("s.n, {MARK_CREATED}"), " AND s.w IS NULL");
    format!(
        "SAVEPOINT {SAVEPOINT}; {}; INSERT INTO {} (n, w) {first}",
        row_statements::probe(stage.table, stage.key),
        stage.notes.name
    )
    .into()
}

pub(super) fn insert_marked(stage: &StagingPlan) -> Sql {
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM {} WHERE s.w IS NULL ORDER BY {}; RELEASE SAVEPOINT {SAVEPOINT}",
        DIALECT.table(stage.table),
        target_columns(stage),
        staged_columns(stage, "s."),
        marked(stage, &format!("= {MARK_CREATED}")),
        staged_key(stage),
    )
    .into()
}

/// Inserts and marks the first staged row of each new key.
///
/// Only the rows that went in are marked.
pub(super) fn insert_and_mark(stage: &StagingPlan) -> Sql {
    let insert = insert_first_where(stage, &looked_for(stage), " AND s.w IS NULL");
    let key = DIALECT.columns(stage.table, stage.key.columns.iter().copied(), "");
    let staged_key = staged_key(stage);
    saved(&format!(
        "WITH made AS ({insert} {} RETURNING {key}), \
         marked AS (INSERT INTO {} (n, w) SELECT DISTINCT ON ({staged_key}) s.n, {MARK_CREATED} \
         FROM {} JOIN made AS t ON {} WHERE s.w IS NULL ORDER BY {staged_key}, s.n) \
         SELECT count(*) FROM made",
        on_conflict(stage),
        stage.notes.name,
        staged(stage),
        same_key(stage),
    ))
}

/// Marks the last staged row of each key.
///
/// Left out is a row that has made the table's row itself. It gives the number of rows that are not the merge's own.
pub(super) fn mark_last(stage: &StagingPlan) -> Sql {
    let (key, stage) = (staged_key(stage), &stage.notes.name);
    format!(
        "WITH marked AS (INSERT INTO {stage} (n, w) \
         SELECT s.n, CASE WHEN s.made IS NULL THEN {MARK_UPDATE} ELSE {MARK_AGAIN} END FROM (\
         SELECT s.n, min(m.n) OVER (PARTITION BY {key}) AS made, row_number() OVER (PARTITION BY {key} ORDER BY s.n DESC) AS back \
         FROM {stage} AS s LEFT JOIN {stage} AS m ON m.w = {MARK_CREATED} AND m.n = s.n WHERE s.w IS NULL) AS s \
         WHERE s.back = 1 AND s.made IS DISTINCT FROM s.n RETURNING w) \
         SELECT count(*) FROM marked WHERE w = {MARK_UPDATE}",
    )
    .into()
}

/// Locks the rows that will be updated, and counts them.
///
/// It does so in the key's order, which an UPDATE does not promise.
pub(super) fn lock_marked(stage: &StagingPlan) -> Sql {
    saved(&format!("SELECT count(*) FROM ({}) AS locked", lock_rows(stage)))
}

/// Locks the rows that will be updated, and gives each.
///
/// A sharded server wants it so of a table on one node.
pub(super) fn lock_marked_rows(stage: &StagingPlan) -> Sql {
    saved(&lock_rows(stage))
}

fn lock_rows(stage: &StagingPlan) -> String {
    format!("SELECT 1 {} ORDER BY {} FOR NO KEY UPDATE OF t", marked_rows(stage), staged_key(stage))
}

/// Counts the rows that will be updated, without a lock.
pub(super) fn count_marked(stage: &StagingPlan) -> Sql {
    format!("SELECT count(*) {}", marked_rows(stage)).into()
}

fn marked_rows(stage: &StagingPlan) -> String {
    format!(
        "FROM {} JOIN {} AS t ON {} WHERE s.w IS NULL",
        marked(stage, &format!("= {MARK_UPDATE}")),
        DIALECT.table(stage.table),
        same_key(stage)
    )
}

/// Updates the marked rows, or `None` if no column may change.
pub(super) fn update_marked(stage: &StagingPlan) -> Option<Sql> {
    let set = stage
        .table
        .updatable(stage.key)
        .map(|column| format!("{} = s.c{}", DIALECT.name(stage.table.columns[column].name), stage.position(column)));
    let set = set.collect::<Vec<_>>().join(", ");
    // The marked rows by themselves: a sharded server joins no two other tables in an UPDATE.
    let update = format!(
        "WITH s AS (SELECT {} FROM {} WHERE s.w IS NULL) UPDATE {} AS t SET {set} FROM s WHERE {}",
        staged_columns(stage, "s."),
        marked(stage, &format!("IN ({MARK_UPDATE}, {MARK_AGAIN})")),
        DIALECT.table(stage.table),
        same_key(stage)
    );
    (!set.is_empty()).then(|| update.into())
}

pub(super) fn read_staged(stage: &StagingPlan, which: Which) -> Sql {
    let columns = DIALECT.columns(stage.table, 0..stage.table.columns.len(), "t.");
    let join = match which {
        Which::All => "LEFT JOIN",
        Which::Created => "JOIN",
    };
    format!(
        "SELECT {columns}, s.n AS {NUMBER}, {} AS {FOUND}, m.n IS NOT NULL AS {CREATED} FROM {} {join} {} AS m ON m.w = {MARK_CREATED} AND m.n = s.n \
         {join} {} AS t ON {} WHERE s.w IS NULL ORDER BY s.n",
        row_statements::is_there(stage.table, stage.key, true),
        staged(stage),
        stage.notes.name,
        DIALECT.table(stage.table),
        same_key(stage)
    )
    .into()
}

pub(super) fn close(stage: &StagingPlan) -> Sql {
    format!("DROP TABLE {}", stage.notes.name).into()
}

fn staged(stage: &StagingPlan) -> String {
    format!("{} AS s", stage.notes.name)
}

/// The staged rows in the order of the looks.
///
/// It is the order in which the table is looked into. The OFFSET keeps the planner from sorting after that.
fn looked_for(stage: &StagingPlan) -> String {
    if matches!(stage.notes.joined(), JoinStrategy::ByKey | JoinStrategy::ByLooks) {
        let key = staged_key(stage);
        format!("(SELECT * FROM {} ORDER BY {key}, s.n OFFSET 0) AS s", staged(stage))
    } else {
        staged(stage)
    }
}

/// The staged rows with such a mark.
fn marked(stage: &StagingPlan, mark: &str) -> String {
    let name = &stage.notes.name;
    format!("{name} AS s JOIN {name} AS m ON m.w {mark} AND m.n = s.n")
}

fn on_conflict(stage: &StagingPlan) -> String {
    format!("ON CONFLICT ({}) DO NOTHING", DIALECT.columns(stage.table, stage.key.columns.iter().copied(), ""))
}

fn insert_first(stage: &StagingPlan, source: &str) -> String {
    insert_first_where(stage, source, "")
}

fn insert_first_where(stage: &StagingPlan, source: &str, also: &str) -> String {
    insert_from(stage, &first_absent(stage, source, "s.*", also))
}

fn insert_from(stage: &StagingPlan, rows: &str) -> String {
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM ({rows}) AS s",
        DIALECT.table(stage.table),
        target_columns(stage),
        staged_columns(stage, "s."),
    )
}

/// Selects the source's first row of each new key.
fn first_absent(stage: &StagingPlan, source: &str, what: &str, also: &str) -> String {
    let key = staged_key(stage);
    format!("SELECT DISTINCT ON ({key}) {what} {}{also} ORDER BY {key}, s.n", from_absent(stage, source))
}

/// Selects the source's rows whose key is not in the table.
fn from_absent(stage: &StagingPlan, source: &str) -> String {
    format!(
        "FROM {source} LEFT JOIN {} AS t ON {} WHERE {}",
        DIALECT.table(stage.table),
        same_key(stage),
        row_statements::is_there(stage.table, stage.key, false),
    )
}

fn same_key(stage: &StagingPlan) -> String {
    let same = |&column: &usize| {
        row_statements::same(stage.table, stage.key, column, &format!("s.c{}", stage.position(column)))
    };
    stage.key.columns.iter().map(same).collect::<Vec<_>>().join(" AND ")
}

fn target_columns(stage: &StagingPlan) -> String {
    DIALECT.columns(stage.table, stage.columns.iter().copied(), "")
}

fn staged_columns(stage: &StagingPlan, prefix: &str) -> String {
    (0..stage.columns.len()).map(|position| format!("{prefix}c{position}")).collect::<Vec<_>>().join(", ")
}

fn staged_key(stage: &StagingPlan) -> String {
    stage.key_positions().map(|position| format!("s.c{position}")).collect::<Vec<_>>().join(", ")
}
