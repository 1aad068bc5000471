//! The database's driver: its sessions, statements and values.

pub(crate) mod bind;
pub(crate) mod encoding;
pub(crate) mod isolation;
pub(crate) mod raw;
pub(crate) mod run;
pub(crate) mod session;

use std::sync::atomic::AtomicBool;

use sqlx::database::HasStatementCache;
use sqlx_core::transaction::TransactionManager;

use crate::{
    driver::raw::Raw,
    driver::session::{Enders, Sessions},
    outcome::SqlFuture,
    retry::ATTEMPTS,
    sql::callers_sql::QuotingRules,
    sql::dialect::Dialect,
    sql::text::Sql,
    trace::statement_log,
};

/// The part of a [`Backend`](crate::Backend) that transactions and connections need.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database that upsertable works on",
    label = "expected `sqlx::Sqlite`, `sqlx::Postgres` or `sqlx::MySql`",
    note = "turn on the feature of upsertable that is named after the database: `sqlite`, `postgres` or `mysql`",
    note = "`sqlx::Any` hides which database it talks to, and every statement depends on that: use the pool of the database itself"
)]
pub trait Driver: Raw + HasStatementCache {
    /// The quotes of names and the form of placeholders.
    const DIALECT: Dialect;

    /// The dialect of statements that are shown to a user.
    const SHOWN: Dialect = Self::DIALECT;

    /// The rules of quoted text in this database's SQL.
    ///
    /// A `?` in quoted text is no placeholder.
    const QUOTING: QuotingRules;

    /// The caller's statements that end a transaction.
    const ENDERS: Enders;

    /// How its sessions and transactions behave.
    const SESSIONS: Sessions;

    /// Attempts that a call on a pool makes before it fails.
    const ATTEMPTS: u32 = ATTEMPTS;

    /// Set once a session was seen that begins transactions unasked.
    ///
    /// `None` if this database has no such sessions.
    fn implicit_transactions() -> Option<&'static AtomicBool> {
        None
    }

    /// Commits a transaction that the session began by itself.
    ///
    /// Returns whether it is such a session.
    fn end_implicit(_conn: &mut Self::Connection) -> SqlFuture<'_, bool> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Returns true while the connection is inside its transaction.
    ///
    /// The database itself is asked.
    fn is_open(conn: &mut Self::Connection) -> SqlFuture<'_, bool>;

    /// Fails if the transaction can no longer be committed.
    ///
    /// Used where COMMIT itself does not say so, and asked after a statement has failed in the transaction.
    fn before_commit(_conn: &mut Self::Connection) -> SqlFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sets a savepoint of the driver's counting on a borrowed connection.
    ///
    /// Dropped half-way, it leaves the transaction around it.
    fn begin_nested(conn: &mut Self::Connection) -> SqlFuture<'_, ()> {
        statement_log::record("SAVEPOINT");
        Box::pin(<Self::TransactionManager as TransactionManager>::begin(conn, None))
    }

    /// Removes the remains of a nested savepoint.
    ///
    /// The driver has released it or rolled back to it before.
    fn clean_nested(_conn: &mut Self::Connection, _rolled_back: bool) -> SqlFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sets a savepoint if a transaction is open.
    ///
    /// Returns whether it did. It is for a transaction that was begun with plain SQL.
    fn save_if_open<'c>(conn: &'c mut Self::Connection, savepoint: &'static str) -> SqlFuture<'c, bool>;

    /// Queues a statement.
    ///
    /// It runs before whatever the connection does next, where the driver can.
    fn queue(conn: &mut Self::Connection, sql: &Sql);

    /// Queues a rollback to that savepoint, and its release.
    fn queue_rollback_to(conn: &mut Self::Connection, savepoint: &'static str);

    /// Queues the rollback of `levels` nested transactions of the driver's counting.
    fn queue_rollback(conn: &mut Self::Connection, levels: usize) {
        for _ in 0..levels {
            <Self::TransactionManager as TransactionManager>::start_rollback(conn);
        }
    }
}
