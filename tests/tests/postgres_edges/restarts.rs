//! A server that stops and starts, or runs out of room.
//!
//! It also closes connections that are idle. It is one of this program's own.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use sqlx::{PgPool, postgres::PgPoolOptions};
use upsertable::{EndReason, Error, Upsertable as _};
use upsertable_tests::models::{Retweet, retweet};

use crate::{MANY, fixture};

/// A throw-away server, stopped when dropped.
struct Server {
    programs: PathBuf,
    home: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// Starts the server, if its programs are there.
    fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("SKIPPED: restarts of PostgreSQL, as its programs initdb and pg_ctl are not found");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { programs, home: tempfile::tempdir().unwrap(), port };
        if is_root() {
            // The server refuses to run as root.
            assert!(Command::new("chown").arg("postgres").arg(server.home.path()).status().unwrap().success());
        }
        server.run("initdb", &["-U", "upsertable", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
        server.up();
        Some(server)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let command = command.arg("-D").arg(self.home.path().join("data")).args(arguments);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{arguments:?}");
    }

    fn up(&self) {
        let socket = self.home.path().display();
        let options = format!("-h 127.0.0.1 -p {} -k {socket} -c fsync=off", self.port);
        let log = self.home.path().join("log").display().to_string();
        self.run("pg_ctl", &["start", "-w", "-l", &log, "-o", &options]);
    }

    fn down(&self, mode: &str) {
        self.run("pg_ctl", &["stop", "-w", "-m", mode]);
    }

    async fn pool(&self) -> PgPool {
        let url = format!("postgres://upsertable@127.0.0.1:{}/postgres", self.port);
        let options = PgPoolOptions::new().min_connections(2).max_connections(2);
        let pool = options.acquire_timeout(Duration::from_secs(30)).connect(&url).await.unwrap();
        let table = "CREATE TABLE IF NOT EXISTS retweets (id BIGSERIAL, tweet BIGINT NOT NULL, retweeter BIGINT NOT NULL, \
                     original_author BIGINT NOT NULL, UNIQUE (tweet, retweeter))";
        sqlx::query(table).execute(&pool).await.unwrap();
        pool
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.home.path().join("data/postmaster.pid").exists() {
            self.down("immediate");
        }
    }
}

fn is_root() -> bool {
    Path::new("/root").metadata().is_ok() && Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n")
}

fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok().into_iter().flatten().flatten();
    let packaged = versions.map(|version| version.path().join("bin"));
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut found: Vec<PathBuf> = packaged
        .chain(on_path.unwrap_or_default())
        .filter(|folder| folder.join("initdb").exists() && folder.join("pg_ctl").exists())
        .collect();
    found.sort();
    found.pop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_restarted_between_calls_reaches_no_caller_of_a_pool() {
    let Some(server) = Server::start() else { return };
    let pool = server.pool().await;
    let (mut tweet, mut rows) = (0, 0);
    for mode in ["fast", "immediate"] {
        for call in 0..6 {
            server.down(mode);
            server.up();
            tweet += 1;
            let few = || (0..3).map(move |number| retweet(tweet, number));
            let done = match call {
                0 => Retweet::get_or_create(&pool, retweet(tweet, 0)).await.map(|_| 1),
                1 => Retweet::upsert(&pool, retweet(tweet, 0)).await.map(|_| 1),
                2 => Retweet::bulk_create_new(&pool, few()).await.map(|done| done.created),
                3 => Retweet::bulk_upsert(&pool, few()).await.map(|done| done.created),
                4 => upsertable::transaction(&pool, async |tx| Retweet::bulk_get_or_create(tx, few()).await)
                    .await
                    .map(|all| all.len() as u64),
                _ => Retweet::bulk_create_new(&pool, (0..MANY).map(move |number| retweet(tweet, number)))
                    .await
                    .map(|done| done.created),
            };
            rows += done.unwrap_or_else(|error| panic!("{mode}, call {call}: {error}")) as i64;
        }
    }
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM retweets").fetch_one(&pool).await.unwrap();
    assert_eq!(there, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_restarted_in_the_middle_of_a_transaction_ends_it() {
    let Some(server) = Server::start() else { return };
    let pool = server.pool().await;
    for mode in ["fast", "immediate"] {
        for call_first in [false, true] {
            let when = format!("{mode}, call first: {call_first}");
            let mut tx = upsertable::begin(&pool).await.unwrap();
            Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
            tx.on_commit(async { panic!("nothing was committed") });
            server.down(mode);
            server.up();
            if call_first {
                let error = Retweet::get_or_create(&mut tx, retweet(2, 2)).await.unwrap_err();
                assert!(error.is_connection_lost(), "{when}: {error}");
                assert!(matches!(tx.commit().await, Err(Error::Ended { .. })), "{when}");
            } else {
                let error = tx.commit().await.unwrap_err();
                // One that shuts down has said so before; one that is killed says nothing.
                let known = matches!(error, Error::Ended { .. });
                assert!(
                    known || mode == "immediate" && matches!(error, Error::CommitUnknown { .. }),
                    "{when}: {error}"
                );
            }
            assert!(
                Retweet::find(&pool, upsertable_tests::models::RetweetKey { tweet: 1, retweeter: 1 })
                    .await
                    .unwrap()
                    .is_none()
            );
        }
    }
}

/// A call without room for temporary files does nothing.
///
/// Sorting needs files that the server may not write: the call fails in the middle, or gets by.
#[tokio::test(flavor = "multi_thread")]
async fn b1_a_call_that_runs_out_of_room_for_temporary_files_does_nothing() {
    let Some(server) = Server::start() else { return };
    let whole = server.pool().await;
    let mut failed = 0;
    for limit in ["1kB", "64kB", "256kB", "1MB"] {
        let options = (*whole.connect_options()).clone().options([("work_mem", "64kB"), ("temp_file_limit", limit)]);
        let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        for (tweet, call) in (0..).zip(["create", "upsert", "get or create", "in a transaction"]) {
            let rows = || (0..MANY).map(move |number| retweet(tweet, number));
            let outcome = match call {
                "create" => Retweet::bulk_create_new(&pool, rows()).await.map(|done| done.created),
                "upsert" => Retweet::bulk_upsert(&pool, rows()).await.map(|done| done.created),
                "get or create" => Retweet::bulk_get_or_create(&pool, rows()).await.map(|all| all.len() as u64),
                _ => {
                    let mut tx = upsertable::begin(&pool).await.unwrap();
                    let outcome = Retweet::bulk_create_new(&mut tx, rows()).await.map(|done| done.created);
                    // R3: the transaction outlives the call.
                    Retweet::get_or_create(&mut tx, retweet(-1, 0)).await.unwrap();
                    tx.commit().await.unwrap();
                    outcome
                }
            };
            let there: i64 = sqlx::query_scalar("SELECT count(*) FROM retweets WHERE tweet = $1")
                .bind(tweet)
                .fetch_one(&whole)
                .await
                .unwrap();
            match outcome {
                Ok(done) => assert_eq!((done, there), (MANY as u64, MANY), "{call}, {limit}"),
                Err(Error::Sql(error)) => {
                    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
                    assert_eq!((code.as_deref(), there), (Some("53400"), 0), "{call}, {limit}: {error}");
                    failed += 1;
                }
                Err(error) => panic!("{call}, {limit}: {error}"),
            }
            let left = "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()";
            assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&pool).await.unwrap(), 0, "{call}, {limit}");
            sqlx::query("TRUNCATE retweets").execute(&whole).await.unwrap();
        }
        pool.close().await;
    }
    assert!(failed >= 4, "{failed} calls have met the limit");
}

/// Connections that the server closed while idle.
///
/// The server closes what has been idle for a moment; a pool's caller hears nothing of it, and a transaction's caller that it was lost.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_closed_while_idle() {
    let db = fixture(1, &[]).await;
    let pool = db.pool.clone();
    // Set on the connection that is to be closed only: a call on a busy machine can be idle for as long between its statements.
    let pid = "SELECT pg_backend_pid()";
    let gone = async |pid: i32| {
        while db.number(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    for call in 0..5 {
        let idle: i32 = sqlx::query_scalar(pid).fetch_one(&pool).await.unwrap();
        sqlx::query("SET idle_session_timeout = 20").execute(&pool).await.unwrap();
        gone(idle).await;
        let rows = || (0..3).map(|number| retweet(call, number));
        let done = match call {
            0 => Retweet::get_or_create(&pool, retweet(call, 0)).await.map(drop),
            1 => Retweet::upsert(&pool, retweet(call, 0)).await.map(drop),
            2 => Retweet::bulk_create_new(&pool, rows()).await.map(drop),
            3 => Retweet::bulk_upsert(&pool, rows()).await.map(drop),
            _ => upsertable::begin(&pool).await.unwrap().rollback().await,
        };
        done.unwrap_or_else(|error| panic!("call {call}: {error}"));
    }
    let before = db.count("retweets").await;
    // The newer servers have a limit for the whole of a transaction too.
    for setting in ["idle_in_transaction_session_timeout", "transaction_timeout"] {
        for calls in 0..3 {
            let mut tx = upsertable::begin(&pool).await.unwrap();
            let idle: i32 = sqlx::query_scalar(pid).fetch_one(&mut *tx).await.unwrap();
            if sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SET {setting} = 20"))).execute(&mut *tx).await.is_err() {
                continue;
            }
            gone(idle).await;
            for call in 0..calls {
                let error = Retweet::get_or_create(&mut tx, retweet(9, 9)).await.unwrap_err();
                let is_ended = matches!(error, Error::Ended { reason: EndReason::Server, .. });
                assert!(is_ended || (call == 0 && error.is_connection_lost()), "{setting}: {call}: {error}");
            }
            let error = tx.commit().await.unwrap_err();
            assert!(
                matches!(error, Error::Ended { reason: EndReason::Server, .. }),
                "{setting}, {calls} calls: {error}"
            );
            assert_eq!(db.count("retweets").await, before);
        }
    }
}
