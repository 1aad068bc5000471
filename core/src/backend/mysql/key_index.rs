//! The catalogue's view of a key: its unique index.

use std::sync::{Mutex, PoisonError};

use sqlx::{MySql, Row as _};

use crate::{
    backend::mysql::dialect::{CHUNK_BYTES, COMMITS_ITSELF, DIALECT, NO_LIMIT, StagingPlan, place_of, text},
    backend::mysql::key_order::Order,
    connection::link::Link,
    error::finding::Finding,
    error::mysql::names_index,
    sql::statement::Statement,
    sql::table::{Key, Table},
    sql::text::Sql,
};

/// The session's unusual settings that change what a merge gives.
///
/// They come as settings under which it does not change. Settings that every session has by default are left out.
const STEADY: &str = "CAST(CONCAT_WS(',', IF(@@unique_checks, NULL, 'unique_checks=1'), IF(@@sql_safe_updates, 'sql_safe_updates=0', NULL), \
    IF(@@sql_auto_is_null, 'sql_auto_is_null=0', NULL)) AS CHAR)";

/// The session's mode, if an INSERT changes what does not fit.
const LENIENT: &str = "CAST(IF(@@sql_mode LIKE '%STRICT%', '', CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')) AS CHAR)";

/// True if the server makes tables of one engine only.
const ENFORCED: &str = "/*M!100500 @@enforce_storage_engine IS NOT NULL OR */ FALSE";

/// True if the index is ignored (MariaDB) or invisible (MySQL).
///
/// It keeps its key unique all the same, and a query that is told to use it fails.
const IGNORED: &str = "MAX(/*!80000 s.is_visible = 'NO' OR */ /*M!100600 s.ignored = 'YES' OR */ FALSE)";

/// True if a few rows go without a staging table.
///
/// It was never tried on MySQL.
const MAKES_FEW: &str = "VERSION() LIKE '%MariaDB%'";

/// True if a statement commits itself and refuses unfit values.
///
/// Staging refuses keys in the same way.
pub(super) const REFUSES: &str =
    "(@@autocommit AND @@completion_type <> 'CHAIN' AND @@unique_checks AND @@sql_mode LIKE '%STRICT%')";

/// The answer to the question for the key's unique index.
#[allow(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub struct Found {
    /// The name of the key's unique index.
    pub(super) index: String,
    /// True if a query may be told to use it.
    pub(super) usable: bool,
    /// The most bytes that one statement can carry.
    pub(super) packet: usize,
    /// True if the server creates a few rows without staging.
    ///
    /// They come out as they would from a staging table.
    pub(super) makes_few: bool,
    /// Settings that undo what the session changes for the merge.
    ///
    /// Each has a value. Under them the merge gives what it gives by default. Empty if the session has them.
    pub(super) steady: String,
    /// True if a trigger runs for each row that is made.
    ///
    /// It may store the row with another key.
    pub(super) triggers: bool,
    /// True if a staging table must be of InnoDB.
    pub(super) innodb_only: bool,
    /// The session's mode, if it lets INSERT change values.
    ///
    /// An INSERT changes what does not fit then.
    pub(super) lenient: Option<String>,
    /// The order of the staged rows' keys, if known.
    ///
    /// It is how the keys stand to each other, as far as the client can tell.
    order: Mutex<Order>,
}

impl Found {
    pub(super) fn order(&self) -> Order {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the order of the keys, and returns the old one.
    pub(super) fn note_order(&self, order: Order) -> Order {
        std::mem::replace(&mut *self.order.lock().unwrap_or_else(PoisonError::into_inner), order)
    }
}

/// Looks for the key's unique index, once in a call.
pub(super) async fn find<'s>(
    link: &mut Link<'_, MySql>,
    stage: &'s StagingPlan,
) -> Result<Option<&'s Found>, sqlx::Error> {
    if stage.notes.get().is_none() {
        let index = link.fetch(Statement::plain(&ask_index(stage))).await?;
        let Some(row) = index.first() else { return Ok(None) };
        let packet: i64 = row.try_get(1)?;
        link.note_session(row, row.len() - 4);
        if matches!(link, Link::Pooled(..)) && row.try_get(5)? {
            let why = "this session has completion_type = RELEASE, with which each COMMIT ends the connection and with it the staged rows; set it to NO_CHAIN";
            return Err(Finding::Refused(why).into());
        }
        let (steady, lenient): (String, String) = (row.try_get(6)?, row.try_get(7)?);
        let triggers: bool = row.try_get(9).unwrap_or_default();
        stage.notes.get_or_init(|| Found {
            index: row.try_get(0).unwrap_or_default(),
            usable: !row.try_get::<bool, _>(2).unwrap_or_default(),
            packet: usize::try_from(packet).unwrap_or(CHUNK_BYTES),
            makes_few: !triggers && row.try_get(3).unwrap_or_default(),
            steady,
            triggers,
            innodb_only: row.try_get(8).unwrap_or_default(),
            lenient: Some(lenient).filter(|mode| !mode.is_empty()),
            order: Mutex::default(),
        });
    }
    Ok(stage.notes.get())
}

/// Selects `what` for each unique index on exactly the key's columns.
///
/// An index on the first characters of a column is none.
pub(super) fn unique_index(table: &Table, key: &Key, what: &str) -> String {
    let width = key.columns.len();
    let names = key.columns.iter().map(|&column| text(table.columns[column].name)).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT {what} FROM information_schema.statistics AS s WHERE s.table_schema = {} AND s.table_name = {} \
         AND s.non_unique = 0 GROUP BY s.index_name \
         HAVING COUNT(*) = {width} AND SUM(s.column_name IN ({names}) AND s.sub_part IS NULL) = {width}",
        table.schema.map_or_else(|| "DATABASE()".to_owned(), text),
        text(table.name),
    )
}

/// Tests if a unique violation names an index on the key.
pub(super) async fn blames_key(
    link: &mut Link<'_, MySql>,
    table: &Table,
    key: &Key,
    error: &sqlx::Error,
) -> Result<bool, sqlx::Error> {
    let names = Sql::from(format!("{} {NO_LIMIT}", unique_index(table, key, "CAST(s.index_name AS CHAR)")));
    for row in link.fetch(Statement::plain(&names)).await? {
        if names_index(error, row.try_get(0)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads nothing; fails if the table or a column is missing.
pub(super) fn ask_table(table: &Table) -> Sql {
    let all = DIALECT.columns(table, 0..table.columns.len(), "");
    format!("SELECT {all} FROM {} WHERE FALSE", DIALECT.table(table)).into()
}

/// Selects the key's unique index and the settings of the session.
///
/// These are the index's name, how large a statement may be, whether the index is ignored, whether a few rows go without a staging table
/// where no trigger runs, and whether a statement commits itself. Of several indexes it takes the best: MariaDB finds no rows by one on
/// long texts, which is one of their hashes. To look for triggers takes half as long as all the rest, so it is done once.
pub(super) fn ask_index(stage: &StagingPlan) -> Sql {
    let (schema, name) = place_of(stage.table);
    let triggers = format!(
        "EXISTS (SELECT 1 FROM information_schema.triggers AS tr WHERE tr.event_object_schema = {schema} AND tr.event_object_table = {name} \
         AND tr.event_manipulation = 'INSERT')"
    );
    let what = format!(
        "s.index_name, CAST(@@max_allowed_packet AS SIGNED), {IGNORED} AS ignored_index, {MAKES_FEW} AND {REFUSES}, {COMMITS_ITSELF}, \
         @@completion_type = 'RELEASE', {STEADY}, {LENIENT}, {ENFORCED}, {triggers}"
    );
    let best = "ORDER BY ignored_index, MAX(s.index_type = 'HASH'), s.index_name LIMIT 1";
    format!("{} {best}", unique_index(stage.table, stage.key, &what)).into()
}
