//! Statements that may fail, or that have to reach one server.

use sqlx::{Connection as _, Database, Postgres, SqlSafeStr as _};
use sqlx_core::transaction::TransactionManager as _;

use super::session;
use crate::{
    backend::Engine as _,
    connection::handle::Link,
    sql::{Sql, Statement},
    testing,
};

type Transactions = <Postgres as Database>::TransactionManager;

/// Holds statements together that may fail or need one server.
///
/// They may fail without ending the transaction around them, or run in one where there is none.
pub(super) struct Attempt<'l, 'c> {
    link: &'l mut Link<'c, Postgres>,
    hold: Hold,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// There is nothing to keep or to undo.
    Nothing,
    /// A savepoint that the driver counts.
    Savepoint,
    /// A savepoint in a transaction begun with plain SQL.
    PlainSavepoint,
    /// A transaction of its own.
    Transaction,
}

/// The savepoint in a transaction begun with plain SQL.
const SAVEPOINT: &str = "upsertable_hold";

impl<'l, 'c> Attempt<'l, 'c> {
    /// Sets a savepoint where the driver knows of a transaction.
    pub(super) async fn begin(link: &'l mut Link<'c, Postgres>) -> Result<Self, sqlx::Error> {
        if let Link::Inside(conn) = link {
            conn.set_unfinished(true);
            if let Err(error) = conn.begin_savepoint().await {
                conn.set_unfinished(false);
                return Err(error);
            }
        } else if link.raw().is_in_transaction() {
            session::begin(link.raw()).await?;
        } else {
            return Ok(Self { link, hold: Hold::Nothing });
        }
        Ok(Self { link, hold: Hold::Savepoint })
    }

    /// Begins a transaction where none is open.
    ///
    /// A pooler in transaction mode gives each statement outside one to any server, and the driver sends one that is not kept prepared in
    /// two parts.
    pub(super) async fn pinned(link: &'l mut Link<'c, Postgres>) -> Result<Self, sqlx::Error> {
        let mut held = Self { link, hold: Hold::Nothing };
        if matches!(held.link, Link::Inside(_)) || held.link.raw().is_in_transaction() {
            return Ok(held);
        }
        if let Link::Bare(conn) = &mut *held.link
            && Postgres::save_if_open(conn, SAVEPOINT).await?
        {
            held.hold = Hold::PlainSavepoint;
            return Ok(held);
        }
        testing::record(Postgres::BEGIN);
        held.hold = Hold::Transaction;
        Transactions::begin(held.link.raw(), Some(Postgres::BEGIN.into_sql_str())).await?;
        Ok(held)
    }

    pub(super) fn link(&mut self) -> &mut Link<'c, Postgres> {
        self.link
    }

    /// Keeps what was done or undoes it, by its outcome.
    pub(super) async fn end<T>(mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let ended = self.release(outcome.is_ok()).await;
        outcome.and_then(|value| ended.map(|()| value))
    }

    async fn release(&mut self, keep: bool) -> Result<(), sqlx::Error> {
        match (self.hold, &mut *self.link) {
            (Hold::Savepoint, Link::Inside(conn)) => {
                if keep {
                    conn.release_savepoint().await?;
                } else {
                    conn.rollback_savepoint().await?;
                }
                conn.set_unfinished(false);
            }
            (Hold::Savepoint, link) => {
                testing::record(if keep { "RELEASE SAVEPOINT" } else { "ROLLBACK TO SAVEPOINT" });
                if keep {
                    Transactions::commit(link.raw()).await?;
                } else {
                    Transactions::rollback(link.raw()).await?;
                }
                self.hold = Hold::Nothing;
                session::clean(self.link.raw(), !keep).await?;
            }
            (Hold::PlainSavepoint, link) => {
                let undo = if keep { String::new() } else { format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}; ") };
                let release = Sql::from(format!("{undo}RELEASE SAVEPOINT {SAVEPOINT}"));
                link.execute(Statement::plain(&release)).await?;
            }
            (Hold::Transaction, link) => {
                testing::record(if keep { "COMMIT" } else { "ROLLBACK" });
                if keep {
                    Transactions::commit(link.raw()).await?;
                } else {
                    Transactions::rollback(link.raw()).await?;
                }
            }
            (Hold::Nothing, _) => {}
        }
        self.hold = Hold::Nothing;
        Ok(())
    }
}

/// Undoes what was given up half-way.
///
/// Left marked as unfinished, a transaction of ours refuses its next statement.
impl Drop for Attempt<'_, '_> {
    fn drop(&mut self) {
        match (self.hold, &mut *self.link) {
            (Hold::Savepoint, Link::Bare(conn)) => Transactions::start_rollback(conn),
            (Hold::Transaction, Link::Bare(conn)) => session::queue_rollback(conn, 1),
            (Hold::Savepoint | Hold::Transaction, Link::Pooled(conn, _)) => conn.close_on_drop(),
            _ => {}
        }
    }
}
