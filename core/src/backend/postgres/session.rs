//! Savepoints and transactions of calls that may be dropped anytime.
//!
//! The driver counts them.
//!
//! The driver undoes what a dropped future has begun by its count, which is not yet raised then: a dropped BEGIN stays open, and a dropped
//! SAVEPOINT rolls back the whole transaction around it.

use std::mem::ManuallyDrop;

use futures_util::FutureExt as _;
use sqlx::{Connection as _, Database, Executor as _, PgConnection, Postgres, Row as _, postgres::PgDatabaseError};
use sqlx_core::transaction::TransactionManager as _;

use crate::{
    backend::postgres::dialect::DIALECT,
    connection::scope::PLAIN_SAVEPOINT,
    driver::session::{Enders, IsolationClause, Sessions},
    driver::{Driver, run},
    error::postgres::database_error,
    outcome::SqlFuture,
    sql::callers_sql::QuotingRules,
    sql::dialect::Dialect,
    sql::statement::Statement,
    sql::text::Sql,
    trace::statement_log,
};

const BEGIN_STAGING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Begins a transaction, and fails in one that has written.
///
/// It fails where a transaction is open already that has written something: its user has given the connection back without an end, and the
/// COMMIT would be theirs too.
const BEGIN_ALONE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
    SELECT CAST(CASE WHEN pg_catalog.txid_current_if_assigned() IS NULL THEN '1' ELSE 'upsertable: a transaction is open' END AS pg_catalog.int4)";

impl Driver for Postgres {
    const DIALECT: Dialect = DIALECT;
    const QUOTING: QuotingRules = QuotingRules {
        dollars: true,
        escape_prefix: true,
        nested_comments: true,
        exact_names: true,
        ..QuotingRules::STANDARD
    };

    const ENDERS: Enders = Enders::Only(&["COMMIT", "END", "ROLLBACK", "ABORT", "BEGIN", "START", "PREPARE"]);

    const SESSIONS: Sessions = Sessions {
        begin: "BEGIN",
        begin_read_only: "BEGIN READ ONLY",
        isolation: IsolationClause::InBegin,
        // At any other level only a new transaction helps a merge that has lost, and what is staged would be gone with the old one.
        begin_staging: BEGIN_ALONE,
        stages_in_transaction: true,
        merge_isolation: None,
        batch_isolation: None,
        // A COPY that is dropped half-way leaves answers of the server's that the driver does not expect.
        close_unfinished: true,
        broken_when_given_up: false,
        savepoint_begins: false,
        drop_stage: None,
        drop_stage_first: false,
    };

    fn is_open(conn: &mut PgConnection) -> SqlFuture<'_, bool> {
        Box::pin(async move {
            let probe =
                Statement::<Self>::plain(&"SAVEPOINT upsertable_probe; RELEASE SAVEPOINT upsertable_probe".into());
            match conn.execute(probe).await {
                Ok(_) => Ok(true),
                Err(error) => match database_error(&error).map(PgDatabaseError::code) {
                    Some("25P01") => Ok(false),
                    // Open, though nothing but a rollback runs there.
                    Some("25P02") => Ok(true),
                    _ => Err(error),
                },
            }
        })
    }

    // COMMIT of a transaction in which a statement has failed is answered with ROLLBACK, and the driver calls that a success. Any other
    // statement is refused there.
    fn before_commit(conn: &mut PgConnection) -> SqlFuture<'_, ()> {
        Box::pin(async move { conn.execute(Statement::<Self>::plain(&"SELECT 1".into())).await.map(drop) })
    }

    fn begin_nested(conn: &mut PgConnection) -> SqlFuture<'_, ()> {
        Box::pin(begin(conn))
    }

    fn clean_nested(conn: &mut PgConnection, rolled_back: bool) -> SqlFuture<'_, ()> {
        Box::pin(clean(conn, rolled_back))
    }

    // A SAVEPOINT would tell too, by an error that each call outside a transaction would leave in the server's log. A setting that lasts
    // until the end of the transaction is gone at once where there is none.
    fn save_if_open<'c>(conn: &'c mut PgConnection, savepoint: &'static str) -> SqlFuture<'c, bool> {
        Box::pin(async move {
            run::execute::<Self>(
                conn,
                Statement::plain(&"SELECT pg_catalog.set_config('upsertable.open', 'yes', true)".into()),
            )
            .await?;
            let ask = Statement::plain(&"SELECT pg_catalog.current_setting('upsertable.open', true) = 'yes'".into());
            let answer = run::fetch::<Self>(conn, ask).await?;
            let open = answer.first().map_or(Ok(None), |row| row.try_get::<Option<bool>, _>(0))?.unwrap_or_default();
            if open {
                run::execute::<Self>(conn, Statement::plain(&format!("SAVEPOINT {savepoint}").into())).await?;
            }
            Ok(open)
        })
    }

    fn queue(conn: &mut PgConnection, sql: &Sql) {
        // The first poll writes it, and a BEGIN that is dropped then is not counted.
        drop(Transactions::begin(conn, Some(sql.text())).now_or_never());
        if conn.is_in_transaction() {
            // Answered within the poll all the same. A count that is wrong would meet the connection's next user, so what is open ends.
            Transactions::start_rollback(conn);
        }
    }

    fn queue_rollback_to(conn: &mut PgConnection, savepoint: &'static str) {
        undo_plain(conn, savepoint);
    }

    fn queue_rollback(conn: &mut PgConnection, levels: usize) {
        undo_counted(conn, levels);
    }
}

type Transactions = <Postgres as Database>::TransactionManager;

/// Sets a savepoint of the driver's counting.
///
/// Dropped half-way, it leaves the transaction around it as it was.
///
/// There are two of one name. The first fails without harm in a transaction that has failed, where the driver would roll back all for the
/// second; and when the release of the second is dropped half-way, the first is what there is to roll back to.
async fn begin(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let set = format!("SAVEPOINT {}", name(Transactions::get_transaction_depth(conn)));
    run::execute::<Postgres>(conn, Statement::plain(&set.into())).await?;
    statement_log::record("SAVEPOINT");
    // Never dropped before it is done: that is when the driver would roll back all.
    let mut set = ManuallyDrop::new(Box::pin(Transactions::begin(conn, None)));
    let outcome = set.as_mut().await;
    drop(ManuallyDrop::into_inner(set));
    outcome
}

/// Removes the remains of a savepoint that has ended.
///
/// The driver has released it or rolled back to it. Dropped half-way, it leaves one that does no harm.
async fn clean(conn: &mut PgConnection, rolled_back: bool) -> Result<(), sqlx::Error> {
    let release = format!("RELEASE SAVEPOINT {}", name(Transactions::get_transaction_depth(conn)));
    let release = if rolled_back { format!("{release}; {release}") } else { release };
    run::execute::<Postgres>(conn, Statement::plain(&release.into())).await.map(drop)
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
fn undo_counted(conn: &mut PgConnection, levels: usize) {
    if !conn.is_in_transaction() {
        // A BEGIN may be on its way that the driver has not counted.
        Postgres::queue(conn, &"ROLLBACK".into());
    }
    for _ in 0..levels {
        Transactions::start_rollback(conn);
    }
}

/// Queues the rollback to a savepoint of plain SQL.
///
/// It runs before whatever the connection does next.
fn undo_plain(conn: &mut PgConnection, savepoint: &str) {
    // The pause is for an answer not to come within the poll that asks for it: the driver would count a transaction then.
    let undo =
        format!("ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}; SELECT pg_catalog.pg_sleep(0.05)");
    Postgres::queue(conn, &undo.into());
}
