//! Promises R1, B3 and C1 by database and isolation level.
//!
//! The table of the README is made here, by trying.
//!
//! `UPDATE_README=1 cargo test -p upsertable-tests --test isolation` writes the table anew, for the databases that are there.

// Counts and numbers of the tests are small.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::join_all;
use sqlx::Pool;
use tokio::sync::Barrier;
use upsertable::{Error, Isolation, On, TransactionOptions, Upsertable as _};
use upsertable_tests::{
    Fixture, OnMySql, OnPostgres, OnSqlite, Server, TestDb,
    models::{Retweet, RetweetKey, retweet},
    mysql_url,
};

const CALLERS: usize = 4;
const ROUNDS: i64 = 25;
const KEYS: i64 = 4_000;

const HEAD: &str = "\
| database | isolation level | R1 on a pool | B3 on a pool | R1 in a transaction | B3 in a transaction | C1 |
|---|---|---|---|---|---|---|
";
const HOLDS: &str = "holds";
const LOSES: &str = "holds, or a retryable error";
const ORDER: [&str; 5] = ["SQLite", "PostgreSQL", "MariaDB 10.11", "MariaDB 11.8", "MySQL 9.7"];
const BEGIN: &str = "<!-- the table of isolation levels -->\n";
const END: &str = "<!-- its end -->\n";

/// One isolation level of a database.
struct Level {
    name: &'static str,
    isolation: Option<Isolation>,
    /// Statement that makes it the level of a session.
    session: &'static str,
    /// True if several transactions can read before one of them writes.
    read_together: bool,
}

const READ_UNCOMMITTED: Level = Level {
    name: "READ UNCOMMITTED",
    isolation: Some(Isolation::ReadUncommitted),
    session: "READ UNCOMMITTED",
    read_together: true,
};
const READ_COMMITTED: Level = Level {
    name: "READ COMMITTED",
    isolation: Some(Isolation::ReadCommitted),
    session: "READ COMMITTED",
    read_together: true,
};
const REPEATABLE_READ: Level = Level {
    name: "REPEATABLE READ",
    isolation: Some(Isolation::RepeatableRead),
    session: "REPEATABLE READ",
    read_together: true,
};
const SERIALIZABLE: Level = Level {
    name: "SERIALIZABLE",
    isolation: Some(Isolation::Serializable),
    session: "SERIALIZABLE",
    read_together: true,
};

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_the_table_in_the_readme_is_what_happens() {
    let its_own = Level { name: "its only one", isolation: None, session: "", read_together: false };
    compare(&measure::<OnSqlite>("", &[its_own]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_the_table_in_the_readme_is_what_happens() {
    if std::env::var_os("DATABASE_URL_POSTGRES").is_none() {
        println!("SKIPPED: the levels of PostgreSQL, as DATABASE_URL_POSTGRES is not set");
        return;
    }
    let session = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL ";
    let default = Level { name: "READ COMMITTED (default)", ..READ_COMMITTED };
    compare(&measure::<OnPostgres>(session, &[default, REPEATABLE_READ, SERIALIZABLE]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mysql_or_mariadb_the_table_in_the_readme_is_what_happens() {
    if mysql_url().is_none() {
        println!(
            "SKIPPED: the levels of MySQL and MariaDB, as neither DATABASE_URL_MYSQL nor DATABASE_URL_MARIADB is set"
        );
        return;
    }
    let session = "SET SESSION TRANSACTION ISOLATION LEVEL ";
    let default = Level { name: "REPEATABLE READ (default)", ..REPEATABLE_READ };
    compare(&measure::<OnMySql>(session, &[READ_UNCOMMITTED, READ_COMMITTED, default, SERIALIZABLE]).await);
}

/// Name of the database in the README's table.
///
/// One of another version is called after the nearest that is in it.
fn called(server: &Server) -> &'static str {
    let mut numbers = server.version.split('.').map(|number| number.parse::<u32>().unwrap());
    match server.name {
        "MySQL" => "MySQL 9.7",
        // From there on a transaction is refused what was changed after its snapshot, unless the server is told otherwise.
        "MariaDB" if (numbers.next(), numbers.next()) >= (Some(11), Some(6)) => "MariaDB 11.8",
        "MariaDB" => "MariaDB 10.11",
        name => name,
    }
}

async fn measure<T: TestDb>(session: &str, levels: &[Level]) -> Vec<String>
where
    Retweet: On<T::Db>,
{
    let mut lines = Vec::new();
    for level in levels {
        let db = Fixture::<T>::with_connections(CALLERS as u32).await;
        at_level::<T>(&db, session, level).await;
        one_row_on_a_pool(&db.pool).await;
        many_rows_on_a_pool(&db.pool).await;
        let one = in_transactions(&db, level, Calls::One).await;
        let many = in_transactions(&db, level, Calls::Many).await;
        again_until_it_holds(&db, level).await;
        let database = called(&db.server);
        lines.push(format!("| {database} | {} | holds | holds | {one} | {many} | holds |\n", level.name));
    }
    lines
}

/// Makes the level that of every session of the pool.
async fn at_level<T: TestDb>(db: &Fixture<T>, session: &str, level: &Level) {
    let mut held = Vec::new();
    for _ in 0..CALLERS {
        let mut conn = db.pool.acquire().await.unwrap();
        if !level.session.is_empty() {
            T::execute(&mut conn, format!("{session}{}", level.session)).await.unwrap();
        }
        held.push(conn);
    }
}

async fn one_row_on_a_pool<DB: upsertable::Backend>(pool: &Pool<DB>)
where
    Retweet: On<DB>,
{
    for round in 0..ROUNDS {
        let outcomes = join_all((0..CALLERS).map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { Retweet::get_or_create(&pool, retweet(1, round)).await })
        }));
        let outcomes: Vec<_> = outcomes.await.into_iter().map(|outcome| outcome.unwrap().unwrap()).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.created).count(), 1);
        assert!(outcomes.iter().all(|outcome| outcome.row.id == outcomes[0].row.id));
    }
}

async fn many_rows_on_a_pool<DB: upsertable::Backend>(pool: &Pool<DB>)
where
    Retweet: On<DB>,
{
    for round in 0..3 {
        let calls = join_all((0..CALLERS).map(|caller| {
            let pool = pool.clone();
            tokio::spawn(async move { Retweet::bulk_create_new(&pool, rows(100 + round, caller)).await })
        }));
        let created: u64 = calls.await.into_iter().map(|done| done.unwrap().unwrap().created).sum();
        assert_eq!(created, KEYS as u64);
    }
}

/// One set of keys for every caller, reversed for every other.
fn rows(tweet: i64, caller: usize) -> Vec<upsertable_tests::models::NewRetweet> {
    let mut rows: Vec<_> = (0..KEYS).map(|retweeter| retweet(tweet, retweeter)).collect();
    if caller % 2 == 1 {
        rows.reverse();
    }
    rows
}

#[derive(Clone, Copy, PartialEq)]
enum Calls {
    One,
    Many,
}

impl Calls {
    async fn run<DB: upsertable::Backend>(
        self,
        tx: &mut upsertable::Transaction<DB>,
        tweet: i64,
        caller: usize,
    ) -> Result<u64, Error>
    where
        Retweet: On<DB>,
    {
        match self {
            Self::One => Ok(u64::from(Retweet::get_or_create(tx, retweet(tweet, 0)).await?.created)),
            Self::Many => Ok(Retweet::bulk_create_new(tx, rows(tweet, caller)).await?.created),
        }
    }

    fn expected(self) -> i64 {
        if self == Self::One { 1 } else { KEYS }
    }
}

/// Tries transactions that have all read "absent" before one writes.
///
/// As far as the database lets them.
async fn in_transactions<T: TestDb>(db: &Fixture<T>, level: &Level, calls: Calls) -> &'static str
where
    Retweet: On<T::Db>,
{
    let mut lost = 0;
    let rounds = if calls == Calls::One { ROUNDS } else { 8 };
    for round in 0..rounds {
        let tweet = 1_000 + round + 100 * i64::from(calls == Calls::Many);
        let all_have_read = Arc::new(Barrier::new(if level.read_together { CALLERS } else { 1 }));
        let told = Arc::new(AtomicU64::new(0));
        let callers = join_all((0..CALLERS).map(|caller| {
            let (pool, all_have_read, told) = (db.pool.clone(), Arc::clone(&all_have_read), Arc::clone(&told));
            let options = options(level);
            tokio::spawn(async move {
                let mut tx = options.begin(&pool).await?;
                tx.on_commit(async move {
                    told.fetch_add(1, Ordering::Relaxed);
                });
                Retweet::find(&mut tx, RetweetKey { tweet, retweeter: 0 }).await?;
                all_have_read.wait().await;
                let created = calls.run(&mut tx, tweet, caller).await?;
                tx.commit().await?;
                Ok::<_, Error>(created)
            })
        }));
        let (mut created, mut committed) = (0, 0);
        for outcome in callers.await {
            match outcome.unwrap() {
                Ok(new) => (created, committed) = (created + new, committed + 1),
                Err(error) => {
                    assert!(error.is_retryable(), "{}: {error}", level.name);
                    lost += 1;
                }
            }
        }
        // C1: exactly what was committed is told, and it is there.
        assert_eq!(told.load(Ordering::Relaxed), committed, "{}", level.name);
        let there = db.number(&format!("SELECT count(*) FROM retweets WHERE tweet = {tweet}")).await;
        assert_eq!((created as i64, there), (calls.expected(), calls.expected()), "{}", level.name);
    }
    if lost == 0 { HOLDS } else { LOSES }
}

/// Checks that what was lost is won in new transactions.
async fn again_until_it_holds<T: TestDb>(db: &Fixture<T>, level: &Level)
where
    Retweet: On<T::Db>,
{
    for calls in [Calls::One, Calls::Many] {
        let tweet = 2_000 + i64::from(calls == Calls::Many);
        let callers = join_all((0..CALLERS).map(|caller| {
            let (pool, options) = (db.pool.clone(), options(level).attempts(50));
            tokio::spawn(async move {
                let work = options.run(&pool, async |tx| {
                    Retweet::find(&mut *tx, RetweetKey { tweet, retweeter: 0 }).await?;
                    calls.run(tx, tweet, caller).await
                });
                work.await
            })
        }));
        let created: u64 = callers.await.into_iter().map(|created| created.unwrap().unwrap()).sum();
        assert_eq!(created as i64, calls.expected(), "{}", level.name);
    }
}

fn options(level: &Level) -> TransactionOptions {
    match level.isolation {
        Some(isolation) => TransactionOptions::new().isolation(isolation),
        None => TransactionOptions::new(),
    }
}

/// Holds the lines against those of the README, or writes them there.
fn compare(lines: &[String]) {
    // The tests of this program share the file.
    static README: Mutex<()> = Mutex::new(());
    let _alone = README.lock();
    println!("{HEAD}{}", lines.concat());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_README").is_some() {
        let tried: Vec<_> = lines.iter().map(|line| database(line)).collect();
        let kept = table.split_inclusive('\n').skip(2).filter(|line| !tried.contains(&database(line)));
        // Callers that have once lost there can lose again.
        let seen =
            |line: &'_ String| table.split_inclusive('\n').find(|written| agree(written, line)).map(str::to_owned);
        let lines: Vec<String> = lines.iter().map(|line| seen(line).unwrap_or_else(|| line.clone())).collect();
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).chain(kept).collect();
        lines.sort_by_key(|line| ORDER.iter().position(|name| *name == database(line)));
        fs::write(&path, format!("{before}{BEGIN}{HEAD}{}{END}{after}", lines.concat())).unwrap();
        return;
    }
    for line in lines {
        let agrees = table.split_inclusive('\n').any(|written| agree(written, line));
        assert!(agrees, "the README's table says otherwise than what happened:\n{line}{table}");
    }
}

/// Compares two rows of the table, where losing is chance.
///
/// Where callers may lose, it is chance whether one has lost this time.
fn agree(written: &str, happened: &str) -> bool {
    let cells = written.split('|').zip(happened.split('|'));
    written.matches('|').count() == happened.matches('|').count()
        && cells
            .into_iter()
            .all(|(written, happened)| written == happened || (written.trim() == LOSES && happened.trim() == HOLDS))
}

fn database(line: &str) -> &str {
    line.split('|').nth(1).map_or("", str::trim)
}
