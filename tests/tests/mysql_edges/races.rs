//! Races at every isolation level, with exact counts.
//!
//! On a pool and in transactions.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Executor as _, MySql, MySqlPool, mysql::MySqlPoolOptions};
use tokio::{sync::Barrier, task::JoinSet};
use upsertable::{Error, Handle, TransactionOptions, Upsertable as _};
use upsertable_tests::{
    Fixture, OnMySql,
    models::{Account, Retweet, account, retweet},
    race,
};

use crate::{NewPerson, PEOPLE, Person, by_email, number, person, run, with_tables};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    name: &'static str,
    /// True if a transaction is refused what changed after its snapshot.
    ///
    /// Newer servers of MariaDB do so unless told otherwise.
    snapshot: bool,
}

const fn level(name: &'static str) -> Level {
    Level { name, snapshot: false }
}

const fn strict(name: &'static str) -> Level {
    Level { name, snapshot: true }
}

const READ_UNCOMMITTED: Level = level("READ UNCOMMITTED");
const READ_COMMITTED: Level = level("READ COMMITTED");
const REPEATABLE_READ: Level = level("REPEATABLE READ");

const LEVELS: [Level; 6] = [
    READ_UNCOMMITTED,
    READ_COMMITTED,
    REPEATABLE_READ,
    level("SERIALIZABLE"),
    strict("REPEATABLE READ"),
    strict("SERIALIZABLE"),
];

/// A pool whose sessions are and stay at this level.
async fn pool_at(db: &Fixture<OnMySql>, level: Level, connections: u32) -> MySqlPool {
    let options = MySqlPoolOptions::new().min_connections(connections).max_connections(connections);
    let options = options.after_connect(move |conn, _| {
        Box::pin(async move {
            let set = format!("SET SESSION TRANSACTION ISOLATION LEVEL {}", level.name);
            conn.execute(AssertSqlSafe(set)).await?;
            let set = format!("SET SESSION innodb_snapshot_isolation = {}", level.snapshot);
            // MySQL does not have it.
            drop(conn.execute(AssertSqlSafe(set)).await);
            Ok(())
        })
    });
    options.connect_with((*db.pool.connect_options()).clone()).await.unwrap()
}

fn patient() -> TransactionOptions {
    TransactionOptions::new().attempts(300).backoff(Duration::from_millis(1), Duration::from_millis(50))
}

/// The id of the row, and whether this caller made it.
type Given = (i64, bool);

/// Asks for one row, in a different way for each number.
async fn ask<'h>(way: usize, db: impl Handle<'h, MySql>, new: NewPerson) -> Result<Given, Error> {
    let outcome = match way % 6 {
        0 | 1 => Person::get_or_create(db, new).await?,
        2 | 3 => Person::upsert(db, new).await?,
        4 => Person::get_or_create_with(db, by_email(&new.email.clone()), async || Ok::<_, Error>(new)).await?,
        _ => Person::bulk_get_or_create(db, [new]).await?.remove(0),
    };
    Ok((outcome.row.id, outcome.created))
}

/// Checks that in each round one caller made the row.
///
/// All were given that row.
fn assert_made_once(given: &[Vec<Given>], what: &str) {
    let rounds = given[0].len();
    for round in 0..rounds {
        let ids: HashSet<i64> = given.iter().map(|task| task[round].0).collect();
        assert_eq!(ids.len(), 1, "{what}, round {round}: the row's ids");
        let made = given.iter().filter(|task| task[round].1).count();
        assert_eq!(made, 1, "{what}, round {round}: who made it");
    }
}

const CALLERS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn r1_on_a_pool_one_caller_makes_the_row_at_every_level() {
    const ROUNDS: usize = 200;
    let db = with_tables(1, &[PEOPLE]).await;
    for level in LEVELS {
        let pool = pool_at(&db, level, CALLERS as u32).await;
        run(&db.pool, "DELETE FROM people").await;
        let done = race(&pool, 0..CALLERS, move |task, pool, start| async move {
            let mut given = Vec::new();
            for round in 0..ROUNDS {
                start.wait().await;
                given.push(ask(task + round, &pool, person(&round.to_string(), task as i64)).await.unwrap());
            }
            given
        })
        .await;
        assert_made_once(&done, &format!("{level:?}"));
        assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, ROUNDS as i64, "{level:?}");
    }
}

/// Of transactions that have read "absent", one makes the row.
///
/// All have begun, and have read that the row is not there, before the first asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn r1_in_transactions_that_have_read_absent_one_makes_the_row_at_every_level() {
    const ROUNDS: usize = 40;
    let db = with_tables(1, &[PEOPLE]).await;
    for level in LEVELS {
        let pool = pool_at(&db, level, CALLERS as u32).await;
        run(&db.pool, "DELETE FROM people").await;
        let (start, read) = (Arc::new(Barrier::new(CALLERS)), Arc::new(Barrier::new(CALLERS)));
        let mut tasks = JoinSet::new();
        for task in 0..CALLERS {
            let (pool, start, read) = (pool.clone(), Arc::clone(&start), Arc::clone(&read));
            tasks.spawn(async move {
                let mut given = Vec::new();
                for round in 0..ROUNDS {
                    start.wait().await;
                    let first = AtomicBool::new(true);
                    let email = &round.to_string();
                    let one = patient().run(&pool, async |tx| {
                        let found = Person::find(&mut *tx, by_email(email)).await?;
                        if first.swap(false, Ordering::Relaxed) {
                            assert_eq!(found, None);
                            read.wait().await;
                        }
                        ask(task + round, tx, person(email, task as i64)).await
                    });
                    given.push(one.await.unwrap());
                }
                given
            });
        }
        assert_made_once(&tasks.join_all().await, &format!("{level:?}"));
        assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, ROUNDS as i64, "{level:?}");
    }
}

/// Waits until so many transactions wait for a lock.
///
/// They are of this test's database. Those that are done count, too.
async fn wait_for_waiting(db: &Fixture<OnMySql>, transactions: i64, done: &AtomicI64) {
    // MySQL fails to list the transactions while one of them, in whichever database, runs a statement with bytes that are no text.
    let waiting = if db.server.is_mysql() {
        "SELECT count(DISTINCT w.requesting_thread_id) FROM performance_schema.data_lock_waits AS w \
         JOIN performance_schema.threads AS t ON t.thread_id = w.requesting_thread_id WHERE t.processlist_db = DATABASE()"
    } else {
        "SELECT count(*) FROM information_schema.innodb_trx AS t JOIN information_schema.processlist AS p \
         ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND t.trx_state = 'LOCK WAIT'"
    };
    while number(&db.outside, waiting).await + done.load(Ordering::SeqCst) < transactions {
        // The server answers with what it said before, to who asks again within a tenth of a second.
        tokio::time::sleep(Duration::from_millis(110)).await;
    }
}

async fn ask_and_commit(way: usize, pool: &MySqlPool, new: NewPerson) -> Result<Given, Error> {
    let mut tx = upsertable::begin(pool).await?;
    let given = ask(way, &mut tx, new).await?;
    tx.commit().await?;
    Ok(given)
}

/// Three losers get the winner's row, or make it instead.
///
/// A locking read of all three would be a deadlock if it locked for more than it has to.
#[tokio::test(flavor = "multi_thread")]
async fn r1_three_losers_get_the_winner_s_row_or_make_it_when_the_winner_gives_up() {
    const LOSERS: usize = 3;
    let db = with_tables(1, &[PEOPLE]).await;
    // At READ UNCOMMITTED nobody waits for the winner: its row is seen at once.
    for level in LEVELS.into_iter().filter(|level| *level != READ_UNCOMMITTED) {
        let pool = pool_at(&db, level, LOSERS as u32).await;
        for (way, inside, commits) in [0, 2, 5]
            .into_iter()
            .flat_map(|way| [(way, false), (way, true)])
            .flat_map(|(way, inside)| [(way, inside, true), (way, inside, false)])
        {
            let what = format!("{level:?}, way {way}, in transactions: {inside}, the winner commits: {commits}");
            run(&db.pool, "DELETE FROM people").await;
            let mut winner = upsertable::begin(&db.pool).await.unwrap();
            let won = Person::get_or_create(&mut winner, person("x", 1)).await.unwrap().row.id;
            let (mut losers, done) = (JoinSet::new(), Arc::new(AtomicI64::new(0)));
            for loser in 0..LOSERS {
                let (pool, done) = (pool.clone(), Arc::clone(&done));
                losers.spawn(async move {
                    let new = person("x", loser as i64);
                    let given = if inside { ask_and_commit(way, &pool, new).await } else { ask(way, &pool, new).await };
                    done.fetch_add(1, Ordering::SeqCst);
                    given
                });
            }
            wait_for_waiting(&db, LOSERS as i64, &done).await;
            if commits {
                winner.commit().await.unwrap();
            } else {
                winner.rollback().await.unwrap();
            }
            let outcomes = losers.join_all().await;
            let all_win = !inside || (commits && way == 0 && [READ_COMMITTED, REPEATABLE_READ].contains(&level));
            let mut made = 0;
            for outcome in &outcomes {
                match outcome {
                    Ok((id, created)) => {
                        made += usize::from(*created);
                        assert!(!commits || *id == won, "{what}: {outcomes:?}");
                    }
                    Err(error) => assert!(!all_win && error.is_retryable(), "{what}: {outcomes:?}"),
                }
            }
            assert_eq!(made, usize::from(!commits), "{what}: {outcomes:?}");
            assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, 1, "{what}");
        }
    }
}

/// Rows of one bulk call, in one order or the other.
fn keys(rows: i64, reversed: bool) -> Vec<NewPerson> {
    let mut rows: Vec<NewPerson> = (0..rows).map(|n| person(&n.to_string(), n)).collect();
    if reversed {
        rows.reverse();
    }
    rows
}

async fn bulk<'h>(way: usize, db: impl Handle<'h, MySql>, rows: Vec<NewPerson>) -> Result<u64, Error> {
    Ok(match way % 3 {
        0 => Person::bulk_create_new(db, rows).await?.created,
        1 => Person::bulk_get_or_create(db, rows).await?.iter().filter(|outcome| outcome.created).count() as u64,
        _ => Person::bulk_upsert(db, rows).await?.created,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_bulk_calls_over_the_same_keys_in_opposite_order_at_every_level() {
    const ROWS: i64 = 5_000;
    const BULKS: usize = 4;
    let db = with_tables(1, &[PEOPLE]).await;
    for level in LEVELS {
        let pool = pool_at(&db, level, BULKS as u32).await;
        for (inside, there) in [(false, 0), (false, ROWS / 2), (true, 0), (true, ROWS / 2)] {
            run(&db.pool, "DELETE FROM people").await;
            Person::bulk_create_new(&db.pool, keys(there, false)).await.unwrap();
            let done = race(&pool, 0..BULKS, move |task, pool, start| async move {
                let rows = keys(ROWS, task % 2 == 0);
                start.wait().await;
                if !inside {
                    return bulk(task, &pool, rows).await.unwrap();
                }
                patient().run(&pool, async |tx| bulk(task, tx, rows.clone()).await).await.unwrap()
            })
            .await;
            let made: u64 = done.into_iter().sum();
            let what = format!("{level:?}, in transactions: {inside}, {there} are there");
            assert_eq!(made, (ROWS - there) as u64, "{what}");
            assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, ROWS, "{what}");
        }
    }
}

/// The rows left are those made less those deleted.
#[tokio::test(flavor = "multi_thread")]
async fn b3_bulk_calls_against_single_writers_and_deleters_at_every_level() {
    const ROWS: i64 = 60;
    const TURNS: i64 = 25;
    let db = with_tables(1, &[PEOPLE]).await;
    for level in LEVELS {
        let pool = pool_at(&db, level, CALLERS as u32).await;
        run(&db.pool, "DELETE FROM people").await;
        let mut tasks = JoinSet::new();
        for task in 0..3_usize {
            let pool = pool.clone();
            tasks.spawn(async move {
                let mut balance = 0;
                for turn in 0..TURNS as usize {
                    match bulk(task + turn, &pool, keys(ROWS, task % 2 == 0)).await {
                        Ok(made) => balance += made as i64,
                        // Each time a row was deleted before it could be read.
                        Err(error) => assert!(matches!(error, Error::Vanished { .. }), "{level:?}: {error}"),
                    }
                }
                balance
            });
        }
        for task in 0..3_usize {
            let pool = pool.clone();
            tasks.spawn(async move {
                let mut balance = 0;
                for turn in 0..TURNS * 8 {
                    let email = (turn * 7 % ROWS).to_string();
                    match ask(task * 2 + turn as usize % 2, &pool, person(&email, turn)).await {
                        Ok((_, made)) => balance += i64::from(made),
                        Err(error) => assert!(matches!(error, Error::Vanished { .. }), "{level:?}: {error}"),
                    }
                }
                balance
            });
        }
        for task in 0..2_i64 {
            let pool = pool.clone();
            tasks.spawn(async move {
                let mut balance = 0;
                for turn in 0..TURNS * 8 {
                    let email = ((turn * 11 + task) % ROWS).to_string();
                    let gone = loop {
                        let delete = sqlx::query("DELETE FROM people WHERE email = ?").bind(&email);
                        match delete.execute(&pool).await.map_err(Error::from) {
                            Ok(done) => break done.rows_affected(),
                            Err(error) => assert!(error.is_retryable(), "{error}"),
                        }
                    };
                    balance -= gone as i64;
                }
                balance
            });
        }
        let balance: i64 = tasks.join_all().await.into_iter().sum();
        assert_eq!(balance, number(&db.pool, "SELECT count(*) FROM people").await, "{level:?}");
    }
}

/// A provoked deadlock ends one transaction.
///
/// Each has made what the other asks for next. One of them is undone by the server, says so, and does nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_that_is_provoked_ends_one_transaction_which_says_so_until_it_is_begun_anew() {
    let db = with_tables(1, &[PEOPLE]).await;
    let mut round = 0;
    for level in LEVELS.into_iter().filter(|level| *level != READ_UNCOMMITTED) {
        let pool = pool_at(&db, level, 2).await;
        for way in [0, 2, 5] {
            // New keys each time: beside rows that were just deleted, two inserts of different keys wait for each other.
            round += 1;
            let (a, b) = (format!("{round} a"), format!("{round} b"));
            let both = Arc::new(Barrier::new(2));
            let mut tasks = JoinSet::new();
            for (mine, other) in [(a.clone(), b.clone()), (b, a)] {
                let (pool, both) = (pool.clone(), Arc::clone(&both));
                tasks.spawn(async move {
                    let mut tx = upsertable::begin(&pool).await.unwrap();
                    // Plainly, as SERIALIZABLE would lock the gap where a row was looked for.
                    let insert = "INSERT INTO people (email, age, about) VALUES (?, 1, '')";
                    sqlx::query(insert).bind(&mine).execute(&mut *tx).await.unwrap();
                    both.wait().await;
                    let Err(error) = ask(way, &mut tx, person(&other, 2)).await else {
                        tx.commit().await.unwrap();
                        return true;
                    };
                    assert!(error.is_retryable(), "{error}");
                    for refused in [
                        Person::get_or_create(&mut tx, person("c", 3)).await.map(drop).unwrap_err(),
                        Person::bulk_create_new(&mut tx, [person("c", 3)]).await.map(drop).unwrap_err(),
                        sqlx::query("INSERT INTO people (email, age, about) VALUES ('c', 3, '')")
                            .execute(&mut *tx)
                            .await
                            .map(drop)
                            .map_err(Error::from)
                            .unwrap_err(),
                        tx.commit().await.map(drop).unwrap_err(),
                    ] {
                        assert!(refused.is_retryable() || matches!(refused, Error::Sql(_)), "{refused}");
                    }
                    false
                });
            }
            let mut won = tasks.join_all().await;
            won.sort_unstable();
            assert_eq!(won, [false, true], "{level:?}, way {way}");
            assert_eq!(
                number(&db.pool, "SELECT count(*) FROM people WHERE email <> 'c'").await,
                round * 2,
                "{level:?}, way {way}"
            );
            assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, round * 2, "{level:?}, way {way}");
        }
    }
}

/// Two emails compete for one handle.
///
/// Who has the other email is told so, and is never given the winner's row. At READ UNCOMMITTED a row is seen while the server is about to
/// refuse it.
#[tokio::test(flavor = "multi_thread")]
async fn r4_of_two_unique_indexes_the_other_one_is_told_at_every_level() {
    const ROUNDS: usize = 60;
    let db = with_tables(1, &[]).await;
    for level in LEVELS.into_iter().filter(|level| *level != READ_UNCOMMITTED) {
        let pool = pool_at(&db, level, CALLERS as u32).await;
        run(&db.pool, "DELETE FROM accounts").await;
        let done = race(&pool, 0..CALLERS, move |task, pool, start| async move {
            let mut given = Vec::new();
            for round in 0..ROUNDS {
                let email = format!("{round} {}", task % 2);
                let new = account(&email, &round.to_string());
                start.wait().await;
                let outcome = match (task / 2 + round) % 4 {
                    0 => Account::upsert(&pool, new).await,
                    1 => Account::bulk_get_or_create(&pool, [new]).await.map(|mut all| all.remove(0)),
                    _ => Account::get_or_create(&pool, new).await,
                };
                given.push(match outcome {
                    Ok(outcome) => {
                        assert_eq!(outcome.row.email, email, "{level:?}");
                        Some((outcome.row.id, outcome.created))
                    }
                    Err(Error::OtherUnique { .. }) => None,
                    Err(error) => panic!("{level:?}: {error}"),
                });
            }
            given
        })
        .await;
        let given = done;
        for round in 0..ROUNDS {
            let winners: HashMap<i64, usize> =
                given.iter().filter_map(|task| task[round]).fold(HashMap::new(), |mut made, (id, created)| {
                    *made.entry(id).or_default() += usize::from(created);
                    made
                });
            assert_eq!(winners.into_values().collect::<Vec<_>>(), [1], "{level:?}, round {round}");
            let told = given.iter().filter(|task| task[round].is_none()).count();
            assert_eq!(told, CALLERS / 2, "{level:?}, round {round}");
        }
        assert_eq!(number(&db.pool, "SELECT count(*) FROM accounts").await, ROUNDS as i64, "{level:?}");
    }
}

/// Spellings that the collation takes for one race for one key.
#[tokio::test(flavor = "multi_thread")]
async fn r6_spellings_that_the_collation_takes_for_one_race_for_one_row() {
    const ROUNDS: usize = 60;
    for collation in ["utf8mb4_general_ci", "utf8mb4_unicode_ci", "latin1_swedish_ci"] {
        let charset = collation.split('_').next().unwrap();
        let table = PEOPLE.replace("VARCHAR(10)", &format!("VARCHAR(10) CHARACTER SET {charset} COLLATE {collation}"));
        let db = with_tables(CALLERS as u32, &[&table]).await;
        let done = race(&db.pool, 0..CALLERS, move |task, pool, start| async move {
            let mut given = Vec::new();
            for round in 0..ROUNDS {
                let spelling = ["Zoé", "zoé", "ZOE", "zoe ", "ZOÉ  ", "zOe", "Zoe ", "zoë"][task];
                start.wait().await;
                let new = person(&format!("{round}{spelling}"), 1);
                given.push(ask(task + round, &pool, new).await.unwrap());
            }
            given
        })
        .await;
        assert_made_once(&done, collation);
        assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, ROUNDS as i64, "{collation}");
    }
}

/// A row that is deleted before it is read was made.
///
/// What was made less what was deleted is what is there: a row that is deleted as soon as it is made was made all the same.
#[tokio::test(flavor = "multi_thread")]
async fn r1_a_row_that_is_deleted_before_it_is_read_was_made() {
    const TURNS: i64 = 400;
    let db = Fixture::<OnMySql>::with_connections(8).await;
    let mut tasks = JoinSet::new();
    for task in 0..8_i64 {
        let pool = db.pool.clone();
        tasks.spawn(async move {
            let mut balance = 0;
            for turn in 0..TURNS {
                let row = retweet(turn % 3, 1);
                if task % 2 == 0 {
                    let outcome = if turn % 2 == 0 {
                        Retweet::get_or_create(&pool, row).await
                    } else {
                        Retweet::upsert(&pool, row).await
                    };
                    match outcome {
                        Ok(outcome) => balance += i64::from(outcome.created),
                        // Each time a row was deleted before it could be read.
                        Err(error) => assert!(matches!(error, Error::Vanished { .. }), "{error}"),
                    }
                    continue;
                }
                let delete = || sqlx::query("DELETE FROM retweets WHERE tweet = ?").bind(row.tweet).execute(&pool);
                let gone = loop {
                    match delete().await.map_err(Error::from) {
                        Ok(done) => break i64::try_from(done.rows_affected()).unwrap(),
                        Err(error) => assert!(error.is_retryable(), "{error}"),
                    }
                };
                balance -= gone;
            }
            balance
        });
    }
    let balance: i64 = tasks.join_all().await.into_iter().sum();
    assert_eq!(balance, db.count("retweets").await);
}
