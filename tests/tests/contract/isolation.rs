//! Promises R1, B3 and C1 by isolation level.
//!
//! The table of the README is made here, by trying.
//!
//! `UPDATE_README=1 cargo test -p upsertable-tests --test postgres isolation` writes the rows of PostgreSQL anew; likewise for the others.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::join_all;
use sqlx::Database as _;
use tokio::sync::Barrier;
use upsertable::{Error, Isolation, Transaction, TransactionOptions, Upsertable as _};
use upsertable_tests::{
    Server, TestDb as _,
    models::{NewRetweet, Retweet, RetweetKey, retweet},
};

use super::{Db, Fixture, Subject};

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
    /// Name in the README's table.
    name: &'static str,
    isolation: Option<Isolation>,
    /// Statement that makes it the level of a session.
    session: Option<String>,
    /// True if several transactions can read before one of them writes.
    read_together: bool,
}

/// The levels that the database has.
fn levels(server: &Server) -> Vec<Level> {
    use Isolation::{ReadCommitted, ReadUncommitted, RepeatableRead, Serializable};
    let (set, levels): (_, &[_]) = match Db::NAME {
        "SQLite" => {
            return vec![Level { name: "its only one", isolation: None, session: None, read_together: false }];
        }
        "PostgreSQL" => (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL",
            &[
                ("READ COMMITTED (default)", ReadCommitted),
                ("REPEATABLE READ", RepeatableRead),
                ("SERIALIZABLE", Serializable),
            ],
        ),
        _ => (
            "SET SESSION TRANSACTION ISOLATION LEVEL",
            &[
                ("READ UNCOMMITTED", ReadUncommitted),
                ("READ COMMITTED", ReadCommitted),
                ("REPEATABLE READ (default)", RepeatableRead),
                ("SERIALIZABLE", Serializable),
            ],
        ),
    };
    let level = |&(name, isolation): &(&'static str, Isolation)| {
        // Behind a pooler a session is somebody else's the moment after.
        let keeps = server.name != "PgBouncer";
        let session = keeps.then(|| format!("{set} {}", name.trim_end_matches(" (default)")));
        Level { name, isolation: Some(isolation), session, read_together: true }
    };
    levels.iter().map(level).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_isolation_levels_in_the_readme_is_what_happens() {
    let mut lines = Vec::new();
    for level in levels(&Fixture::with_connections(1).await.server) {
        let db = Fixture::with_connections(CALLERS as u32).await;
        at_level(&db, &level).await;
        one_row_on_a_pool(&db).await;
        many_rows_on_a_pool(&db).await;
        let one = in_transactions(&db, &level, Calls::One).await;
        let many = in_transactions(&db, &level, Calls::Many).await;
        again_until_it_holds(&db, &level).await;
        let database = called(&db.server);
        lines.push(format!("| {database} | {} | holds | holds | {one} | {many} | holds |\n", level.name));
    }
    compare(&lines);
}

/// Name of the database in the README's table.
///
/// One of another version is called after the nearest that is in it.
fn called(server: &Server) -> &'static str {
    let mut numbers = server.version.split('.').map_while(|number| number.parse::<u32>().ok());
    match server.name {
        "MySQL" => "MySQL 9.7",
        // From there on a transaction is refused what was changed after its snapshot, unless the server is told otherwise.
        "MariaDB" if (numbers.next(), numbers.next()) >= (Some(11), Some(6)) => "MariaDB 11.8",
        "MariaDB" => "MariaDB 10.11",
        "PgBouncer" => "PostgreSQL",
        name => name,
    }
}

/// Makes the level that of every session of the pool.
async fn at_level(db: &Fixture, level: &Level) {
    let Some(session) = &level.session else { return };
    let mut held = Vec::new();
    for _ in 0..CALLERS {
        let mut conn = db.pool.acquire().await.unwrap();
        Subject::execute(&mut conn, session.clone()).await.unwrap();
        held.push(conn);
    }
}

async fn one_row_on_a_pool(db: &Fixture) {
    for round in 0..ROUNDS {
        let outcomes = join_all((0..CALLERS).map(|_| {
            let pool = db.pool.clone();
            tokio::spawn(async move { Retweet::get_or_create(&pool, retweet(1, round)).await })
        }));
        let outcomes: Vec<_> = outcomes.await.into_iter().map(|outcome| outcome.unwrap().unwrap()).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.created).count(), 1);
        assert!(outcomes.iter().all(|outcome| outcome.row.id == outcomes[0].row.id));
    }
}

async fn many_rows_on_a_pool(db: &Fixture) {
    for round in 0..3 {
        let calls = join_all((0..CALLERS).map(|caller| {
            let pool = db.pool.clone();
            tokio::spawn(async move { Retweet::bulk_create_new(&pool, rows(100 + round, caller)).await })
        }));
        let created: u64 = calls.await.into_iter().map(|done| done.unwrap().unwrap().created).sum();
        assert_eq!(created, KEYS as u64);
    }
}

/// One set of keys for every caller, reversed for every other.
fn rows(tweet: i64, caller: usize) -> Vec<NewRetweet> {
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
    async fn run(self, tx: &mut Transaction<Db>, tweet: i64, caller: usize) -> Result<u64, Error> {
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
async fn in_transactions(db: &Fixture, level: &Level, calls: Calls) -> &'static str {
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
async fn again_until_it_holds(db: &Fixture, level: &Level) {
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
