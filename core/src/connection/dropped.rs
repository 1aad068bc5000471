//! The end of a call that was dropped half-way.
//!
//! * In a transaction of ours the connection stays marked as unfinished: it refuses its next statement, and is rolled back.
//! * On a pool the connection is closed where the database needs that ([`Sessions::close_unfinished`]), or else rolled back.
//! * On a connection that was lent, what the call has begun is undone before the connection's next statement.
//!
//! [`Sessions::close_unfinished`]: crate::driver::session::Sessions::close_unfinished

use sqlx_core::transaction::TransactionManager as _;

use crate::{
    connection::held::Held,
    connection::link::{Link, Running},
    connection::savepoint_guard::SavepointGuard,
    connection::scope::CallScope,
    driver::Driver,
};

impl<DB: Driver> Drop for Running<'_, '_, DB> {
    fn drop(&mut self) {
        if self.done || !DB::SESSIONS.broken_when_given_up {
            return;
        }
        self.link.give_up();
    }
}

impl<DB: Driver> Drop for SavepointGuard<'_, '_, DB> {
    fn drop(&mut self) {
        if self.held == Held::Nothing {
            return;
        }
        if DB::SESSIONS.close_unfinished {
            self.link.give_up();
        }
        if !(DB::SESSIONS.close_unfinished && matches!(self.link, Link::Pooled(..))) {
            self.held.queue_undo(Held::Nothing, self.link);
        }
    }
}

/// Undoes a scope that was neither committed nor rolled back.
///
/// The call failed, or was cancelled.
impl<DB: Driver> Drop for CallScope<'_, DB> {
    fn drop(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        if self.whole == Held::Nothing && !self.stages {
            return;
        }
        let queue_drop_stage = |link: &mut Link<'_, DB>| {
            if let Some(drop_stage) = DB::SESSIONS.drop_stage {
                DB::queue(link.raw(), &drop_stage.into());
            }
        };
        match link {
            // Left marked as unfinished, a transaction of ours refuses its next statement.
            Link::Inside(_) => {}
            Link::Pooled(conn, _) if DB::SESSIONS.close_unfinished => drop(conn.detach()),
            Link::Pooled(..) | Link::Bare(_) => {
                if self.whole != Held::Nothing && DB::SESSIONS.drop_stage_first {
                    queue_drop_stage(&mut link);
                }
                if DB::SESSIONS.close_unfinished {
                    link.give_up();
                }
                self.whole.queue_undo(self.merge, &mut link);
                if self.whole == Held::Nothing {
                    queue_drop_stage(&mut link);
                }
            }
        }
    }
}

impl Held {
    /// Queues the rollback of what a dropped call has begun, `self` around `inner`.
    ///
    /// A transaction of ours needs none: left marked as unfinished, it refuses its next statement.
    pub(super) fn queue_undo<DB: Driver>(self, inner: Self, link: &mut Link<'_, DB>) {
        let levels = [self, inner].iter().filter(|held| matches!(held, Self::Savepoint | Self::Transaction)).count();
        match (self, link) {
            (_, Link::Inside(_)) => {}
            (Self::Savepoint, link) => DB::TransactionManager::start_rollback(link.raw()),
            (Self::PlainSavepoint(name), link) => DB::queue_rollback_to(link.raw(), name),
            (Self::Nothing | Self::Transaction, link) if levels > 0 => DB::queue_rollback(link.raw(), levels),
            _ => {}
        }
    }
}
