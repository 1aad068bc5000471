//! SQLite: its text, its limits and what its errors mean.

use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::FutureExt as _;
use sqlx::{
    Arguments as _, Database, Either, Encode, Executor as _, Row as _, Sqlite, SqliteConnection, Type, TypeInfo as _,
    error::{BoxDynError, DatabaseError},
    sqlite::{SqliteArguments, SqliteError, SqliteQueryResult, SqliteRow},
};

use sqlx_core::transaction::TransactionManager as _;

use super::{Aftermath, Backend, Creation, Engine, Mark, RowTexts, StageError, Which};

type Stage = super::Stage<Sqlite>;
use crate::{
    bulk::{Chunk, Failure, Feed},
    find::{Part, Write, statement},
    handle::Link,
    model::{Key, Table},
    sql::{Dialect, Sql, Statement},
};

/// The most values that one statement can carry: SQLite's default SQLITE_MAX_VARIABLE_NUMBER since 3.32.
const MAX_BINDS: usize = 32_766;

/// Rows of one staging statement where a column is text or a blob, so that long values do not pile up. Each statement is a hop to the
/// connection's thread; past a thousand rows the hop hardly counts.
const CHUNK_ROWS_OF_TEXT: usize = 1_000;

/// The staging table. It lives in the connection's own `temp` database, so no other connection sees or locks it.
const STAGE: &str = r#"temp."upsertable_staged""#;

/// What the merge does with a staged row: nothing, as its key exists or another staged row speaks for it; it makes the table's row; it gives
/// its values to a row that was there; it gives its values to a row that the merge has just made.
const MARK_NONE: u8 = 0;
const MARK_CREATED: u8 = 1;
const MARK_UPDATE: u8 = 2;
const MARK_AGAIN: u8 = 3;

/// The keys that no staged row, or some staged row, has made.
const CREATED_NOWHERE: &str = "max(\"w\") = 0";
const CREATED_HERE: &str = "max(\"w\") = 1";

const DIALECT: Dialect = Dialect { quote: '"', numbered: false };

impl Backend for Sqlite {}

impl Engine for Sqlite {
    type Encoder = SqliteArguments;

    const CACHE: usize = 0;
    const DIALECT: Dialect = DIALECT;

    // A deferred transaction that has read fails at once, without waiting, when it writes after another has written: https://www.sqlite.org/isolation.html
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const BEGIN_STAGING: &'static str = "BEGIN";

    // Closing the only connection to a database in memory would delete the database. A statement given up half-way is finished or
    // undone by the connection's thread, so a rollback is enough.
    const CLOSE_UNFINISHED: bool = false;

    fn run<'c>(
        conn: &'c mut SqliteConnection,
        statement: Statement<Self>,
    ) -> BoxStream<'c, Result<Either<SqliteQueryResult, SqliteRow>, sqlx::Error>> {
        conn.fetch_many(statement)
    }

    fn rows_affected(result: &SqliteQueryResult) -> u64 {
        result.rows_affected()
    }

    fn encode<'q, T: Encode<'q, Self> + Type<Self>>(
        encoder: &mut SqliteArguments,
        value: &T,
    ) -> Result<(), BoxDynError> {
        encoder.add(value)
    }

    fn arguments(encoder: SqliteArguments) -> SqliteArguments {
        encoder
    }

    fn aftermath(error: &sqlx::Error) -> Aftermath {
        // A full disk, an I/O error, ON CONFLICT ROLLBACK or RAISE(ROLLBACK) end the transaction, and the error's code does not say so.
        if error.as_database_error().is_some() { Aftermath::Ask } else { Aftermath::Alive }
    }

    fn is_already_open(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(|error| error.message().contains("within a transaction"))
    }

    fn is_missing_index(error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .is_some_and(|error| error.message().contains("does not match any PRIMARY KEY or UNIQUE constraint"))
    }

    fn is_open(conn: &mut SqliteConnection) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            // The autocommit flag cannot be read without unsafe code; BEGIN tells it.
            match conn.execute("BEGIN").await {
                Err(error) if Self::is_already_open(&error) => Ok(true),
                Err(error) => Err(error),
                Ok(_) => conn.execute("ROLLBACK").await.map(|_| false),
            }
        })
    }

    fn refuse_key(key: &Key) -> Option<&'static str> {
        key.nulls_not_distinct.then_some(
            "a unique index of SQLite never takes two NULLs for equal, so a key with `nulls_not_distinct` works on PostgreSQL 15 and later only",
        )
    }

    fn row_texts(table: &Table, key: &Key) -> RowTexts {
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
        }
    }

    fn create_row<'l>(
        link: &'l mut Link<'_, Self>,
        texts: &'l RowTexts,
        write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<Creation<Self>, sqlx::Error>> {
        Box::pin(async move {
            let made = link.fetch_written(statement(&texts.create, write, Part::Row)?).await?;
            Ok(made.into_iter().next().map_or(Creation::KeyExists, Creation::Made))
        })
    }

    fn update_row<'l>(
        link: &'l mut Link<'_, Self>,
        _: &'l RowTexts,
        update: &'l Sql,
        write: Write<'l, Self>,
    ) -> BoxFuture<'l, Result<Option<SqliteRow>, sqlx::Error>> {
        Box::pin(async move {
            let updated = link.fetch_written(statement(update, write, Part::Update)?).await?;
            Ok(updated.into_iter().next())
        })
    }

    fn open_stage<'l>(link: &'l mut Link<'_, Self>, stage: &'l Stage) -> BoxFuture<'l, Result<(), StageError>> {
        Box::pin(async move {
            let collations = key_collations(link, stage).await?;
            link.execute(Statement::plain(&format!("DROP TABLE IF EXISTS {STAGE}").into())).await?;
            link.execute(Statement::plain(&create_stage(stage, &collations))).await?;
            Ok(())
        })
    }

    fn fill_stage<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l Stage,
        feed: &'l mut Feed<'_, Self>,
    ) -> BoxFuture<'l, Result<(), Failure>> {
        Box::pin(async move {
            let full = chunk_rows(stage);
            let mut full_text = None;
            while let Some(Chunk { rows, values }) = feed.chunk(full).await? {
                let statement = if rows == full {
                    Statement::cached(full_text.get_or_insert_with(|| stage_rows(stage, rows)), values)
                } else {
                    Statement::once(&stage_rows(stage, rows), values)
                };
                link.execute(statement).await?;
                feed.note_sent(rows);
            }
            Ok(())
        })
    }

    fn merge_new<'l>(link: &'l mut Link<'_, Self>, stage: &'l Stage) -> BoxFuture<'l, Result<u64, sqlx::Error>> {
        Box::pin(async move { link.execute(Statement::plain(&merge_new(stage))).await })
    }

    fn merge_marked<'l>(link: &'l mut Link<'_, Self>, stage: &'l Stage) -> BoxFuture<'l, Result<u64, sqlx::Error>> {
        Box::pin(async move {
            link.execute(Statement::plain(&take_write_lock(stage))).await?;
            link.execute(Statement::plain(&mark_new(stage))).await?;
            link.execute(Statement::plain(&insert_marked(stage))).await
        })
    }

    fn update_existing<'l>(link: &'l mut Link<'_, Self>, stage: &'l Stage) -> BoxFuture<'l, Result<u64, sqlx::Error>> {
        Box::pin(async move {
            let existing = link.execute(Statement::plain(&mark_last(stage, CREATED_NOWHERE, MARK_UPDATE))).await?;
            let Some(update) = update_marked(stage) else { return Ok(existing) };
            link.execute(Statement::plain(&mark_last(stage, CREATED_HERE, MARK_AGAIN))).await?;
            link.execute(Statement::plain(&update)).await?;
            Ok(existing)
        })
    }

    fn read_staged<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l Stage,
        which: Which,
    ) -> BoxFuture<'l, Result<Vec<SqliteRow>, sqlx::Error>> {
        Box::pin(async move { link.fetch(Statement::plain(&read_staged(stage, which))).await })
    }

    fn find_rows(key: &Key) -> usize {
        (MAX_BINDS / key.columns.len().max(1)).max(1)
    }

    fn find_many(table: &Table, key: &Key, keys: usize) -> Sql {
        let columns = DIALECT.columns(table, 0..table.columns.len(), "t.");
        let names: Vec<String> = (0..key.columns.len()).map(|position| format!("\"c{position}\"")).collect();
        let equal = key
            .columns
            .iter()
            .zip(&names)
            .map(|(&column, name)| format!("t.{} = s.{name}", DIALECT.name(table.columns[column].name)));
        let found = format!("t.{}", DIALECT.name(table.columns[key.columns[0]].name));
        format!(
            "WITH s(\"n\", {}) AS (VALUES {}) SELECT {columns}, s.\"n\", {found} IS NOT NULL, 0 \
             FROM s LEFT JOIN {} AS t ON {} ORDER BY s.\"n\"",
            names.join(", "),
            numbered_values(keys, key.columns.len()),
            DIALECT.table(table),
            equal.collect::<Vec<_>>().join(" AND "),
        )
        .into()
    }

    fn mark(row: &SqliteRow) -> Result<Mark, sqlx::Error> {
        let behind = row.len().saturating_sub(3);
        Ok(Mark { number: row.try_get(behind)?, found: row.try_get(behind + 1)?, created: row.try_get(behind + 2)? })
    }

    fn close_stage<'l>(link: &'l mut Link<'_, Self>) -> BoxFuture<'l, Result<(), sqlx::Error>> {
        Box::pin(async move { link.execute(Statement::plain(&format!("DROP TABLE {STAGE}").into())).await.map(drop) })
    }

    fn queue_clean(conn: &mut SqliteConnection) {
        queue(conn, format!("DROP TABLE IF EXISTS {STAGE}"));
    }

    // sqlx's count of open transactions can be wrong in two ways, and a wrong count would meet the connection's next user: SQLite has ended
    // the transaction by itself (then the ROLLBACK of sqlx fails and the count stays), or a BEGIN or COMMIT was done and never acknowledged
    // (then sqlx has corrected the count itself). So a transaction is begun where there is none, which fails where there is one; sqlx
    // rolls back what it counts; and what is still open then is rolled back by text.
    fn queue_rollback(conn: &mut SqliteConnection, levels: usize) {
        queue(conn, "BEGIN".to_owned());
        for level in 1..levels {
            queue(conn, format!("SAVEPOINT _sqlx_savepoint_{level}"));
        }
        for _ in 0..levels {
            <Self as Database>::TransactionManager::start_rollback(conn);
        }
        queue(conn, "ROLLBACK".to_owned());
    }
}

fn chunk_rows(stage: &Stage) -> usize {
    let rows = (MAX_BINDS / stage.columns.len().max(1)).max(1);
    let any_size = stage.types.iter().any(|kind| matches!(kind.name(), "TEXT" | "BLOB"));
    if any_size { rows.min(CHUNK_ROWS_OF_TEXT) } else { rows }
}

/// Sends a statement to the connection's thread without waiting for what comes of it: the first poll hands it over.
fn queue(conn: &mut SqliteConnection, sql: String) {
    let statement = Statement::<Sqlite>::plain(&sql.into());
    drop(conn.execute(statement).now_or_never());
}

/// Whether another connection stood in the way: SQLITE_BUSY (5) and SQLITE_LOCKED (6), whatever the extended code adds.
pub(super) fn is_retryable(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<SqliteError>().is_some()
        && error.code().and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// The collation of each key column in the unique index on exactly the key's columns.
///
/// The staging table takes them over, so that two staged rows are one key exactly where the index says so.
async fn key_collations(link: &mut Link<'_, Sqlite>, stage: &Stage) -> Result<Vec<String>, StageError> {
    // A row-id primary key has no index of its own, so the table's own list of primary key columns comes last.
    let sql = Sql::from(
        r#"SELECT il.name, ii.name, ii.coll FROM pragma_index_list(?1, ?2) AS il, pragma_index_xinfo(il.name, ?2) AS ii
           WHERE il."unique" = 1 AND il.partial = 0 AND ii.key = 1
           UNION ALL SELECT '', name, 'BINARY' FROM pragma_table_xinfo(?1, ?2) WHERE pk > 0"#,
    );
    let mut arguments = SqliteArguments::default();
    for value in [Some(stage.table.name), stage.table.schema] {
        arguments.add(value).map_err(sqlx::Error::Encode)?;
    }
    let mut indexes: Vec<(String, Vec<(Option<String>, String)>)> = Vec::new();
    for row in link.fetch(Statement::cached(&sql, arguments)).await? {
        let (index, column, collation) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        match indexes.iter_mut().find(|(name, _)| *name == index) {
            Some((_, columns)) => columns.push((column, collation)),
            None => indexes.push((index, vec![(column, collation)])),
        }
    }
    let wanted: Vec<&str> = stage.key.columns.iter().map(|&column| stage.table.columns[column].name).collect();
    // The names of columns, not values: SQLite compares them without case.
    indexes
        .iter()
        .filter(|(_, columns)| columns.len() == wanted.len())
        .find_map(|(_, columns)| {
            let collation_of = |wanted: &&str| {
                columns
                    .iter()
                    .find(|(name, _)| name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(wanted)))
                    .map(|(_, collation)| collation.clone())
            };
            wanted.iter().map(collation_of).collect()
        })
        .ok_or(StageError::MissingUniqueIndex)
}

/// `n` numbers the rows in the order they came, `w` says what the merge does with them. The other columns have no type, so every value stays as it was bound.
fn create_stage(stage: &Stage, collations: &[String]) -> Sql {
    let mut sql = format!(r#"CREATE TABLE {STAGE} ("n" INTEGER PRIMARY KEY, "w" INTEGER NOT NULL DEFAULT {MARK_NONE}"#);
    for (position, column) in stage.columns.iter().enumerate() {
        sql.push_str(&format!(r#", "c{position}""#));
        if let Some(in_key) = stage.key.columns.iter().position(|key_column| key_column == column) {
            sql.push_str(" COLLATE ");
            sql.push_str(&DIALECT.name(&collations[in_key]));
        }
    }
    sql.push(')');
    sql.into()
}

fn stage_rows(stage: &Stage, rows: usize) -> Sql {
    let values = DIALECT.placeholders(rows, stage.columns.len(), 1);
    format!("INSERT INTO {STAGE} ({}) VALUES {values}", staged_columns(stage, "")).into()
}

/// The anti-join keeps rows that are there from using up an id; the grouping keeps the first of several rows with one key, and sorts.
/// ON CONFLICT is for what both can miss, and names the key, so that SQLite refuses the statement where there is no unique index on it.
fn merge_new(stage: &Stage) -> Sql {
    let table = stage.table;
    let into = DIALECT.table(table);
    let columns = DIALECT.columns(table, stage.columns.iter().copied(), "");
    let key = DIALECT.columns(table, stage.key.columns.iter().copied(), "");
    let staged = staged_columns(stage, "");
    let staged_of_s = staged_columns(stage, "s.");
    let same_key = same_key(stage);
    let absent = format!("t.{}", DIALECT.name(table.columns[stage.key.columns[0]].name));
    let staged_key = staged_key(stage, "s.");
    format!(
        "INSERT INTO {into} ({columns}) SELECT {staged} FROM (\
         SELECT {staged_of_s}, min(s.\"n\") FROM {STAGE} AS s LEFT JOIN {into} AS t ON {same_key} \
         WHERE {absent} IS NULL GROUP BY {staged_key}) WHERE true ON CONFLICT ({key}) DO NOTHING"
    )
    .into()
}

/// Takes the write lock before anything is read: a deferred transaction that reads first cannot write after another has written.
fn take_write_lock(stage: &Stage) -> Sql {
    let column = DIALECT.name(stage.table.columns[stage.key.columns[0]].name);
    format!("UPDATE {} SET {column} = {column} WHERE false", DIALECT.table(stage.table)).into()
}

/// Marks the first staged row of each key that is not in the table.
fn mark_new(stage: &Stage) -> Sql {
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

/// The key is named for the same reason as in [`merge_new`].
fn insert_marked(stage: &Stage) -> Sql {
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM {STAGE} WHERE \"w\" = {MARK_CREATED} ORDER BY \"n\" ON CONFLICT ({}) DO NOTHING",
        DIALECT.table(stage.table),
        DIALECT.columns(stage.table, stage.columns.iter().copied(), ""),
        staged_columns(stage, ""),
        DIALECT.columns(stage.table, stage.key.columns.iter().copied(), ""),
    )
    .into()
}

/// Marks the last staged row of each key, where it has no mark yet.
fn mark_last(stage: &Stage, keys: &str, mark: u8) -> Sql {
    let key = staged_key(stage, "");
    format!(
        "UPDATE {STAGE} SET \"w\" = {mark} WHERE \"w\" = {MARK_NONE} AND \"n\" IN (\
         SELECT max(\"n\") FROM {STAGE} GROUP BY {key} HAVING {keys})"
    )
    .into()
}

fn update_marked(stage: &Stage) -> Option<Sql> {
    let set = stage.table.updatable(stage.key).map(|column| {
        format!("{} = s.\"c{}\"", DIALECT.name(stage.table.columns[column].name), stage.position(column))
    });
    let set = set.collect::<Vec<_>>().join(", ");
    let update = format!(
        "UPDATE {} AS t SET {set} FROM {STAGE} AS s WHERE s.\"w\" IN ({MARK_UPDATE}, {MARK_AGAIN}) AND {}",
        DIALECT.table(stage.table),
        same_key(stage)
    );
    (!set.is_empty()).then(|| update.into())
}

fn read_staged(stage: &Stage, which: Which) -> Sql {
    let columns = DIALECT.columns(stage.table, 0..stage.table.columns.len(), "t.");
    let found = format!("t.{}", DIALECT.name(stage.table.columns[stage.key.columns[0]].name));
    let only = match which {
        Which::All => String::new(),
        Which::Created => format!(" WHERE s.\"w\" = {MARK_CREATED}"),
    };
    format!(
        "SELECT {columns}, s.\"n\", {found} IS NOT NULL, s.\"w\" = {MARK_CREATED} \
         FROM {STAGE} AS s LEFT JOIN {} AS t ON {}{only} ORDER BY s.\"n\"",
        DIALECT.table(stage.table),
        same_key(stage)
    )
    .into()
}

/// The index is looked for in the statement itself: without it nothing may be written, and an UPDATE alone would not notice.
fn update_row(table: &Table, key: &Key, all: &str) -> Option<Sql> {
    let set: Vec<String> =
        table.updatable(key).map(|column| format!("{} = ?", DIALECT.name(table.columns[column].name))).collect();
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
        set.join(", "),
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

/// The table's column stands left, for the left side's collation decides.
fn same_key(stage: &Stage) -> String {
    let equal = |&column: &usize| {
        format!("t.{} = s.\"c{}\"", DIALECT.name(stage.table.columns[column].name), stage.position(column))
    };
    stage.key.columns.iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

fn staged_columns(stage: &Stage, prefix: &str) -> String {
    (0..stage.columns.len()).map(|position| format!("{prefix}\"c{position}\"")).collect::<Vec<_>>().join(", ")
}

fn staged_key(stage: &Stage, prefix: &str) -> String {
    stage.key_positions().map(|position| format!("{prefix}\"c{position}\"")).collect::<Vec<_>>().join(", ")
}
