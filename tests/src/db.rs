//! A database to try the contract on.

use std::{
    fmt,
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use futures_util::future::BoxFuture;
use sqlx::{Database, Pool};
use upsertable::{Backend, Transaction};

/// A database that the contract suite runs on.
///
/// It is a server or a file format: how to get an empty database on it, and what differs in plain SQL.
///
/// MySQL and MariaDB are two of these with one driver.
pub trait TestDb: Sized + Send + Sync + 'static {
    /// sqlx's driver.
    type Db: Backend;

    /// Keeps one test's database alive, and removes it when dropped.
    type Home: Send + Sync;

    /// Words in braces in the tables' statements, as this database says them.
    const WORDS: &'static [(&'static str, &'static str)];

    /// True where placeholders are `$1, $2, ..` rather than `?`.
    const NUMBERED: bool;

    /// True where a unique index can take two NULLs for equal.
    const NULLS_NOT_DISTINCT: bool;

    /// True where a unique index can cover only some rows.
    const PARTIAL_INDEXES: bool;

    /// True where a foreign key can be checked at COMMIT.
    const DEFERRED_CONSTRAINTS: bool;

    /// True where a transaction goes on after a failed statement.
    const SURVIVES_FAILED_STATEMENTS: bool;

    /// True where creating a row in a transaction needs a savepoint.
    ///
    /// The transaction would end with the statement otherwise. The savepoint is set before the row is created.
    const SAVES_BEFORE_INSERT: bool = false;

    /// True where a connection goes on after an abandoned statement.
    ///
    /// One that was given up before its answer.
    const GIVEN_UP_GOES_ON: bool = true;

    /// Query for the activity of the connections to this test's database.
    ///
    /// It gives one text.
    const ACTIVITY: Option<&'static str> = None;

    /// Query for the number of open connections to this test's database.
    ///
    /// It is run by [`open`](Self::open).
    const OPEN: &'static str = "SELECT 0";

    /// Statements that run once the tables are there.
    #[must_use]
    fn after_schema() -> &'static [&'static str] {
        &[]
    }

    /// An empty database without tables.
    fn home() -> BoxFuture<'static, Self::Home>;

    /// A pool of exactly so many connections to the database.
    ///
    /// None of them is idle for long enough to be closed.
    fn connect(home: &Self::Home, connections: u32) -> BoxFuture<'_, Pool<Self::Db>>;

    /// The server that answers on this connection.
    fn server<'h>(home: &'h Self::Home, conn: &'h mut <Self::Db as Database>::Connection) -> BoxFuture<'h, Server>;

    /// Number of open connections to this test's database.
    ///
    /// One whose caller has given it up is counted until the server has seen it.
    fn open<'h>(_home: &'h Self::Home, outside: &'h Pool<Self::Db>) -> BoxFuture<'h, i64> {
        Box::pin(async {
            let mut conn = outside.acquire().await.unwrap();
            Self::numbers(&mut conn, Self::OPEN.to_owned()).await.unwrap()[0]
        })
    }

    /// Runs a plain query whose first column is one text.
    fn text(conn: &mut <Self::Db as Database>::Connection, sql: String) -> BoxFuture<'_, Result<String, sqlx::Error>>;

    /// A pool to look at the database from outside.
    fn outside(home: &Self::Home) -> BoxFuture<'_, Pool<Self::Db>> {
        Self::connect(home, 2)
    }

    /// Runs plain SQL and counts the rows that it changed.
    fn execute(conn: &mut <Self::Db as Database>::Connection, sql: String) -> BoxFuture<'_, Result<u64, sqlx::Error>>;

    /// Runs a plain query whose first column is of numbers.
    fn numbers(
        conn: &mut <Self::Db as Database>::Connection,
        sql: String,
    ) -> BoxFuture<'_, Result<Vec<i64>, sqlx::Error>>;

    /// The temporary tables of this connection.
    fn temporary_tables(conn: &mut <Self::Db as Database>::Connection) -> BoxFuture<'_, Vec<String>>;

    /// Tests if a transaction is open on this connection.
    ///
    /// It asks the database and not sqlx.
    fn in_transaction(conn: &mut <Self::Db as Database>::Connection) -> BoxFuture<'_, bool>;

    /// Makes a failing statement end or abort this transaction.
    fn spoil<'t>(tx: &'t mut Transaction<Self::Db>, pool: &'t Pool<Self::Db>) -> BoxFuture<'t, sqlx::Error>;

    /// The database's plan for the merge of a bulk call.
    ///
    /// It runs what the call ran before its merge again on this connection, and asks how the database would run the merge.
    fn merge_plan<'c>(
        conn: &'c mut <Self::Db as Database>::Connection,
        statements: &'c [String],
        table: &'static str,
    ) -> BoxFuture<'c, Plan>;
}

/// Name and version that a database gives itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Name, such as MariaDB.
    pub name: &'static str,
    /// Version numbers, without what a distribution adds.
    pub version: String,
}

impl Server {
    /// Takes the numbers of a version such as `10.11.19-MariaDB-0+deb12u1`.
    pub(crate) fn new(name: &'static str, version: &str) -> Self {
        let end = version.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(version.len());
        Self { name, version: version[..end].to_owned() }
    }

    /// Returns true for MySQL itself, and false for MariaDB.
    ///
    /// MySQL has no `INSERT .. RETURNING`, and so needs a statement more for some calls. sqlx has one driver for it and for MariaDB.
    #[must_use]
    pub fn is_mysql(&self) -> bool {
        self.name == "MySQL"
    }

    /// Announces the server once, past the capture of a test's output.
    ///
    /// `tests/run` puts it into its closing line.
    fn announce(&self) {
        static SAID: Mutex<Vec<Server>> = Mutex::new(Vec::new());
        let mut said = SAID.lock().unwrap();
        if !said.contains(self) {
            said.push(self.clone());
            // In one piece, as others write there too.
            std::io::stderr().write_all(format!("SERVER: {self}\n").as_bytes()).unwrap();
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// A database's plan for a merge.
#[derive(Debug)]
pub struct Plan {
    /// The plan as the database words it.
    pub text: String,
    /// True if the whole target is read for each staged row.
    pub scans_target: bool,
}

const SCHEMA: &[&str] = &[
    "CREATE TABLE retweets (id {id}, tweet BIGINT NOT NULL, retweeter BIGINT NOT NULL, original_author BIGINT NOT NULL, \
     UNIQUE (tweet, retweeter))",
    "CREATE TABLE accounts (id {id}, email {text} NOT NULL, handle {text} NOT NULL, age BIGINT NOT NULL CHECK (age >= 0), \
     UNIQUE (email), UNIQUE (handle))",
    "CREATE TABLE notes (id {id}, slug {text} NOT NULL, title {title} NOT NULL, body {text} NOT NULL, stars BIGINT NOT NULL CHECK (stars <= 5), \
     account BIGINT, UNIQUE (slug), FOREIGN KEY (account) REFERENCES accounts (id))",
    "CREATE TABLE pledges (code {text} NOT NULL, account BIGINT NOT NULL, UNIQUE (code), \
     FOREIGN KEY (account) REFERENCES accounts (id) {deferred})",
    "CREATE TABLE tags (code {nocase} NOT NULL, label {text} NOT NULL, UNIQUE (code))",
    "CREATE TABLE settings (id {id}, scope BIGINT, name {text} NOT NULL, value {text} NOT NULL, UNIQUE {nulls} (scope, name))",
    "CREATE TABLE words (word {text} NOT NULL, UNIQUE (word))",
    "CREATE TABLE loose (id {id}, a BIGINT NOT NULL, b BIGINT NOT NULL, label {text} NOT NULL)",
    "CREATE TABLE counted (k BIGINT NOT NULL, UNIQUE (k))",
];

/// A database for one test, with the tables of [`models`](crate::models).
///
/// It is empty at first.
pub struct Fixture<T: TestDb> {
    /// Pool that is tried.
    pub pool: Pool<T::Db>,
    /// Pool with connections of its own, to look from outside.
    pub outside: Pool<T::Db>,
    /// The database's server.
    pub server: Server,
    home: T::Home,
    others: AtomicU32,
}

impl<T: TestDb> Fixture<T> {
    /// Makes a database with eight connections to be tried.
    pub async fn new() -> Self {
        Self::with_connections(8).await
    }

    /// Makes a database with so many connections to be tried.
    pub async fn with_connections(connections: u32) -> Self {
        let home = T::home().await;
        let outside = T::outside(&home).await;
        let pool = T::connect(&home, connections).await;
        let server = T::server(&home, &mut *pool.acquire().await.unwrap()).await;
        server.announce();
        let fixture = Self { pool, outside, server, home, others: AtomicU32::new(0) };
        for table in schema::<T>() {
            fixture.run(&table).await;
        }
        for sql in T::after_schema() {
            fixture.run(sql).await;
        }
        fixture
    }

    /// One more pool to the same database.
    pub async fn another_pool(&self, connections: u32) -> Pool<T::Db> {
        let pool = T::connect(&self.home, connections).await;
        self.others.fetch_add(pool.options().get_max_connections(), Ordering::Relaxed);
        pool
    }

    /// Runs plain SQL from outside and counts the rows it changed.
    ///
    /// Words in braces are this database's own.
    pub async fn run(&self, sql: &str) -> u64 {
        let mut conn = self.outside.acquire().await.unwrap();
        T::execute(&mut conn, words::<T>(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs plain SQL that is expected to fail.
    ///
    /// Gives what the database says of it.
    pub async fn try_run(&self, sql: &str) -> Result<u64, sqlx::Error> {
        let mut conn = self.outside.acquire().await.unwrap();
        T::execute(&mut conn, words::<T>(sql)).await
    }

    /// The first column of a query from outside.
    pub async fn numbers(&self, sql: &str) -> Vec<i64> {
        let mut conn = self.outside.acquire().await.unwrap();
        T::numbers(&mut conn, words::<T>(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The one number that a query from outside gives.
    pub async fn number(&self, sql: &str) -> i64 {
        let numbers = self.numbers(sql).await;
        assert_eq!(numbers.len(), 1, "{sql}");
        numbers[0]
    }

    /// Number of rows in the table, seen from outside.
    pub async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}")).await
    }

    /// Checks that the pool's next user meets nothing of earlier calls.
    ///
    /// The pool has one connection.
    pub async fn assert_pool_clean(&self, when: &str) {
        let mut conn = match self.pool.acquire().await {
            Ok(conn) => conn,
            Err(error) => panic!("{when}: {error}; {}", self.activity().await),
        };
        // One that was closed may still be about to run what was sent before, and to commit.
        let known = || self.pool.size() + self.outside.size() + self.others.load(Ordering::Relaxed);
        while T::open(&self.home, &self.outside).await > known().into() {
            tokio::task::yield_now().await;
        }
        Self::assert_clean(&mut conn, when).await;
        drop(conn);
        let tx = upsertable::begin(&self.pool).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        tx.rollback().await.unwrap_or_else(|error| panic!("{when}: {error}"));
    }

    /// Describes pool and server when a connection does not come.
    async fn activity(&self) -> String {
        let mut conn = self.outside.acquire().await.unwrap();
        let seen = match T::ACTIVITY {
            Some(sql) => T::text(&mut conn, sql.to_owned()).await.unwrap_or_else(|error| error.to_string()),
            None => String::new(),
        };
        format!("of {} connections of the pool {} are idle: {seen}", self.pool.size(), self.pool.num_idle())
    }

    /// Checks that this connection has no transaction open and no temporary table.
    pub async fn assert_clean(conn: &mut <T::Db as Database>::Connection, when: &str) {
        assert!(!T::in_transaction(conn).await, "{when}: a transaction is open");
        assert_eq!(T::temporary_tables(conn).await, Vec::<String>::new(), "{when}: a temporary table is left");
    }
}

/// The statements that make the tables of [`models`](crate::models).
#[must_use]
pub fn schema<T: TestDb>() -> Vec<String> {
    let wide = crate::models::wide_schema();
    SCHEMA.iter().copied().chain([wide.as_str()]).map(words::<T>).collect()
}

/// SQL with the words in braces as the database says them.
fn words<T: TestDb>(sql: &str) -> String {
    T::WORDS.iter().fold(sql.to_owned(), |sql, (word, meaning)| sql.replace(word, meaning))
}
