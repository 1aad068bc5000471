//! MySQL's transactions and savepoints.

use std::sync::atomic::AtomicBool;

use futures_util::FutureExt as _;
use sqlx::{Database, Executor as _, MySql, MySqlConnection, Row as _};

use crate::{
    backend::mysql::dialect::{COMMITS_ITSELF, DIALECT},
    backend::mysql::server::BEGINS_UNASKED,
    driver::isolation::Isolation,
    driver::session::{Enders, IsolationClause, Sessions},
    driver::{Driver, run},
    error::meaning::Meaning,
    error::mysql::MYSQL_ATTEMPTS,
    outcome::SqlFuture,
    sql::callers_sql::QuotingRules,
    sql::dialect::Dialect,
    sql::statement::Statement,
    sql::text::Sql,
    trace::statement_log,
};

/// Drops the tables that bulk calls make.
const DROP_STAGE: &str = "DROP TEMPORARY TABLE IF EXISTS `upsertable_staged`, `upsertable_made`, `upsertable_staged_rows`, `upsertable_made_rows`";

impl Driver for MySql {
    const DIALECT: Dialect = DIALECT;
    const QUOTING: QuotingRules =
        QuotingRules { names: &[('`', '`')], backslashes: true, hash_comments: true, ..QuotingRules::STANDARD };

    // https://dev.mysql.com/doc/refman/9.7/en/implicit-commit.html, https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/
    const ENDERS: Enders = Enders::AllBut {
        keep: &[
            "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN",
            "DESCRIBE", "DESC", "DO", "SET", "USE", "HELP",
        ],
        commit: &[
            "ALTER",
            "ANALYZE",
            "BEGIN",
            "CACHE",
            "CHANGE",
            "CHECK",
            "CREATE",
            "DROP",
            "FLUSH",
            "GRANT",
            "IMPORT",
            "INSTALL",
            "LOAD",
            "LOCK",
            "OPTIMIZE",
            "RENAME",
            "REPAIR",
            "RESET",
            "REVOKE",
            "SET",
            "START",
            "STOP",
            "TRUNCATE",
            "UNINSTALL",
            "UNLOCK",
        ],
    };

    const SESSIONS: Sessions = Sessions {
        // In MariaDB's mode ORACLE the word BEGIN alone begins a block of statements.
        begin: "START TRANSACTION",
        begin_read_only: "START TRANSACTION READ ONLY",
        // Said for the next transaction only: the session's own level stays as it is.
        isolation: IsolationClause::BeforeBegin,
        begin_staging: "START TRANSACTION",
        stages_in_transaction: false,
        // At REPEATABLE READ the rows that an INSERT .. SELECT reads, and the gaps where it finds none, are locked, so that two merges
        // deadlock by nature.
        merge_isolation: Some(Isolation::ReadCommitted),
        // At REPEATABLE READ every row that is looked at stays locked, and the gaps beside it, whether the filter wants it or not.
        batch_isolation: Some(Isolation::ReadCommitted),
        // A statement given up half-way leaves the driver and the server in the middle of their talk, and a temporary table outlives ROLLBACK.
        close_unfinished: true,
        // sqlx loses its place in the answers when a statement is given up while it is prepared, and may then wait for ever for one more.
        broken_when_given_up: true,
        savepoint_begins: false,
        drop_stage: Some(DROP_STAGE),
        // Only where the call was given up between two statements; else the tables are dropped when the next call begins.
        drop_stage_first: true,
    };

    const ATTEMPTS: u32 = MYSQL_ATTEMPTS;

    fn implicit_transactions() -> Option<&'static AtomicBool> {
        Some(&BEGINS_UNASKED)
    }

    fn end_implicit(conn: &mut MySqlConnection) -> SqlFuture<'_, bool> {
        Box::pin(async move {
            let ask = Sql::from(format!("SELECT {COMMITS_ITSELF} LIMIT 1"));
            let session = run::fetch::<Self>(conn, Statement::plain(&ask)).await?;
            let commits_itself = session.first().map_or(Ok(true), |row| row.try_get(0))?;
            if !commits_itself {
                run::execute::<Self>(conn, Statement::plain(&"COMMIT AND NO CHAIN NO RELEASE".into())).await?;
            }
            Ok(!commits_itself)
        })
    }

    fn is_open(conn: &mut MySqlConnection) -> SqlFuture<'_, bool> {
        Box::pin(is_savepoint_kept(conn, "upsertable_probe", "RELEASE SAVEPOINT"))
    }

    // BEGIN would commit it. Outside a transaction a savepoint is gone as soon as it is set.
    fn save_if_open<'c>(conn: &'c mut MySqlConnection, savepoint: &'static str) -> SqlFuture<'c, bool> {
        Box::pin(is_savepoint_kept(conn, savepoint, "ROLLBACK TO SAVEPOINT"))
    }

    fn queue(conn: &mut MySqlConnection, sql: &Sql) {
        // The connection has to be at rest: the first poll sends it then.
        drop(conn.execute(Statement::<Self>::plain(sql)).now_or_never());
    }

    fn queue_rollback_to(conn: &mut MySqlConnection, savepoint: &'static str) {
        Self::queue(conn, &format!("ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}").into());
    }
}

/// Tests if a savepoint can be set and used.
///
/// Its use fails where no transaction is open.
async fn is_savepoint_kept(
    conn: &mut <MySql as Database>::Connection,
    savepoint: &str,
    verb: &str,
) -> Result<bool, sqlx::Error> {
    for step in ["SAVEPOINT", verb] {
        let sql = Sql::from(format!("{step} {savepoint}"));
        statement_log::record(sql.as_str());
        match conn.execute(Statement::<MySql>::plain(&sql)).await {
            Ok(_) => {}
            Err(error) if Meaning::of(&error).no_savepoint => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
