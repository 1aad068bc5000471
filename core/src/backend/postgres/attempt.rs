//! One statement that may fail.

use sqlx::Connection as _;
use sqlx_core::transaction::TransactionManager as _;

use crate::{backend::Backend, handle::Link, testing};

/// A statement that may fail without ending the transaction around it: a savepoint, where there is one that the driver knows of.
pub(super) struct Attempt<'l, 'c, DB: Backend> {
    link: &'l mut Link<'c, DB>,
    saved: bool,
}

impl<'l, 'c, DB: Backend> Attempt<'l, 'c, DB> {
    pub(super) async fn begin(link: &'l mut Link<'c, DB>) -> Result<Self, sqlx::Error> {
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
                testing::record("SAVEPOINT");
                DB::TransactionManager::begin(conn, None).await?;
                true
            }
            Link::Bare(_) | Link::Pooled(_) => false,
        };
        Ok(Self { link, saved })
    }

    pub(super) fn link(&mut self) -> &mut Link<'c, DB> {
        self.link
    }

    /// Keeps what was done or undoes it, as it came out.
    pub(super) async fn end<T>(mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let ended = match &mut *self.link {
            Link::Inside(conn) if outcome.is_ok() => conn.release_savepoint().await,
            Link::Inside(conn) => conn.rollback_savepoint().await,
            Link::Bare(conn) if self.saved => {
                testing::record(if outcome.is_ok() { "RELEASE SAVEPOINT" } else { "ROLLBACK TO SAVEPOINT" });
                if outcome.is_ok() {
                    DB::TransactionManager::commit(conn).await
                } else {
                    DB::TransactionManager::rollback(conn).await
                }
            }
            Link::Bare(_) | Link::Pooled(_) => Ok(()),
        };
        if ended.is_ok() {
            self.saved = false;
            self.link.set_unfinished(false);
        }
        outcome.and_then(|value| ended.map(|()| value))
    }
}

/// An attempt that was given up half-way. Left marked as unfinished, a transaction of ours refuses its next statement.
impl<DB: Backend> Drop for Attempt<'_, '_, DB> {
    fn drop(&mut self) {
        if let (true, Link::Bare(conn)) = (self.saved, &mut *self.link) {
            DB::TransactionManager::start_rollback(conn);
        }
    }
}
