//! A bulk call's hold on its connection.

use sqlx::{Connection as _, Pool};

use crate::{
    connection::handle::Session, connection::held::Held, connection::link::Link, driver::Driver, error::Error,
    error::meaning::Meaning,
};

/// A bulk call's hold on its connection.
///
/// All that runs between [`begin`](Self::begin) and [`commit`](Self::commit) is kept whole or not at all. Dropped before, it leaves nothing
/// behind: see [`Drop`].
pub struct CallScope<'c, DB: Driver> {
    pub(super) link: Option<Link<'c, DB>>,
    /// What is around all that the call does.
    pub(super) whole: Held,
    /// What is around the merge alone.
    pub(super) merge: Held,
    /// True if dropping the call drops the staging table.
    pub(super) stages: bool,
}

/// A call's savepoint in a transaction begun with plain SQL.
pub(crate) const PLAIN_SAVEPOINT: &str = "upsertable_call";

impl<'c, DB: Driver> CallScope<'c, DB> {
    /// Begins the scope of a call.
    ///
    /// On a pool, it takes a connection. Elsewhere it sets a savepoint, or begins a transaction where none is open.
    pub(crate) async fn begin(session: &'c mut Session<'_, DB>) -> Result<Self, Error> {
        let link = Some(session.link().await?);
        let mut scope = Self { link, whole: Held::Nothing, merge: Held::Nothing, stages: false };
        match &mut scope.link {
            Some(Link::Bare(conn)) if !conn.is_in_transaction() => {
                let is_open = scope.whole.save_if_open::<DB>(conn, PLAIN_SAVEPOINT).await?;
                if !is_open && DB::SESSIONS.close_unfinished {
                    scope.whole.begin::<DB>(conn, &DB::SESSIONS.begin_staging.into()).await?;
                }
            }
            Some(link @ (Link::Bare(_) | Link::Inside(_))) => scope.whole.set_savepoint(link).await?,
            Some(Link::Pooled(..)) | None => {}
        }
        Ok(scope)
    }

    pub(crate) fn link(&mut self) -> Result<&mut Link<'c, DB>, Error> {
        self.link.as_mut().ok_or_else(|| Error::Sql(sqlx::Error::WorkerCrashed))
    }

    /// Drops the staging table with this scope from now on.
    pub(crate) fn drop_stage_on_drop(&mut self) {
        self.stages |= self.whole == Held::Nothing;
    }

    /// Begins a pooled call's transaction, if the database stages inside one.
    pub(crate) async fn begin_transaction(&mut self) -> Result<(), Error> {
        let (true, Held::Nothing, Some(link)) = (DB::SESSIONS.stages_in_transaction, self.whole, &mut self.link) else {
            return Ok(());
        };
        let text = DB::SESSIONS.begin_staging.into();
        match self.whole.begin::<DB>(link.raw(), &text).await {
            // Somebody has given the connection back in the middle of a transaction of plain SQL. It is closed, which undoes that.
            Err(error) if Meaning::of(&error).begun_already => {
                if let Link::Pooled(conn, pool) = link {
                    conn.close_on_drop();
                    let pool: &Pool<DB> = pool;
                    self.whole = Held::Nothing;
                    self.link = None;
                    let link = self.link.insert(Link::Pooled(pool.acquire().await?, pool));
                    self.whole.begin::<DB>(link.raw(), &text).await?;
                }
                Ok(())
            }
            begun => Ok(begun?),
        }
    }

    /// Returns true if the merge's transaction is the call's own.
    ///
    /// The merge may then be done again.
    pub(crate) fn is_own(&self) -> bool {
        match self.whole {
            Held::Nothing => self.stages,
            Held::Transaction => DB::SESSIONS.stages_in_transaction,
            Held::Savepoint | Held::PlainSavepoint(_) => false,
        }
    }

    /// Begins the merge's transaction, or sets its savepoint.
    ///
    /// That is where the transaction is the call's own. Elsewhere it is the caller's.
    pub(crate) async fn begin_merge(&mut self) -> Result<(), Error> {
        let Some(link) = &mut self.link else { return Ok(()) };
        match self.whole {
            Held::Transaction if DB::SESSIONS.stages_in_transaction => self.merge.set_savepoint(link).await?,
            Held::Nothing if self.stages => {
                let (before, begin) = DB::SESSIONS.begin_with(DB::SESSIONS.merge_isolation, false);
                if let Some(before) = before {
                    link.prepare_begin(&before).await?;
                }
                self.merge.begin::<DB>(link.raw(), &begin).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Keeps the merge; what is staged is still there.
    pub(crate) async fn commit_merge(&mut self) -> Result<(), Error> {
        self.end_merge(true).await
    }

    /// Undoes a merge that failed.
    ///
    /// It can be run again from what is staged.
    pub(crate) async fn rollback_merge(&mut self) -> Result<(), Error> {
        self.end_merge(false).await
    }

    async fn end_merge(&mut self, keep: bool) -> Result<(), Error> {
        match &mut self.link {
            Some(link) => Ok(self.merge.end(link, keep).await?),
            None => Ok(()),
        }
    }

    /// Commits the scope.
    ///
    /// The work is kept as far as the transaction around it is.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        if let Some(link) = &mut self.link {
            if self.whole == Held::Nothing {
                link.end_implicit_transaction(Ok::<(), Error>(())).await?;
            } else if let Err(error) = self.whole.end(link, true).await {
                if self.whole == Held::Transaction {
                    self.rollback().await;
                }
                return Err(error.into());
            }
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
        let undone = self.undo_all().await;
        if let (true, Some(Link::Inside(conn))) = (lost, &mut self.link) {
            conn.set_lost();
        }
        undone
    }

    async fn undo_all(&mut self) -> Result<(), Error> {
        self.rollback_merge().await?;
        let Some(link) = &mut self.link else { return Ok(()) };
        self.whole.end(link, false).await?;
        // Nothing else is left to undo.
        self.stages = true;
        let cleaned = link.drop_stage().await;
        Ok(link.end_implicit_transaction(cleaned).await?)
    }

    fn finish(&mut self) {
        if let Some(link) = &mut self.link {
            link.set_unfinished(false);
        }
        self.link = None;
    }
}
