//! A bulk call's hold on its connection.

use sqlx::{Connection as _, Pool, SqlSafeStr as _};
use sqlx_core::transaction::TransactionManager as _;

use crate::{
    Error,
    backend::{Backend, Begin},
    connection::handle::{Link, Session},
    sql::{Sql, Statement},
    testing,
};

/// A bulk call's hold on its connection.
///
/// All that runs between [`begin`](Self::begin) and [`commit`](Self::commit) is kept whole or not at all. Dropped before, it leaves nothing
/// behind: see [`Drop`].
pub struct CallScope<'c, DB: Backend> {
    link: Option<Link<'c, DB>>,
    scope: Scope,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Nothing is there yet that would have to be undone.
    Idle,
    /// Outside any transaction: staging happens here.
    Staging,
    /// In the transaction of the merge.
    Own,
    /// In a transaction around all that is the call's own.
    Begun,
    /// In a savepoint of that transaction, which undoes the merge alone.
    Merging,
    /// A savepoint that sqlx counts.
    Counted,
    /// A savepoint in a transaction begun with plain SQL.
    ///
    /// sqlx knows nothing of that transaction.
    Plain,
    /// Kept or undone.
    Done,
}

/// A call's savepoint in a transaction begun with plain SQL.
pub(crate) const PLAIN_SAVEPOINT: &str = "upsertable_call";

impl<'c, DB: Backend> CallScope<'c, DB> {
    /// Begins the scope of a call.
    ///
    /// On a pool, it takes a connection. Elsewhere it sets a savepoint, or begins a transaction where none is open.
    pub(crate) async fn begin(session: &'c mut Session<'_, DB>) -> Result<Self, Error> {
        let mut unit = Self { link: Some(session.link().await?), scope: Scope::Idle };
        match unit.link.as_mut() {
            Some(Link::Bare(conn)) => begin_bare::<DB>(conn, &mut unit.scope).await?,
            Some(Link::Inside(conn)) => {
                conn.set_unfinished(true);
                unit.scope = Scope::Counted;
                if let Err(error) = conn.begin_savepoint().await {
                    conn.set_unfinished(false);
                    return Err(error.into());
                }
            }
            Some(Link::Pooled(..)) | None => {}
        }
        Ok(unit)
    }

    pub(crate) fn link(&mut self) -> Result<&mut Link<'c, DB>, Error> {
        self.link.as_mut().ok_or_else(|| Error::Sql(sqlx::Error::WorkerCrashed))
    }

    /// Drops the staging table with this scope from now on.
    pub(crate) fn drop_stage_on_drop(&mut self) {
        if self.scope == Scope::Idle {
            self.scope = Scope::Staging;
        }
    }

    /// Begins a pooled call's transaction, if the database stages inside one.
    pub(crate) async fn begin_transaction(&mut self) -> Result<(), Error> {
        if DB::STAGES_IN_TRANSACTION && matches!(self.scope, Scope::Idle | Scope::Staging) {
            let link = self.link.as_mut().ok_or_else(|| Error::Sql(sqlx::Error::WorkerCrashed))?;
            match begin_whole::<DB>(link.raw(), &mut self.scope).await {
                // Somebody has given the connection back in the middle of a transaction of plain SQL. It is closed, which undoes that.
                Err(error) if error.as_sql().is_some_and(DB::is_begun_already) => {
                    if let Link::Pooled(conn, pool) = link {
                        conn.close_on_drop();
                        let pool: &Pool<DB> = pool;
                        self.scope = Scope::Idle;
                        self.link = None;
                        let link = self.link.insert(Link::Pooled(pool.acquire().await?, pool));
                        begin_whole::<DB>(link.raw(), &mut self.scope).await?;
                    }
                }
                begun => begun?,
            }
        }
        Ok(())
    }

    /// Returns true if the merge's transaction is the call's own.
    ///
    /// The merge may then be done again.
    pub(crate) fn is_own(&self) -> bool {
        match self.scope {
            Scope::Staging | Scope::Own | Scope::Merging => true,
            Scope::Begun => DB::STAGES_IN_TRANSACTION,
            Scope::Idle | Scope::Counted | Scope::Plain | Scope::Done => false,
        }
    }

    /// Begins the merge's transaction, or sets its savepoint.
    ///
    /// That is where the transaction is the call's own. Elsewhere it is the caller's.
    pub(crate) async fn begin_merge(&mut self) -> Result<(), Error> {
        if self.scope == Scope::Begun && DB::STAGES_IN_TRANSACTION {
            let Some(Link::Bare(conn)) = &mut self.link else {
                testing::record("SAVEPOINT");
                self.scope = Scope::Merging;
                return Ok(DB::TransactionManager::begin(self.link()?.raw(), None).await?);
            };
            DB::begin_nested(conn).await?;
            self.scope = Scope::Merging;
            return Ok(());
        }
        if self.scope != Scope::Staging {
            return Ok(());
        }
        let Begin { before, begin } = DB::begin_merge();
        if let Some(before) = before {
            self.link()?.prepare_begin(&before).await?;
        }
        testing::record(begin.as_str());
        self.scope = Scope::Own;
        DB::TransactionManager::begin(self.link()?.raw(), Some(begin.text())).await?;
        Ok(())
    }

    /// Keeps the merge; what is staged is still there.
    pub(crate) async fn commit_merge(&mut self) -> Result<(), Error> {
        let Some((around, keep, _)) = self.merge_scope() else { return Ok(()) };
        testing::record(keep);
        DB::TransactionManager::commit(self.link()?.raw()).await?;
        self.end_merge(around, false).await
    }

    /// Undoes a merge that failed.
    ///
    /// It can be run again from what is staged.
    pub(crate) async fn rollback_merge(&mut self) -> Result<(), Error> {
        let Some((around, _, undo)) = self.merge_scope() else { return Ok(()) };
        testing::record(undo);
        DB::TransactionManager::rollback(self.link()?.raw()).await?;
        self.end_merge(around, true).await
    }

    async fn end_merge(&mut self, around: Scope, rolled_back: bool) -> Result<(), Error> {
        let was_savepoint = std::mem::replace(&mut self.scope, around) == Scope::Merging;
        if let (true, Some(Link::Bare(conn))) = (was_savepoint, &mut self.link) {
            DB::clean_nested(conn, rolled_back).await?;
        }
        Ok(())
    }

    /// The scope around an open merge, and its closing words.
    ///
    /// The words are those that keep and undo the merge. `None` where no merge is under way that can be undone alone.
    fn merge_scope(&self) -> Option<(Scope, &'static str, &'static str)> {
        match self.scope {
            Scope::Own => Some((Scope::Staging, "COMMIT", "ROLLBACK")),
            Scope::Merging => Some((Scope::Begun, "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")),
            _ => None,
        }
    }

    /// Commits the scope.
    ///
    /// The work is kept as far as the transaction around it is.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        match (self.scope, &mut self.link) {
            (Scope::Begun, Some(link)) => {
                testing::record("COMMIT");
                if let Err(error) = DB::TransactionManager::commit(link.raw()).await {
                    self.rollback().await;
                    return Err(error.into());
                }
                self.scope = Scope::Done;
            }
            (Scope::Counted, Some(Link::Bare(conn))) => {
                testing::record("RELEASE SAVEPOINT");
                DB::TransactionManager::commit(conn).await?;
                self.scope = Scope::Done;
                DB::clean_nested(conn, false).await?;
            }
            // Dropped half-way, it keeps a savepoint at worst: a rollback to one that is released would fail.
            (Scope::Plain, Some(link)) => {
                self.scope = Scope::Done;
                plainly(link, "RELEASE SAVEPOINT").await?;
            }
            (Scope::Counted, Some(Link::Inside(conn))) => conn.release_savepoint().await?,
            (_, Some(link)) => link.end_implicit_transaction(Ok::<(), Error>(())).await?,
            _ => {}
        }
        self.finish();
        Ok(())
    }

    /// Undoes all that the call has done.
    ///
    /// What fails here is told by the next use of the connection; a pooled one is closed then.
    pub(crate) async fn rollback(mut self) {
        match self.undo().await {
            Ok(()) => self.finish(),
            Err(error) => tracing::debug!(%error, "a failed call could not be rolled back"),
        }
    }

    async fn undo(&mut self) -> Result<(), Error> {
        // The clean-up succeeds, and must not hide from a `transaction` that the call has lost.
        let lost = matches!(&self.link, Some(Link::Inside(conn)) if conn.lost());
        let undone = self.undo_scope().await;
        if let (true, Some(Link::Inside(conn))) = (lost, &mut self.link) {
            conn.set_lost();
        }
        undone
    }

    async fn undo_scope(&mut self) -> Result<(), Error> {
        self.rollback_merge().await?;
        match (self.scope, &mut self.link) {
            (Scope::Begun, Some(link)) => {
                testing::record("ROLLBACK");
                DB::TransactionManager::rollback(link.raw()).await?;
                self.scope = Scope::Done;
            }
            (Scope::Counted, Some(Link::Bare(conn))) => {
                testing::record("ROLLBACK TO SAVEPOINT");
                DB::TransactionManager::rollback(conn).await?;
                self.scope = Scope::Done;
                DB::clean_nested(conn, true).await?;
            }
            (Scope::Plain, Some(link)) => {
                plainly(link, "ROLLBACK TO SAVEPOINT").await?;
                self.scope = Scope::Done;
                plainly(link, "RELEASE SAVEPOINT").await?;
            }
            (Scope::Counted, Some(Link::Inside(conn))) => conn.rollback_savepoint().await?,
            _ => {}
        }
        // The savepoint is gone: what fails from here on leaves nothing to undo, and dropping must not undo it again.
        self.scope = Scope::Staging;
        match &mut self.link {
            Some(link) => {
                let cleaned = DB::clean_undone(link).await;
                Ok(link.end_implicit_transaction(cleaned).await?)
            }
            None => Ok(()),
        }
    }

    fn finish(&mut self) {
        if let Some(Link::Inside(conn)) = &mut self.link {
            conn.set_unfinished(false);
        }
        self.link = None;
    }
}

/// Begins the scope on a connection that a caller lends.
///
/// The scope is set before what it says is done, so that a call dropped in between undoes it.
async fn begin_bare<DB: Backend>(conn: &mut DB::Connection, scope: &mut Scope) -> Result<(), Error> {
    if conn.is_in_transaction() {
        DB::begin_nested(conn).await?;
        *scope = Scope::Counted;
        return Ok(());
    }
    *scope = if DB::SAVEPOINT_BEGINS { Scope::Plain } else { Scope::Done };
    if DB::save_if_open(conn, PLAIN_SAVEPOINT).await? {
        *scope = Scope::Plain;
        return Ok(());
    }
    *scope = Scope::Idle;
    if DB::CLOSE_UNFINISHED {
        begin_whole::<DB>(conn, scope).await?;
    }
    Ok(())
}

/// Begins the call's own transaction.
async fn begin_whole<DB: Backend>(conn: &mut DB::Connection, scope: &mut Scope) -> Result<(), Error> {
    testing::record(DB::BEGIN_STAGING.split(';').next().unwrap_or_default());
    *scope = Scope::Begun;
    Ok(DB::TransactionManager::begin(conn, Some(DB::BEGIN_STAGING.into_sql_str())).await?)
}

async fn plainly<DB: Backend>(link: &mut Link<'_, DB>, verb: &str) -> Result<u64, sqlx::Error> {
    link.execute(Statement::plain(&Sql::from(format!("{verb} {PLAIN_SAVEPOINT}")))).await
}

/// Undoes a scope that was neither committed nor rolled back.
///
/// The call failed, or was cancelled.
impl<DB: Backend> Drop for CallScope<'_, DB> {
    fn drop(&mut self) {
        if let (Scope::Begun | Scope::Merging | Scope::Counted | Scope::Plain, Some(Link::Bare(conn))) =
            (self.scope, &mut self.link)
        {
            DB::queue_clean_first(conn);
        }
        if let (true, Some(link @ Link::Bare(_))) =
            (DB::CLOSE_UNFINISHED && !matches!(self.scope, Scope::Idle | Scope::Done), &mut self.link)
        {
            link.give_up();
        }
        match (self.scope, self.link.take()) {
            (Scope::Idle | Scope::Done, Some(Link::Pooled(conn, _))) => drop(conn),
            (_, Some(Link::Pooled(conn, _))) if DB::CLOSE_UNFINISHED => drop(conn.detach()),
            (scope @ (Scope::Staging | Scope::Own), Some(mut link @ (Link::Pooled(..) | Link::Bare(_)))) => {
                if scope == Scope::Own {
                    DB::queue_rollback(link.raw(), 1);
                }
                DB::queue_clean(link.raw());
            }
            (Scope::Begun, Some(Link::Bare(mut conn))) => DB::queue_rollback(&mut conn, 1),
            (Scope::Merging, Some(Link::Bare(mut conn))) => DB::queue_rollback(&mut conn, 2),
            (Scope::Counted, Some(Link::Bare(mut conn))) => DB::TransactionManager::start_rollback(&mut conn),
            (Scope::Plain, Some(Link::Bare(mut conn))) => DB::queue_rollback_to(&mut conn, PLAIN_SAVEPOINT),
            // Left marked as unfinished, a transaction of ours refuses its next statement.
            _ => {}
        }
    }
}
