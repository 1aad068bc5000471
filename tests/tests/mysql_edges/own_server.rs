//! A server of the test's own.
//!
//! It may be stopped and have little room.

use std::{
    fs::Permissions,
    io::Write as _,
    net::TcpListener,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{
    Connection as _, Executor as _, MySqlConnection, MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use tempfile::TempDir;
use upsertable_tests::{Fixture, OnMySql};

pub(crate) struct OwnServer {
    dir: TempDir,
    kind: Kind,
    port: u16,
    /// Options it is started with, beside those of all servers.
    options: &'static [&'static str],
    child: Child,
}

/// Kinds of server, the same as the other tests run on.
enum Kind {
    MariaDb { program: PathBuf, install: PathBuf },
    MySql { program: PathBuf },
}

/// Most bytes that a file of the server may have.
pub(crate) const LARGEST_FILE: u64 = 40 << 20;

/// Shell script that starts the server with limited files.
///
/// So a file that is too large is an error of a write and not the server's end.
const LIMITED: &str = "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"";
/// Unit in which the shell counts, in bytes.
const BLOCK: u64 = 512;

impl OwnServer {
    /// Starts a server, if its programs are there.
    ///
    /// Otherwise it gives nothing, and prints a line that says so.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a server with these options, the last of which counts.
    pub(crate) async fn start_with(options: &'static [&'static str]) -> Option<Self> {
        let db = Fixture::<OnMySql>::with_connections(1).await;
        let kind = if db.server.is_mysql() { mysql() } else { mariadb() };
        let Some(kind) = kind else {
            let skipped = format!(
                "SKIPPED: a server that is stopped and started, as the programs of {} are missing\n",
                db.server
            );
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        // Whoever the server runs as makes its files.
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let mut install = match &kind {
            Kind::MariaDb { install, .. } => {
                let mut command = Command::new(install);
                command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
                command
            }
            Kind::MySql { program } => {
                let mut command = Command::new(program);
                command.args(["--no-defaults", "--initialize-insecure"]);
                command
            }
        };
        install.arg(format!("--datadir={}", dir.path().join("data").display())).args(user(dir.path()));
        let installed = install.output().unwrap();
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = run(&kind, dir.path(), port, options);
        let mut server = Self { dir, kind, port, options, child };
        let mut conn = server.wait_until_up().await;
        conn.execute("CREATE DATABASE own").await.unwrap();
        Some(server)
    }

    async fn wait_until_up(&mut self) -> MySqlConnection {
        let options = MySqlConnectOptions::new().host("127.0.0.1").port(self.port).username("root");
        loop {
            match MySqlConnection::connect_with(&options).await {
                Ok(conn) => return conn,
                Err(error) => {
                    let ended = self.child.try_wait().unwrap();
                    assert!(ended.is_none(), "{error}\n{}", self.log());
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn pool_options(&self) -> MySqlConnectOptions {
        MySqlConnectOptions::new().host("127.0.0.1").port(self.port).username("root").database("own")
    }

    /// A pool with so many connections, which are all there.
    pub(crate) async fn pool(&self, connections: u32) -> MySqlPool {
        let options = MySqlPoolOptions::new().min_connections(connections).max_connections(connections);
        options.connect_with(self.pool_options()).await.unwrap()
    }

    /// Stops the server, by `SHUTDOWN` or by force.
    ///
    /// The first is what an administrator does, the second what a loss of power does.
    pub(crate) async fn stop(&mut self, orderly: bool) {
        if orderly {
            let mut conn = self.wait_until_up().await;
            conn.execute("SHUTDOWN").await.unwrap();
        } else {
            self.child.kill().unwrap();
        }
        self.child.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.child = run(&self.kind, self.dir.path(), self.port, self.options);
    }
}

fn run(kind: &Kind, dir: &Path, port: u16, options: &[&str]) -> Child {
    // Little is kept in memory, so that the quota is met while rows are staged: InnoDB ends the server where it meets one.
    let (program, little): (_, &[&str]) = match kind {
        Kind::MariaDb { program, .. } => (program, &["--aria-pagecache-buffer-size=8M", "--innodb-log-file-size=8M"]),
        Kind::MySql { program } => {
            (program, &["--innodb-redo-log-capacity=8M", "--skip-log-bin", "--mysqlx=OFF", "--secure-file-priv="])
        }
    };
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let data = dir.join("data");
    Command::new("sh")
        .args(["-c", LIMITED, "sh", &(LARGEST_FILE / BLOCK).to_string()])
        .arg(program)
        .args(["--no-defaults", "--bind-address=127.0.0.1", "--character-set-server=utf8mb4"])
        .args(little)
        .args(["--innodb-buffer-pool-size=32M", "--max-allowed-packet=16M"])
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--tmpdir={}", data.display()))
        .arg(format!("--socket={}", data.join("socket").display()))
        .arg(format!("--port={port}"))
        .args(user(dir))
        .args(options)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Option for the user, as servers refuse to run as root.
fn user(own: &Path) -> Option<&'static str> {
    (own.metadata().unwrap().uid() == 0).then_some("--user=mysql")
}

fn mariadb() -> Option<Kind> {
    Some(Kind::MariaDb { program: programs("mariadbd").next()?, install: programs("mariadb-install-db").next()? })
}

/// Finds the program of MySQL.
///
/// That is what `MYSQLD` names, or the first program of its name that is not MariaDB's.
fn mysql() -> Option<Kind> {
    let is_mysql = |program: &PathBuf| {
        let version = Command::new(program).args(["--no-defaults", "--version"]).output();
        version.is_ok_and(|version| !String::from_utf8_lossy(&version.stdout).contains("MariaDB"))
    };
    let named = std::env::var_os("MYSQLD").map(PathBuf::from);
    named.or_else(|| programs("mysqld").find(is_mysql)).map(|program| Kind::MySql { program })
}

fn programs(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    let all: Vec<PathBuf> = folders.map(|folder| folder.join(name)).filter(|program| program.is_file()).collect();
    all.into_iter()
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}
