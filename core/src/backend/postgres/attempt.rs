//! One statement that may fail.

use sqlx::{Connection as _, Database, Postgres};
use sqlx_core::transaction::TransactionManager as _;

use super::nested;
use crate::{handle::Link, testing};

type Transactions = <Postgres as Database>::TransactionManager;

/// A statement that may fail without ending the transaction around it: a savepoint, where there is one that the driver knows of.
pub(super) struct Attempt<'l, 'c> {
    link: &'l mut Link<'c, Postgres>,
    saved: bool,
}

impl<'l, 'c> Attempt<'l, 'c> {
    pub(super) async fn begin(link: &'l mut Link<'c, Postgres>) -> Result<Self, sqlx::Error> {
        let saved = match link {
            Link::Inside(conn) => {
                conn.set_unfinished(true);
                if let Err(error) = conn.begin_savepoint().await {
                    conn.set_unfinished(false);
                    return Err(error);
                }
                true
            }
            Link::Bare(conn) if conn.is_in_transaction() => {
                nested::begin(conn).await?;
                true
            }
            Link::Bare(_) | Link::Pooled(..) => false,
        };
        Ok(Self { link, saved })
    }

    pub(super) fn link(&mut self) -> &mut Link<'c, Postgres> {
        self.link
    }

    /// Keeps what was done or undoes it, as it came out.
    pub(super) async fn end<T>(mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let ended = if self.saved { self.end_savepoint(outcome.is_ok()).await } else { Ok(()) };
        outcome.and_then(|value| ended.map(|()| value))
    }

    async fn end_savepoint(&mut self, keep: bool) -> Result<(), sqlx::Error> {
        match &mut *self.link {
            Link::Inside(conn) => {
                if keep {
                    conn.release_savepoint().await?;
                } else {
                    conn.rollback_savepoint().await?;
                }
                conn.set_unfinished(false);
            }
            Link::Bare(conn) => {
                testing::record(if keep { "RELEASE SAVEPOINT" } else { "ROLLBACK TO SAVEPOINT" });
                if keep {
                    Transactions::commit(conn).await?;
                } else {
                    Transactions::rollback(conn).await?;
                }
                self.saved = false;
                nested::clean(conn, !keep).await?;
            }
            Link::Pooled(..) => {}
        }
        Ok(())
    }
}

/// An attempt that was given up half-way. Left marked as unfinished, a transaction of ours refuses its next statement.
impl Drop for Attempt<'_, '_> {
    fn drop(&mut self) {
        if let (true, Link::Bare(conn)) = (self.saved, &mut *self.link) {
            Transactions::start_rollback(conn);
        }
    }
}
