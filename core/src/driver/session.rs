//! How a database's sessions and transactions behave.

use crate::{driver::isolation::Isolation, sql::text::Sql};

/// The place where an isolation level is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each database needs one of them")]
pub(crate) enum IsolationClause {
    /// There is one level only.
    Nowhere,
    /// In the BEGIN itself.
    InBegin,
    /// In a statement before it, for the next transaction only.
    BeforeBegin,
}

/// The texts of transactions, and what a dropped call leaves behind.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub struct Sessions {
    /// Begins a transaction that will write.
    pub(crate) begin: &'static str,
    /// Begins a transaction that only reads.
    pub(crate) begin_read_only: &'static str,
    /// The place where an isolation level is said.
    pub(crate) isolation: IsolationClause,
    /// Begins a transaction that fills a staging table first.
    ///
    /// It takes no lock on the target meanwhile.
    pub(crate) begin_staging: &'static str,
    /// True if a pooled call stages in its merge's transaction.
    ///
    /// Then a pooler in between may give that transaction any connection to the server.
    pub(crate) stages_in_transaction: bool,
    /// The isolation of a merge's own transaction.
    pub(crate) merge_isolation: Option<Isolation>,
    /// The isolation of a batch's transaction, unless the caller sets it.
    pub(crate) batch_isolation: Option<Isolation>,
    /// True if a connection with unfinished work has to be closed.
    ///
    /// Its work was given up half-way. Elsewhere it is rolled back.
    pub(crate) close_unfinished: bool,
    /// True if an unanswered statement makes its connection unusable.
    ///
    /// It was given up before its answer: driver and server are in the middle of their talk then.
    pub(crate) broken_when_given_up: bool,
    /// True if a savepoint outside a transaction begins one.
    pub(crate) savepoint_begins: bool,
    /// Removes a staging table that outlives a rollback.
    pub(crate) drop_stage: Option<&'static str>,
    /// True if that table has to go before the rollback, on a borrowed connection.
    pub(crate) drop_stage_first: bool,
}

impl Sessions {
    /// Returns the statement that begins a transaction.
    ///
    /// Before it comes the one that has to run first, where BEGIN cannot say all.
    pub(crate) fn begin_with(&self, isolation: Option<Isolation>, read_only: bool) -> (Option<Sql>, Sql) {
        let begin = if read_only { self.begin_read_only } else { self.begin };
        match (self.isolation, isolation.map(Isolation::name)) {
            (IsolationClause::BeforeBegin, Some(level)) => {
                (Some(format!("SET TRANSACTION ISOLATION LEVEL {level}").into()), begin.into())
            }
            (IsolationClause::InBegin, Some(level)) => {
                let with_level = format!("{} ISOLATION LEVEL {level}", self.begin);
                (None, begin.replacen(self.begin, &with_level, 1).into())
            }
            _ => (None, begin.into()),
        }
    }
}

/// Statements that end a transaction, by their first word in capitals.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "each database needs one of them")]
pub enum Enders {
    /// These and no others.
    Only(&'static [&'static str]),
    /// All that begin with none of `keep`.
    ///
    /// Those of `commit` are named where they ended it.
    AllBut { keep: &'static [&'static str], commit: &'static [&'static str] },
}
