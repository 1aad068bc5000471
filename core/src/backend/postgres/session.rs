//! Savepoints and transactions of calls that may be dropped anytime.
//!
//! The driver counts them.
//!
//! The driver undoes what a dropped future has begun by its count, which is not yet raised then: a dropped BEGIN stays open, and a dropped
//! SAVEPOINT rolls back the whole transaction around it.

use std::mem::ManuallyDrop;

use futures_util::FutureExt as _;
use sqlx::{Connection as _, Database, PgConnection, Postgres};
use sqlx_core::transaction::TransactionManager as _;

use super::BEGIN_STAGING;
use crate::{
    connection::handle::Link,
    connection::scope::PLAIN_SAVEPOINT,
    sql::{Sql, Statement},
    testing,
};

type Transactions = <Postgres as Database>::TransactionManager;

/// Sets a savepoint of the driver's counting.
///
/// Dropped half-way, it leaves the transaction around it as it was.
///
/// There are two of one name. The first fails without harm in a transaction that has failed, where the driver would roll back all for the
/// second; and when the release of the second is dropped half-way, the first is what there is to roll back to.
pub(super) async fn begin(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let set = format!("SAVEPOINT {}", name(Transactions::get_transaction_depth(conn)));
    Link::<Postgres>::bare(conn).execute(Statement::plain(&set.into())).await?;
    testing::record("SAVEPOINT");
    // Never dropped before it is done: that is when the driver would roll back all.
    let mut set = ManuallyDrop::new(Box::pin(Transactions::begin(conn, None)));
    let outcome = set.as_mut().await;
    drop(ManuallyDrop::into_inner(set));
    outcome
}

/// Removes the remains of a savepoint that has ended.
///
/// The driver has released it or rolled back to it. Dropped half-way, it leaves one that does no harm.
pub(super) async fn clean(conn: &mut PgConnection, rolled_back: bool) -> Result<(), sqlx::Error> {
    let release = format!("RELEASE SAVEPOINT {}", name(Transactions::get_transaction_depth(conn)));
    let release = if rolled_back { format!("{release}; {release}") } else { release };
    Link::<Postgres>::bare(conn).execute(Statement::plain(&release.into())).await.map(drop)
}

/// The driver's name for a savepoint at this depth.
///
/// So many transactions and savepoints are open when it is set.
fn name(depth: usize) -> String {
    format!("_sqlx_savepoint_{depth}")
}

/// Returns the statements that undo all that a bulk call did.
///
/// They leave it in the transaction or savepoint that it began with.
pub(super) fn undo_call(conn: &PgConnection) -> Sql {
    match Transactions::get_transaction_depth(conn) {
        0 => format!("ROLLBACK TO SAVEPOINT {PLAIN_SAVEPOINT}").into(),
        1 => format!("ROLLBACK; {BEGIN_STAGING}").into(),
        depth => format!("ROLLBACK TO SAVEPOINT {}", name(depth - 1)).into(),
    }
}

/// Queues the rollback of `levels` nested transactions.
///
/// It runs before whatever the connection does next.
pub(super) fn queue_rollback(conn: &mut PgConnection, levels: usize) {
    if !conn.is_in_transaction() {
        // A BEGIN may be on its way that the driver has not counted.
        queue(conn, &"ROLLBACK".into());
    }
    for _ in 0..levels {
        Transactions::start_rollback(conn);
    }
}

/// Queues the rollback to a savepoint of plain SQL.
///
/// It runs before whatever the connection does next.
pub(super) fn queue_rollback_to(conn: &mut PgConnection, savepoint: &str) {
    // The pause is for an answer not to come within the poll that asks for it: the driver would count a transaction then.
    let undo =
        format!("ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}; SELECT pg_catalog.pg_sleep(0.05)");
    queue(conn, &undo.into());
}

/// Queues a statement where the driver counts no transaction.
///
/// It runs before whatever the connection does next.
///
/// The driver can do so with the statement that begins a transaction: the first poll writes it, and dropped then it is not counted.
fn queue(conn: &mut PgConnection, sql: &Sql) {
    drop(Transactions::begin(conn, Some(sql.text())).now_or_never());
    if conn.is_in_transaction() {
        // Answered within the poll all the same. A count that is wrong would meet the connection's next user, so what is open ends.
        Transactions::start_rollback(conn);
    }
}
