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

/// One database server or file format, as the contract suite sees it: how to get an empty database on it, and what differs in plain SQL.
///
/// MySQL and MariaDB are two of these with one driver.
pub trait TestDb: Sized + Send + Sync + 'static {
    /// sqlx's driver.
    type Db: Backend;

    /// What keeps the database of one test alive, and removes it when dropped.
    type Home: Send + Sync;

    /// The words that stand in braces in the tables' statements, as this database says them.
    const WORDS: &'static [(&'static str, &'static str)];

    /// Whether placeholders are `$1, $2, ..` rather than `?`.
    const NUMBERED: bool;

    /// Whether a unique index can take two NULLs for equal.
    const NULLS_NOT_DISTINCT: bool;

    /// Whether a unique index can cover a part of the rows only.
    const PARTIAL_INDEXES: bool;

    /// Whether a foreign key can be checked at COMMIT.
    const DEFERRED_CONSTRAINTS: bool;

    /// Whether a transaction goes on after a statement that failed.
    const SURVIVES_FAILED_STATEMENTS: bool;

    /// Whether a savepoint is set before a row is created inside a transaction, which would end with the statement otherwise.
    const SAVES_BEFORE_INSERT: bool = false;

    /// Whether a connection goes on after a statement that was given up before its answer.
    const GIVEN_UP_GOES_ON: bool = true;

    /// Says in one text what the connections to this test's database are doing.
    const ACTIVITY: Option<&'static str> = None;

    /// Says how many connections to this test's database are open: see [`open`](Self::open).
    const OPEN: &'static str = "SELECT 0";

    /// What runs once the tables are there.
    #[must_use]
    fn after_schema() -> &'static [&'static str] {
        &[]
    }

    /// An empty database without tables.
    fn home() -> BoxFuture<'static, Self::Home>;

    /// A pool of exactly so many connections to it, none of them idle for long enough to be closed.
    fn connect(home: &Self::Home, connections: u32) -> BoxFuture<'_, Pool<Self::Db>>;

    /// Who answers on this connection.
    fn server<'h>(home: &'h Self::Home, conn: &'h mut <Self::Db as Database>::Connection) -> BoxFuture<'h, Server>;

    /// How many connections to this test's database are open, one counted whose caller has given it up until the server has seen it.
    fn open<'h>(_home: &'h Self::Home, outside: &'h Pool<Self::Db>) -> BoxFuture<'h, i64> {
        Box::pin(async {
            let mut conn = outside.acquire().await.unwrap();
            Self::numbers(&mut conn, Self::OPEN.to_owned()).await.unwrap()[0]
        })
    }

    /// The first column of a plain query, which is one text.
    fn text(conn: &mut <Self::Db as Database>::Connection, sql: String) -> BoxFuture<'_, Result<String, sqlx::Error>>;

    /// A pool that looks from outside.
    fn outside(home: &Self::Home) -> BoxFuture<'_, Pool<Self::Db>> {
        Self::connect(home, 2)
    }

    /// Runs plain SQL and counts the rows that it changed.
    fn execute(conn: &mut <Self::Db as Database>::Connection, sql: String) -> BoxFuture<'_, Result<u64, sqlx::Error>>;

    /// The first column of a plain query, which is of numbers.
    fn numbers(
        conn: &mut <Self::Db as Database>::Connection,
        sql: String,
    ) -> BoxFuture<'_, Result<Vec<i64>, sqlx::Error>>;

    /// The temporary tables of this connection.
    fn temporary_tables(conn: &mut <Self::Db as Database>::Connection) -> BoxFuture<'_, Vec<String>>;

    /// Whether a transaction is open on this connection, asked of the database and not of sqlx.
    fn in_transaction(conn: &mut <Self::Db as Database>::Connection) -> BoxFuture<'_, bool>;

    /// Makes the database end or abort this transaction, through a statement that fails.
    fn spoil<'t>(tx: &'t mut Transaction<Self::Db>, pool: &'t Pool<Self::Db>) -> BoxFuture<'t, sqlx::Error>;

    /// Runs what a bulk call ran before its merge again on this connection, and says how the database would run the merge.
    fn merge_plan<'c>(
        conn: &'c mut <Self::Db as Database>::Connection,
        statements: &'c [String],
        table: &'static str,
    ) -> BoxFuture<'c, Plan>;
}

/// What a database calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Such as MariaDB.
    pub name: &'static str,
    /// Its numbers, and nothing of what a distribution adds.
    pub version: String,
}

impl Server {
    /// Of a version such as `10.11.19-MariaDB-0+deb12u1`, the numbers only.
    pub(crate) fn new(name: &'static str, version: &str) -> Self {
        let end = version.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(version.len());
        Self { name, version: version[..end].to_owned() }
    }

    /// MySQL's own: without `INSERT .. RETURNING`, and so with a statement more for some calls. sqlx has one driver for it and for MariaDB.
    #[must_use]
    pub fn is_mysql(&self) -> bool {
        self.name == "MySQL"
    }

    /// Says once which one it is, past the capture of a test's output: `tests/run` puts it into its closing line.
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

/// How a merge would be run.
#[derive(Debug)]
pub struct Plan {
    /// The plan as the database words it.
    pub text: String,
    /// Whether the target is read from end to end for each staged row.
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

/// An empty database with the tables of [`models`](crate::models), alone for one test.
pub struct Fixture<T: TestDb> {
    /// The pool that is tried.
    pub pool: Pool<T::Db>,
    /// Looks from outside: connections of its own.
    pub outside: Pool<T::Db>,
    /// Who it is.
    pub server: Server,
    home: T::Home,
    others: AtomicU32,
}

impl<T: TestDb> Fixture<T> {
    /// With eight connections to be tried.
    pub async fn new() -> Self {
        Self::with_connections(8).await
    }

    /// With so many connections to be tried.
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

    /// Runs plain SQL from outside and counts the rows that it changed. Words in braces are this database's own.
    pub async fn run(&self, sql: &str) -> u64 {
        let mut conn = self.outside.acquire().await.unwrap();
        T::execute(&mut conn, words::<T>(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same for SQL that is expected to fail: what the database says of it.
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

    /// How many rows the table has, seen from outside.
    pub async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}")).await
    }

    /// Checks that the next user of the pool, which has one connection, meets nothing of an earlier call.
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

    /// What the pool and the server say when a connection does not come.
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

/// SQL with the words in braces said as the database says them.
fn words<T: TestDb>(sql: &str) -> String {
    T::WORDS.iter().fold(sql.to_owned(), |sql, (word, meaning)| sql.replace(word, meaning))
}
