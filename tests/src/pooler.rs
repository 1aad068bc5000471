//! PostgreSQL behind PgBouncer in transaction mode.
//!
//! `DATABASE_URL_POOLER` names the pooler, over the server that `DATABASE_URL_POSTGRES` names.
//!
//! Each statement outside a transaction may run on another connection of the server's, and what a session was told is somebody else's the
//! moment after. So nothing here says anything to a session: a test has a database of its own, and what is to hold in it is said of the database.
//!
//! The pool that is tried goes through the pooler, and `Fixture::outside` past it: a test looks at what a transaction has left while others
//! hold the connections of the server.

use std::{
    io::Write as _,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use futures_util::future::BoxFuture;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Pool, Postgres, Row as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::{Mutex, OwnedMutexGuard};
use upsertable::Transaction;

use crate::{
    db::{Plan, Server, TestDb},
    postgres::OnPostgres,
    tools::clean_up,
};

/// A database behind the pooler.
///
/// It is the test's own, or that of which the pooler is told to open fewer connections than there are callers.
pub struct Pooler<const NARROW: bool>;

/// Pooler with a server connection for each transaction open in tests.
pub type OnPooler = Pooler<false>;

/// Pooler with three server connections for everybody.
///
/// Callers wait for one another. The pooler has to be set up as `tests/run` does it.
pub type OnNarrowPooler = Pooler<true>;

/// A database, dropped with this.
pub struct PoolerHome {
    server: PgConnectOptions,
    pooler: PgConnectOptions,
    /// Connection to the pooler's own tables.
    console: Mutex<PgConnection>,
    name: String,
    /// Lock on the narrow pooler, for one test at a time.
    _alone: Option<OwnedMutexGuard<()>>,
}

static NARROW_HOME: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

static HOMES: AtomicU32 = AtomicU32::new(0);

/// Template that each test's database is a copy of.
///
/// Making the extension takes longer than copying it.
const TEMPLATE: &str = "upsertable_template";

/// Additional clients of the pooler in a pool.
///
/// A pool has them beside those that a test asks for, where it asks for several: there are more clients than connections of the server, of
/// which the pooler has as many as tests hold transactions open at once, which is eight.
const MORE_CLIENTS: u32 = 4;

impl<const NARROW: bool> TestDb for Pooler<NARROW> {
    type Db = Postgres;
    type Home = PoolerHome;

    const WORDS: &'static [(&'static str, &'static str)] = OnPostgres::WORDS;
    const NUMBERED: bool = OnPostgres::NUMBERED;
    const NULLS_NOT_DISTINCT: bool = OnPostgres::NULLS_NOT_DISTINCT;
    const PARTIAL_INDEXES: bool = OnPostgres::PARTIAL_INDEXES;
    const DEFERRED_CONSTRAINTS: bool = OnPostgres::DEFERRED_CONSTRAINTS;
    const SURVIVES_FAILED_STATEMENTS: bool = OnPostgres::SURVIVES_FAILED_STATEMENTS;
    const SAVES_BEFORE_INSERT: bool = OnPostgres::SAVES_BEFORE_INSERT;

    const ACTIVITY: Option<&'static str> = Some(
        "SELECT coalesce(string_agg(concat_ws(' ', pid, state, wait_event_type, wait_event, now() - state_change, query), E'\\n'), '') \
         FROM pg_stat_activity WHERE datname = current_database()",
    );

    fn home() -> BoxFuture<'static, PoolerHome> {
        Box::pin(async {
            let Ok(pooler) = std::env::var("DATABASE_URL_POOLER") else { skip() };
            let pooler: PgConnectOptions = pooler.parse().unwrap();
            let server =
                std::env::var("DATABASE_URL_POSTGRES").expect("DATABASE_URL_POSTGRES names the server behind it");
            let server: PgConnectOptions = server.parse().unwrap();
            let number = HOMES.fetch_add(1, Ordering::Relaxed);
            let name = if NARROW { "narrow".to_owned() } else { format!("upsertable_{}_{number}", std::process::id()) };
            let alone = if NARROW { Some(Arc::clone(&NARROW_HOME).lock_owned().await) } else { None };
            let mut conn = server.connect().await.unwrap();
            make_template(&server, &mut conn).await;
            conn.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))).await.unwrap();
            // The reason stands in `OnPostgres`. A pooler passes on no options of a session's.
            let superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
            if sqlx::query_scalar(superuser).fetch_one(&mut conn).await.unwrap() {
                let quick = format!("ALTER DATABASE {name} SET deadlock_timeout = '10ms'");
                conn.execute(AssertSqlSafe(quick)).await.unwrap();
            }
            conn.close().await.unwrap();
            let console = Mutex::new(pooler.clone().database("pgbouncer").connect().await.unwrap());
            PoolerHome { server, pooler, console, name, _alone: alone }
        })
    }

    fn connect(home: &PoolerHome, connections: u32) -> BoxFuture<'_, Pool<Postgres>> {
        let clients = if connections == 1 { 1 } else { connections + MORE_CLIENTS };
        pool(&home.pooler, home, clients)
    }

    fn outside(home: &PoolerHome) -> BoxFuture<'_, Pool<Postgres>> {
        pool(&home.server, home, 2)
    }

    fn server<'h>(home: &'h PoolerHome, conn: &'h mut PgConnection) -> BoxFuture<'h, Server> {
        Box::pin(async move {
            let behind: String = sqlx::query_scalar("SHOW server_version").fetch_one(conn).await.unwrap();
            let version = sqlx::raw_sql("SHOW VERSION").fetch_one(&mut *home.console.lock().await).await.unwrap();
            let version = version.get::<&str, _>(0).trim_start_matches("PgBouncer ").to_owned();
            let version = format!("{version} over {}", Server::new("PostgreSQL", &behind));
            Server { name: "PgBouncer", version }
        })
    }

    fn open<'h>(home: &'h PoolerHome, outside: &'h Pool<Postgres>) -> BoxFuture<'h, i64> {
        Box::pin(async move {
            let mut console = home.console.lock().await;
            let clients = of(&home.name, &mut console, "SHOW CLIENTS").await;
            let kept = of(&home.name, &mut console, "SHOW SERVERS").await;
            // One that the pooler has closed still runs what it was sent.
            let there = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'";
            let there: i64 = sqlx::query_scalar(there).fetch_one(outside).await.unwrap();
            // There are those of `outside` too, which are counted as clients of nobody's.
            clients + there - kept
        })
    }

    fn execute(conn: &mut PgConnection, sql: String) -> BoxFuture<'_, Result<u64, sqlx::Error>> {
        OnPostgres::execute(conn, sql)
    }

    fn text(conn: &mut PgConnection, sql: String) -> BoxFuture<'_, Result<String, sqlx::Error>> {
        OnPostgres::text(conn, sql)
    }

    fn numbers(conn: &mut PgConnection, sql: String) -> BoxFuture<'_, Result<Vec<i64>, sqlx::Error>> {
        OnPostgres::numbers(conn, sql)
    }

    // Those of whichever session: none of them is this connection's own.
    fn temporary_tables(conn: &mut PgConnection) -> BoxFuture<'_, Vec<String>> {
        let list = "SELECT relname::text FROM pg_class WHERE relpersistence = 't' AND relkind = 'r' ORDER BY 1";
        Box::pin(async move { sqlx::query_scalar(list).fetch_all(conn).await.unwrap() })
    }

    fn in_transaction(conn: &mut PgConnection) -> BoxFuture<'_, bool> {
        OnPostgres::in_transaction(conn)
    }

    fn spoil<'t>(tx: &'t mut Transaction<Postgres>, pool: &'t Pool<Postgres>) -> BoxFuture<'t, sqlx::Error> {
        OnPostgres::spoil(tx, pool)
    }

    // A statement that is prepared stays on its connection.
    fn merge_plan<'c>(
        conn: &'c mut PgConnection,
        statements: &'c [String],
        table: &'static str,
    ) -> BoxFuture<'c, Plan> {
        Box::pin(async move {
            conn.execute("BEGIN").await.unwrap();
            let plan = OnPostgres::merge_plan(&mut *conn, statements, table).await;
            conn.execute("ROLLBACK").await.unwrap();
            plan
        })
    }
}

fn pool<'h>(to: &PgConnectOptions, home: &'h PoolerHome, connections: u32) -> BoxFuture<'h, Pool<Postgres>> {
    let options = to.clone().database(&home.name);
    let pool = PgPoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None);
    Box::pin(async move { pool.connect_with(options).await.unwrap() })
}

/// Number of lines about this database in a pooler's table.
async fn of(database: &str, console: &mut PgConnection, show: &'static str) -> i64 {
    let lines = sqlx::raw_sql(show).fetch_all(console).await.unwrap();
    lines.iter().map(|line| i64::from(line.get::<&str, _>("database") == database)).sum()
}

/// Makes the template of the databases, if nobody has.
async fn make_template(server: &PgConnectOptions, conn: &mut PgConnection) {
    // It is held by the session, as a database is not made in a transaction.
    conn.execute("SELECT pg_advisory_lock(7151)").await.unwrap();
    let there = format!("SELECT count(*) FROM pg_database WHERE datname = '{TEMPLATE}' AND datistemplate");
    let there: i64 = sqlx::query_scalar(AssertSqlSafe(there)).fetch_one(&mut *conn).await.unwrap();
    if there == 0 {
        conn.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {TEMPLATE}"))).await.unwrap();
        conn.execute(AssertSqlSafe(format!("CREATE DATABASE {TEMPLATE}"))).await.unwrap();
        let mut inside = server.clone().database(TEMPLATE).connect().await.unwrap();
        inside.execute("CREATE EXTENSION citext").await.unwrap();
        inside.close().await.unwrap();
        // It is one as soon as it is whole.
        conn.execute(AssertSqlSafe(format!("ALTER DATABASE {TEMPLATE} IS_TEMPLATE true"))).await.unwrap();
    }
    conn.execute("SELECT pg_advisory_unlock(7151)").await.unwrap();
}

/// Reports the skip past the capture of the test's output, and exits.
///
/// The whole test program is about this server, so it ends here.
fn skip() -> ! {
    let _ = writeln!(std::io::stderr(), "SKIPPED: PostgreSQL behind PgBouncer, as DATABASE_URL_POOLER is not set");
    std::process::exit(0)
}

impl Drop for PoolerHome {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), std::mem::take(&mut self.name));
        clean_up("database", async move {
            let mut conn = server.connect().await.unwrap();
            // The pooler keeps connections to it open.
            conn.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
        });
    }
}
