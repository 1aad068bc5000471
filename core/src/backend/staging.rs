//! The steps of a bulk call, and the plan that they share.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    connection::link::Link,
    connection::scope::CallScope,
    driver::encoding::Encoding,
    driver::raw::Raw,
    feed::RowFeed,
    feed::source::Failure,
    outcome::{CallFuture, SqlFuture},
    sql::table::{Key, Table},
    sql::text::Sql,
};

/// The steps of a bulk call.
///
/// The operation holds their order.
pub trait Staging: Encoding {
    /// Notes that the steps of a bulk call leave each other.
    ///
    /// They are kept on its [`StagingPlan`].
    type StageState: Default + Send + Sync;

    /// The column of an explained plan that has its text.
    const PLAN_COLUMN: usize = 0;

    /// Creates the rows of a short feed without a staging table.
    ///
    /// Returns how many it created. `None`, with the feed left whole, if they have to be staged.
    fn insert_few<'l>(
        scope: &'l mut CallScope<'_, Self>,
        stage: &'l StagingPlan<Self>,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> CallFuture<'l, Option<u64>, Failure>;

    /// Looks for the key's unique index and makes the staging table.
    fn open_stage<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan<Self>) -> SqlFuture<'l, ()>;

    /// Sends all rows of the feed to the staging table.
    fn fill_stage<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
        feed: &'l mut RowFeed<'_, Self>,
    ) -> CallFuture<'l, (), Failure>;

    /// Returns true if [`merge_new`](Self::merge_new) is atomic without a transaction around it.
    fn merges_whole<'l>(_link: &'l mut Link<'_, Self>, _stage: &'l StagingPlan<Self>) -> SqlFuture<'l, bool> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Inserts the staged rows whose key is new, and counts them.
    ///
    /// It is the fast way where nobody asks which rows they were.
    fn merge_new<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan<Self>) -> SqlFuture<'l, u64>;

    /// Inserts the staged rows whose key is new, and marks them.
    ///
    /// Returns how many it inserted.
    fn merge_marked<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan<Self>) -> SqlFuture<'l, u64>;

    /// Updates the rows that were there before [`merge_marked`](Self::merge_marked), and counts them.
    ///
    /// They get the values of the last staged row with their key. A row that the merge has made gets the values of a later staged row with
    /// its key, and is not counted. Where a row was deleted after the merge had found it, the error is [`sqlx::Error::RowNotFound`].
    fn update_existing<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan<Self>) -> SqlFuture<'l, u64>;

    /// Reads the table's row for each staged row, in order.
    ///
    /// The order is that in which they were staged. Its [`Mark`] comes after the model's columns.
    fn read_staged<'l>(
        link: &'l mut Link<'_, Self>,
        stage: &'l StagingPlan<Self>,
        which: Which,
    ) -> SqlFuture<'l, Vec<Self::Row>>;

    /// Returns the merge whose plan decides how long it takes, and what explains it.
    fn explain_merge(stage: &StagingPlan<Self>) -> (Sql, Sql);

    /// Drops the staging table.
    fn close_stage<'l>(link: &'l mut Link<'_, Self>, stage: &'l StagingPlan<Self>) -> SqlFuture<'l, ()>;
}

/// The plan of a staging table: its target, key and columns.
pub struct StagingPlan<DB: Staging> {
    pub(crate) table: &'static Table,
    pub(crate) key: &'static Key,
    /// Indexes of the staged columns in the table.
    pub(crate) columns: Vec<usize>,
    /// The types of the staged columns.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        allow(dead_code, reason = "MySQL asks its own table")
    )]
    pub(crate) types: Vec<DB::TypeInfo>,
    /// True if the merge marks the staged rows that it makes.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "elsewhere marks are rows of their own"))]
    pub(crate) marks: bool,
    /// The number of staged rows.
    rows: AtomicU64,
    /// Notes that one step of a call leaves for the next.
    pub(crate) notes: DB::StageState,
}

impl<DB: Staging> StagingPlan<DB> {
    /// Plans a staging table for the supplied columns of its target.
    ///
    /// `types` are those of all columns of the target.
    pub(crate) fn new(table: &'static Table, key: &'static Key, types: Vec<DB::TypeInfo>, marks: bool) -> Self {
        let columns: Vec<usize> = table.supplied().collect();
        let types = types.into_iter().enumerate().filter(|(column, _)| columns.contains(column)).map(|(_, kind)| kind);
        Self {
            table,
            key,
            types: types.collect(),
            columns,
            marks,
            rows: AtomicU64::new(0),
            notes: DB::StageState::default(),
        }
    }

    pub(crate) fn note_rows(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    /// Returns the number of staged rows.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        allow(dead_code, reason = "MySQL merges any number in one way")
    )]
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Returns the position of a table's column among the staged ones.
    pub(crate) fn position(&self, column: usize) -> usize {
        self.columns.iter().position(|staged| *staged == column).unwrap_or_default()
    }

    /// Returns the positions of the key's columns among the staged ones.
    pub(crate) fn key_positions(&self) -> impl Iterator<Item = usize> {
        self.key.columns.iter().map(|&column| self.position(column))
    }
}

/// The choice of staged rows to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    Created,
}

/// The number and state of a row that was read.
///
/// It stands behind the model's columns in a row that was read for a staged row or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The number of the staged row or key.
    pub(crate) number: i64,
    /// True if there is such a row in the table.
    pub(crate) found: bool,
    /// True if this staged row made it.
    pub(crate) created: bool,
}

impl Mark {
    /// Reads the mark after the model's columns.
    pub(crate) fn read<DB: Raw>(row: &DB::Row) -> Result<Self, sqlx::Error> {
        let behind = sqlx::Row::len(row).saturating_sub(3);
        Ok(Self {
            number: DB::number(row, behind)?,
            found: DB::flag(row, behind + 1)?,
            created: DB::flag(row, behind + 2)?,
        })
    }
}
