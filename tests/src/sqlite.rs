//! SQLite: a file with a write-ahead log.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Pool, Row as _, Sqlite, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tempfile::TempDir;
use upsertable::Transaction;

use crate::db::{Plan, Server, TestDb};

/// A file database in a directory of its own.
pub struct OnSqlite;

impl TestDb for OnSqlite {
    type Db = Sqlite;
    type Home = TempDir;

    const WORDS: &'static [(&'static str, &'static str)] = &[
        ("{id}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
        ("{text}", "TEXT"),
        ("{title}", "TEXT CHECK (length(title) <= 10)"),
        ("{nocase}", "TEXT COLLATE NOCASE"),
        ("{deferred}", "DEFERRABLE INITIALLY DEFERRED"),
        ("{nulls}", ""),
    ];
    const NUMBERED: bool = false;
    const NULLS_NOT_DISTINCT: bool = false;
    const PARTIAL_INDEXES: bool = true;
    const DEFERRED_CONSTRAINTS: bool = true;
    const SURVIVES_FAILED_STATEMENTS: bool = true;

    // The log is turned on once, before there is anybody else: two connections that do it at a time can fail.
    fn home() -> BoxFuture<'static, TempDir> {
        Box::pin(async {
            let home = tempfile::tempdir().unwrap();
            let file = options(&home).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
            file.connect().await.unwrap().close().await.unwrap();
            home
        })
    }

    fn connect(home: &TempDir, connections: u32) -> BoxFuture<'_, Pool<Sqlite>> {
        let pool = SqlitePoolOptions::new()
            .min_connections(connections)
            .max_connections(connections)
            .idle_timeout(None)
            .max_lifetime(None);
        Box::pin(async move { pool.connect_with(options(home)).await.unwrap() })
    }

    fn server<'h>(_home: &'h TempDir, conn: &'h mut SqliteConnection) -> BoxFuture<'h, Server> {
        Box::pin(async move {
            let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(conn).await.unwrap();
            Server::new("SQLite", &version)
        })
    }

    fn execute(conn: &mut SqliteConnection, sql: String) -> BoxFuture<'_, Result<u64, sqlx::Error>> {
        Box::pin(async move { Ok(conn.execute(AssertSqlSafe(sql)).await?.rows_affected()) })
    }

    fn text(conn: &mut SqliteConnection, sql: String) -> BoxFuture<'_, Result<String, sqlx::Error>> {
        Box::pin(async move { sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(conn).await })
    }

    fn numbers(conn: &mut SqliteConnection, sql: String) -> BoxFuture<'_, Result<Vec<i64>, sqlx::Error>> {
        Box::pin(async move { sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(conn).await })
    }

    fn temporary_tables(conn: &mut SqliteConnection) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            sqlx::query_scalar("SELECT name FROM sqlite_temp_master ORDER BY 1").fetch_all(conn).await.unwrap()
        })
    }

    // SQLite tells of its autocommit flag by refusing a second BEGIN.
    fn in_transaction(conn: &mut SqliteConnection) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match conn.execute("BEGIN").await {
                Ok(_) => {
                    conn.execute("ROLLBACK").await.unwrap();
                    conn.is_in_transaction()
                }
                Err(error) => {
                    assert!(error.to_string().contains("within a transaction"), "{error}");
                    true
                }
            }
        })
    }

    fn spoil<'t>(tx: &'t mut Transaction<Sqlite>, _pool: &'t Pool<Sqlite>) -> BoxFuture<'t, sqlx::Error> {
        Box::pin(async move {
            sqlx::query("INSERT OR IGNORE INTO words (word) VALUES ('twice')").execute(&mut **tx).await.unwrap();
            sqlx::query("INSERT OR ROLLBACK INTO words (word) VALUES ('twice')").execute(&mut **tx).await.unwrap_err()
        })
    }

    fn merge_plan<'c>(
        conn: &'c mut SqliteConnection,
        statements: &'c [String],
        table: &'static str,
    ) -> BoxFuture<'c, Plan> {
        Box::pin(async move {
            let merges = format!("INSERT OR ABORT INTO `{table}`");
            let merge = statements.iter().find(|sql| sql.contains(&merges)).expect("a bulk call merges its rows");
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {merge}"));
            let steps: Vec<String> = sqlx::query(explain)
                .fetch_all(&mut *conn)
                .await
                .unwrap()
                .iter()
                .map(|step| step.get::<String, _>("detail"))
                .collect();
            // An automatic index is a scan that builds it: once a merge and not once a row, but of the whole target all the same.
            let scans_target = steps.iter().any(|step| {
                let of_target = step.split(' ').nth(1).is_some_and(|name| name == "t" || name == table);
                of_target && (step.starts_with("SCAN") || step.contains("AUTOMATIC"))
            });
            Plan { text: steps.join("\n"), scans_target }
        })
    }
}

fn options(home: &TempDir) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(home.path().join("contract.db"))
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(30))
}
