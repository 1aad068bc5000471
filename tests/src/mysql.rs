//! MySQL and MariaDB, with a database for each test.
//!
//! `DATABASE_URL_MYSQL` or `DATABASE_URL_MARIADB` names the server.
//!
//! A test program runs on one of them, the first if both are named; `tests/run` runs it once for each.

use std::{
    io::Write as _,
    sync::atomic::{AtomicU32, Ordering},
};

use futures_util::future::BoxFuture;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, MySql, MySqlConnection, Pool, Row as _,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use upsertable::Transaction;

use crate::{
    db::{Plan, Server, TestDb},
    tools::clean_up,
};

/// A database of its own on the server.
pub struct OnMySql;

const KEY_TEXT: &str = "VARCHAR(700) COLLATE utf8mb4_bin";
const LONG_TEXT: &str = "LONGTEXT COLLATE utf8mb4_bin";

/// A database, dropped with this.
pub struct MySqlHome {
    server: MySqlConnectOptions,
    name: String,
}

static HOMES: AtomicU32 = AtomicU32::new(0);

/// URL of the server for the tests of MySQL and MariaDB.
#[must_use]
pub fn mysql_url() -> Option<String> {
    ["DATABASE_URL_MYSQL", "DATABASE_URL_MARIADB"].iter().find_map(|name| std::env::var(name).ok())
}

impl TestDb for OnMySql {
    type Db = MySql;
    type Home = MySqlHome;

    const WORDS: &'static [(&'static str, &'static str)] = &[
        ("{id}", "BIGINT AUTO_INCREMENT PRIMARY KEY"),
        // The longest text that a unique index can hold; a column outside of any becomes longer: see `execute`.
        ("{text}", KEY_TEXT),
        ("{title}", "VARCHAR(10)"),
        ("{nocase}", "VARCHAR(700) COLLATE utf8mb4_general_ci"),
        ("{deferred}", ""),
        ("{nulls}", ""),
    ];
    const NUMBERED: bool = false;
    const NULLS_NOT_DISTINCT: bool = false;
    const PARTIAL_INDEXES: bool = false;
    const DEFERRED_CONSTRAINTS: bool = false;
    const SURVIVES_FAILED_STATEMENTS: bool = true;
    // sqlx loses its place in the answers where a statement is given up while it is prepared.
    const GIVEN_UP_GOES_ON: bool = false;

    // MySQL's processlist fails where the statement of anybody on the server has a character of four bytes.
    const OPEN: &'static str = "SELECT count(*) FROM /*!80000 performance_schema.threads WHERE processlist_db = DATABASE() */ \
                                /*M! information_schema.processlist WHERE db = DATABASE() */";

    const ACTIVITY: Option<&'static str> = Some(
        "SELECT CAST(GROUP_CONCAT(CONCAT_WS(' ', id, command, time, state, info) SEPARATOR '\\n') AS CHAR) \
         FROM information_schema.processlist WHERE db = DATABASE()",
    );

    fn home() -> BoxFuture<'static, MySqlHome> {
        Box::pin(async {
            let Some(url) = mysql_url() else { skip() };
            let server: MySqlConnectOptions = url.parse().unwrap();
            let number = HOMES.fetch_add(1, Ordering::Relaxed);
            let home = MySqlHome { name: format!("upsertable_{}_{number}", std::process::id()), server };
            let mut conn = home.server.connect().await.unwrap();
            let create = format!("CREATE DATABASE {} DEFAULT CHARACTER SET utf8mb4", home.name);
            conn.execute(AssertSqlSafe(create)).await.unwrap();
            conn.close().await.unwrap();
            home
        })
    }

    fn connect(home: &MySqlHome, connections: u32) -> BoxFuture<'_, Pool<MySql>> {
        let pool = MySqlPoolOptions::new()
            .min_connections(connections)
            .max_connections(connections)
            .idle_timeout(None)
            .max_lifetime(None);
        Box::pin(async move { pool.connect_with(home.server.clone().database(&home.name)).await.unwrap() })
    }

    fn server<'h>(_home: &'h MySqlHome, conn: &'h mut MySqlConnection) -> BoxFuture<'h, Server> {
        Box::pin(async move {
            let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(conn).await.unwrap();
            Server::new(if version.contains("MariaDB") { "MariaDB" } else { "MySQL" }, &version)
        })
    }

    fn execute(conn: &mut MySqlConnection, sql: String) -> BoxFuture<'_, Result<u64, sqlx::Error>> {
        let sql = match sql.strip_prefix("ANALYZE ") {
            Some(table) => format!("ANALYZE TABLE {table}"),
            None => with_long_texts(&sql),
        };
        Box::pin(async move { Ok(conn.execute(AssertSqlSafe(sql)).await?.rows_affected()) })
    }

    fn text(conn: &mut MySqlConnection, sql: String) -> BoxFuture<'_, Result<String, sqlx::Error>> {
        Box::pin(async move { sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(conn).await })
    }

    fn numbers(conn: &mut MySqlConnection, sql: String) -> BoxFuture<'_, Result<Vec<i64>, sqlx::Error>> {
        Box::pin(async move { sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(conn).await })
    }

    // No catalogue of every server lists them, so those of the crate are asked for by name.
    fn temporary_tables(conn: &mut MySqlConnection) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            let mut there = Vec::new();
            for table in ["upsertable_made", "upsertable_staged"] {
                if conn.execute(AssertSqlSafe(format!("SELECT n FROM {table} LIMIT 0"))).await.is_ok() {
                    there.push(table.to_owned());
                }
            }
            there
        })
    }

    // Outside a transaction a savepoint is gone as soon as it is set.
    fn in_transaction(conn: &mut MySqlConnection) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            conn.execute("SAVEPOINT contract_probe").await.unwrap();
            conn.execute("RELEASE SAVEPOINT contract_probe").await.is_ok()
        })
    }

    // A deadlock. InnoDB undoes the transaction that has written less.
    fn spoil<'t>(tx: &'t mut Transaction<MySql>, pool: &'t Pool<MySql>) -> BoxFuture<'t, sqlx::Error> {
        Box::pin(async move {
            let mut other = pool.connect_options().connect().await.unwrap();
            // Nor does it undo one that has written to a table without transactions, as staging may be.
            other.execute("CREATE TEMPORARY TABLE spoils (n INT) ENGINE = MyISAM").await.unwrap();
            other.execute("BEGIN").await.unwrap();
            other.execute("INSERT INTO spoils VALUES (1)").await.unwrap();
            let many: Vec<String> = (0..1_000).map(|number| format!("('spoil {number}')")).collect();
            let insert = format!("INSERT INTO words (word) VALUES {}", many.join(", "));
            other.execute(AssertSqlSafe(insert)).await.unwrap();
            sqlx::query("INSERT INTO words (word) VALUES ('spoilt')").execute(&mut **tx).await.unwrap();
            let waiting = tokio::spawn(async move {
                other.execute("INSERT INTO words (word) VALUES ('spoilt')").await.unwrap();
                other.execute("ROLLBACK").await.unwrap();
                other.close().await.unwrap();
            });
            let lost = sqlx::query("INSERT INTO words (word) VALUES ('spoil 0')").execute(&mut **tx).await.unwrap_err();
            waiting.await.unwrap();
            lost
        })
    }

    fn merge_plan<'c>(
        conn: &'c mut MySqlConnection,
        statements: &'c [String],
        table: &'static str,
    ) -> BoxFuture<'c, Plan> {
        Box::pin(async move {
            let statements: Vec<String> = statements.iter().map(|sql| without_settings(sql)).collect();
            // The statements that read the staged rows and write to the table, or to what it is written from; and that which looks for the
            // keys of a few rows.
            let looks = |sql: &str| sql.contains("UNION ALL VALUES") || sql.starts_with("SELECT 0 FROM");
            let merges = |sql: &&String| (sql.starts_with("INSERT INTO") && !sql.contains("VALUES")) || looks(sql);
            assert!(statements.iter().any(|sql| merges(&sql)), "{statements:?}");
            assert!(statements.iter().any(|sql| sql.starts_with(&format!("INSERT INTO `{table}`"))), "{statements:?}");
            for create in statements.iter().filter(|sql| sql.starts_with("CREATE")) {
                conn.execute(AssertSqlSafe(create.clone())).await.unwrap();
            }
            let mut steps = Vec::new();
            for merge in statements.iter().filter(merges) {
                let explain = AssertSqlSafe(format!(
                    "EXPLAIN FORMAT = TRADITIONAL {}",
                    merge.replace(",?", ",1").replace("= ?", "= 1")
                ));
                steps.extend(sqlx::query(explain).fetch_all(&mut *conn).await.unwrap());
            }
            conn.execute("DROP TEMPORARY TABLE IF EXISTS upsertable_staged, upsertable_made").await.unwrap();
            let steps: Vec<(String, Option<String>, Option<String>)> =
                steps.iter().map(|step| (step.get("select_type"), step.get("table"), step.get("type"))).collect();
            // MySQL lists the table that is written to, too.
            let reads_target = |kind: &str, name: &Option<String>| {
                kind != "INSERT" && matches!(name.as_deref(), Some(name) if name == "t" || name == table)
            };
            let scans_target = steps.iter().any(|(kind, name, access)| {
                reads_target(kind, name) && matches!(access.as_deref(), Some("ALL" | "index"))
            });
            Plan { text: format!("{steps:#?}"), scans_target }
        })
    }
}

/// Strips the settings that a statement runs under.
///
/// EXPLAIN is not told them.
fn without_settings(sql: &str) -> String {
    let mut plain = sql.to_owned();
    for (start, end) in [("/*M!100500 SET STATEMENT", " FOR */ "), ("/*+", "*/ ")] {
        if let Some(from) = plain.find(start)
            && let Some(length) = plain[from..].find(end)
        {
            plain.replace_range(from..from + length + end.len(), "");
        }
    }
    plain
}

/// Widens the texts of a table that no unique index covers.
///
/// They hold more than one in a unique index could.
fn with_long_texts(create: &str) -> String {
    let in_index = |column: &str| {
        create.split("UNIQUE").skip(1).any(|index| {
            let columns = index.split(['(', ')']).nth(1).unwrap_or_default();
            columns.split(',').any(|name| name.trim() == column)
        })
    };
    let pieces: Vec<&str> = create.split(KEY_TEXT).collect();
    let mut sql = String::new();
    for (number, piece) in pieces.iter().enumerate() {
        sql.push_str(piece);
        if number + 1 < pieces.len() {
            let column = last_name(piece.trim_end());
            sql.push_str(if in_index(column) || !create.starts_with("CREATE TABLE") { KEY_TEXT } else { LONG_TEXT });
        }
    }
    sql
}

/// Name at the end of the text, quotes included.
fn last_name(text: &str) -> &str {
    let Some(quoted) = text.strip_suffix('`') else { return text.rsplit([' ', '(', ',']).next().unwrap_or_default() };
    let (mut start, bytes) = (quoted.len(), quoted.as_bytes());
    // One that is doubled is of the name.
    while let Some(quote) = quoted[..start].rfind('`') {
        start = quote;
        if quote == 0 || bytes[quote - 1] != b'`' {
            break;
        }
        start -= 1;
    }
    &text[start..]
}

/// Reports the skip past the capture of the test's output, and exits.
///
/// The whole test program is about this server, so it ends here.
fn skip() -> ! {
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: MySQL and MariaDB, as neither DATABASE_URL_MYSQL nor DATABASE_URL_MARIADB is set"
    );
    std::process::exit(0)
}

impl Drop for MySqlHome {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), std::mem::take(&mut self.name));
        clean_up("database", async move {
            let mut conn = server.connect().await.unwrap();
            // A connection that a test has left open must not hold up the others.
            conn.execute("SET lock_wait_timeout = 5").await.unwrap();
            conn.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await.unwrap();
        });
    }
}
