//! SQLite's transactions and savepoints.

use futures_util::FutureExt as _;
use sqlx::{Database, Executor as _, Sqlite, SqliteConnection};
use sqlx_core::transaction::TransactionManager as _;

use crate::{
    backend::sqlite::dialect::{DIALECT, SHOWN},
    driver::Driver,
    driver::session::{Enders, IsolationClause, Sessions},
    outcome::SqlFuture,
    sql::callers_sql::QuotingRules,
    sql::dialect::Dialect,
    sql::statement::Statement,
    sql::text::Sql,
};

impl Driver for Sqlite {
    const DIALECT: Dialect = DIALECT;
    const SHOWN: Dialect = SHOWN;
    const QUOTING: QuotingRules = QuotingRules { names: &[('`', '`'), ('[', ']')], ..QuotingRules::STANDARD };
    const ENDERS: Enders = Enders::Only(&["COMMIT", "END", "ROLLBACK", "BEGIN"]);

    const SESSIONS: Sessions = Sessions {
        // A deferred transaction that has read fails at once, without waiting, when it writes after another has written:
        // https://www.sqlite.org/isolation.html
        begin: "BEGIN IMMEDIATE",
        begin_read_only: "BEGIN",
        // Every transaction of SQLite is serializable.
        isolation: IsolationClause::Nowhere,
        // Not used: a transaction that has read the schema for staging could not write after another has written.
        begin_staging: "BEGIN",
        stages_in_transaction: false,
        merge_isolation: None,
        batch_isolation: None,
        // Closing the only connection to a database in memory would delete the database. A statement given up half-way is finished or
        // undone by the connection's thread, so a rollback is enough.
        close_unfinished: false,
        broken_when_given_up: false,
        savepoint_begins: true,
        // Made outside a transaction, it outlives the rollback of the merge.
        drop_stage: Some("DROP TABLE IF EXISTS temp.\"upsertable_staged\""),
        drop_stage_first: false,
    };

    // The autocommit flag cannot be read without unsafe code. This pragma asks for it, and on the temporary database does nothing else:
    // https://www.sqlite.org/src/file/src/pragma.c, PragTyp_SYNCHRONOUS.
    fn is_open(conn: &mut SqliteConnection) -> SqlFuture<'_, bool> {
        Box::pin(async move {
            match conn.execute("PRAGMA temp.synchronous = OFF").await {
                Ok(_) => Ok(false),
                Err(sqlx::Error::Database(error)) if error.message().contains("inside a transaction") => Ok(true),
                Err(error) => Err(error),
            }
        })
    }

    fn save_if_open<'c>(conn: &'c mut SqliteConnection, savepoint: &'static str) -> SqlFuture<'c, bool> {
        Box::pin(async move {
            let open = Self::is_open(conn).await?;
            if open {
                conn.execute(Statement::plain(&format!("SAVEPOINT {savepoint}").into())).await?;
            }
            Ok(open)
        })
    }

    fn queue(conn: &mut SqliteConnection, sql: &Sql) {
        // What comes of it is not awaited: the first poll hands it to the connection's thread.
        drop(conn.execute(Statement::<Self>::plain(sql)).now_or_never());
    }

    fn queue_rollback_to(conn: &mut SqliteConnection, savepoint: &'static str) {
        // Where the savepoint was never set, both fail and change nothing.
        Self::queue(conn, &format!("ROLLBACK TO SAVEPOINT {savepoint}").into());
        Self::queue(conn, &format!("RELEASE SAVEPOINT {savepoint}").into());
    }

    // sqlx's count of open transactions can be wrong in two ways, and a wrong count would meet the connection's next user: SQLite has ended
    // the transaction by itself (then the ROLLBACK of sqlx fails and the count stays), or a BEGIN or COMMIT was done and never acknowledged
    // (then sqlx has corrected the count itself). So a transaction is begun where there is none, which fails where there is one; sqlx
    // rolls back what it counts; and what is still open then is rolled back by text.
    fn queue_rollback(conn: &mut SqliteConnection, levels: usize) {
        Self::queue(conn, &"BEGIN".into());
        for level in 1..levels {
            Self::queue(conn, &format!("SAVEPOINT _sqlx_savepoint_{level}").into());
        }
        for _ in 0..levels {
            <Self as Database>::TransactionManager::start_rollback(conn);
        }
        Self::queue(conn, &"ROLLBACK".into());
    }
}
