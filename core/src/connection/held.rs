//! Transactions and savepoints that a call has begun.

use sqlx_core::transaction::TransactionManager as _;

use crate::{connection::link::Link, driver::Driver, sql::statement::Statement, sql::text::Sql, trace::statement_log};

/// A transaction or savepoint that has to be kept or undone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    #[default]
    Nothing,
    /// A savepoint of the driver's counting.
    Savepoint,
    /// A savepoint with this name, in a transaction that was begun with plain SQL.
    ///
    /// The driver knows nothing of that transaction.
    PlainSavepoint(&'static str),
    /// A transaction of the call's own.
    Transaction,
}

impl Held {
    /// Sets a savepoint in the transaction that is open.
    pub(super) async fn set_savepoint<DB: Driver>(&mut self, link: &mut Link<'_, DB>) -> Result<(), sqlx::Error> {
        match link {
            Link::Inside(conn) => {
                conn.set_unfinished(true);
                if let Err(error) = conn.begin_savepoint().await {
                    conn.set_unfinished(false);
                    return Err(error);
                }
            }
            Link::Bare(conn) => DB::begin_nested(conn).await?,
            Link::Pooled(conn, _) => {
                statement_log::record("SAVEPOINT");
                DB::TransactionManager::begin(conn, None).await?;
            }
        }
        *self = Self::Savepoint;
        Ok(())
    }

    /// Sets a savepoint if a transaction of plain SQL is open, and returns whether it did.
    pub(super) async fn save_if_open<DB: Driver>(
        &mut self,
        conn: &mut DB::Connection,
        name: &'static str,
    ) -> Result<bool, sqlx::Error> {
        // Set before it is done where that does no harm, so that a call dropped in between undoes it.
        if DB::SESSIONS.savepoint_begins {
            *self = Self::PlainSavepoint(name);
        }
        let is_open = DB::save_if_open(conn, name).await?;
        *self = if is_open { Self::PlainSavepoint(name) } else { Self::Nothing };
        Ok(is_open)
    }

    /// Begins a transaction.
    pub(super) async fn begin<DB: Driver>(&mut self, conn: &mut DB::Connection, text: &Sql) -> Result<(), sqlx::Error> {
        statement_log::record(text.as_str().split(';').next().unwrap_or_default());
        *self = Self::Transaction;
        let begun = DB::TransactionManager::begin(conn, Some(text.text())).await;
        if begun.is_err() && !DB::SESSIONS.close_unfinished {
            *self = Self::Nothing;
        }
        begun
    }

    /// Keeps what was done, or undoes it.
    pub(super) async fn end<DB: Driver>(&mut self, link: &mut Link<'_, DB>, keep: bool) -> Result<(), sqlx::Error> {
        match (*self, &mut *link) {
            (Self::Nothing, _) => {}
            (Self::Savepoint, Link::Inside(conn)) if keep => conn.release_savepoint().await?,
            (Self::Savepoint, Link::Inside(conn)) => conn.rollback_savepoint().await?,
            (Self::PlainSavepoint(name), link) => {
                if !keep {
                    link.execute(Statement::plain(&format!("ROLLBACK TO SAVEPOINT {name}").into())).await?;
                }
                // Dropped here, it keeps a savepoint at worst: a rollback to one that is released would fail.
                *self = Self::Nothing;
                link.execute(Statement::plain(&format!("RELEASE SAVEPOINT {name}").into())).await?;
            }
            (held @ (Self::Savepoint | Self::Transaction), link) => {
                statement_log::record(match (held, keep) {
                    (Self::Transaction, true) => "COMMIT",
                    (Self::Transaction, false) => "ROLLBACK",
                    (_, true) => "RELEASE SAVEPOINT",
                    (_, false) => "ROLLBACK TO SAVEPOINT",
                });
                if keep {
                    DB::TransactionManager::commit(link.raw()).await?;
                } else {
                    DB::TransactionManager::rollback(link.raw()).await?;
                }
                *self = Self::Nothing;
                if let (Self::Savepoint, Link::Bare(conn)) = (held, link) {
                    DB::clean_nested(conn, !keep).await?;
                }
            }
        }
        *self = Self::Nothing;
        Ok(())
    }
}
