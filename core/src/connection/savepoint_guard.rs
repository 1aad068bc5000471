//! A guard for statements that belong together.

use sqlx::Connection as _;

use crate::{connection::held::Held, connection::link::Link, driver::Driver};

/// The reason why a guard is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each database needs some of them")]
pub(crate) enum Guarding {
    /// A failed statement must leave the transaction around it usable.
    ///
    /// Outside a transaction there is nothing to guard.
    Transaction,
    /// The statements must run in one transaction.
    ///
    /// Inside a transaction they do.
    Statements,
    /// Both.
    Both,
}

/// Statements that are kept or undone as a whole.
///
/// Dropped half-way, they are undone.
pub(crate) struct SavepointGuard<'l, 'c, DB: Driver> {
    pub(crate) link: &'l mut Link<'c, DB>,
    pub(super) held: Held,
}

const SAVEPOINT: &str = "upsertable_hold";

impl<'l, 'c, DB: Driver> SavepointGuard<'l, 'c, DB> {
    /// Sets a savepoint, or begins a transaction.
    pub(crate) async fn begin(link: &'l mut Link<'c, DB>, guarding: Guarding) -> Result<Self, sqlx::Error> {
        let mut guard = Self { link, held: Held::Nothing };
        let is_inside = matches!(guard.link, Link::Inside(_)) || guard.link.raw().is_in_transaction();
        match guarding {
            Guarding::Transaction | Guarding::Both if is_inside => guard.held.set_savepoint(guard.link).await?,
            Guarding::Statements | Guarding::Both if !is_inside => guard.begin_transaction().await?,
            _ => {}
        }
        Ok(guard)
    }

    async fn begin_transaction(&mut self) -> Result<(), sqlx::Error> {
        if let Link::Bare(conn) = &mut *self.link
            && self.held.save_if_open::<DB>(conn, SAVEPOINT).await?
        {
            return Ok(());
        }
        self.held.begin::<DB>(self.link.raw(), &DB::SESSIONS.begin.into()).await
    }

    /// Keeps what succeeded or undoes what failed, and passes on the outcome.
    #[cfg_attr(
        not(any(feature = "mysql", feature = "postgres")),
        allow(dead_code, reason = "SQLite keeps what was made only")
    )]
    pub(crate) async fn end<T>(self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let keep = outcome.is_ok();
        self.end_as(keep, outcome).await
    }

    /// Keeps what was done or undoes it, and passes on the outcome.
    pub(crate) async fn end_as<T>(mut self, keep: bool, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if self.held == Held::Nothing {
            return outcome;
        }
        let ended = self.held.end(self.link, keep).await;
        if ended.is_ok() {
            self.link.set_unfinished(false);
        }
        outcome.and_then(|value| ended.map(|()| value))
    }
}
