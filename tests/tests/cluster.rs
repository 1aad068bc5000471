//! A cluster of MariaDB Galera, with writers on all its nodes.
//!
//! Its nodes are the first three urls of `DATABASE_URLS_GALERA`, separated by commas.
//!
//! `./tests/run --cluster` starts one. The last node is killed.

// Counts and numbers of the tests are small.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{StreamExt as _, future::join_all, stream};
use sqlx::{Connection as _, MySqlConnection, MySqlPool, mysql::MySqlPoolOptions};
use tokio::sync::Notify;
use upsertable::{Error, TransactionOptions, Upsertable as _};
use upsertable_tests::models::{NewRetweet, Retweet, retweet};

const TABLES: &[&str] = &[
    "DROP TABLE IF EXISTS retweets",
    "CREATE TABLE retweets (id BIGINT AUTO_INCREMENT PRIMARY KEY, tweet BIGINT NOT NULL, retweeter BIGINT NOT NULL, \
     original_author BIGINT NOT NULL, UNIQUE (tweet, retweeter))",
    "DROP TABLE IF EXISTS sums",
    "CREATE TABLE sums (id BIGINT PRIMARY KEY, total BIGINT NOT NULL)",
    "INSERT INTO sums VALUES (1, 0)",
];

const CALLERS: usize = 3;
const KEYS: i64 = 2_000;

struct Cluster {
    urls: Vec<String>,
    nodes: Vec<MySqlPool>,
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_on_all_nodes_of_a_cluster() {
    let Ok(urls) = std::env::var("DATABASE_URLS_GALERA") else {
        println!("SKIPPED: a cluster of MariaDB Galera, as DATABASE_URLS_GALERA is not set");
        return;
    };
    let cluster = Cluster::connect(urls.split(',').map(str::to_owned).collect()).await;
    r1_one_row_and_one_creator_a_key(&cluster).await;
    b3_bulk_calls_over_the_same_keys_in_any_order(&cluster).await;
    c6_a_failed_certification_is_tried_again(&cluster).await;
    b1_a_node_killed_in_the_middle_of_a_bulk_call(&cluster).await;
}

impl Cluster {
    async fn connect(urls: Vec<String>) -> Self {
        assert!(urls.len() >= 3, "three nodes are needed");
        let mut nodes = Vec::new();
        for url in &urls {
            nodes.push(MySqlPoolOptions::new().max_connections(CALLERS as u32).connect(url).await.unwrap());
        }
        let cluster = Self { urls, nodes };
        for sql in TABLES {
            sqlx::query(*sql).execute(&cluster.nodes[0]).await.unwrap();
        }
        cluster
    }

    /// Counts on a node that has all of the others' commits.
    ///
    /// It waits until the node has them.
    async fn count(&self, node: usize, tweets: std::ops::Range<i64>) -> i64 {
        let mut conn = MySqlConnection::connect(&self.urls[node]).await.unwrap();
        sqlx::query("SET SESSION wsrep_sync_wait = 1").execute(&mut conn).await.unwrap();
        let count = sqlx::query_scalar("SELECT count(*) FROM retweets WHERE tweet >= ? AND tweet < ?");
        count.bind(tweets.start).bind(tweets.end).fetch_one(&mut conn).await.unwrap()
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

async fn r1_one_row_and_one_creator_a_key(cluster: &Cluster) {
    const ROUNDS: i64 = 150;
    let callers = (0..cluster.nodes.len() * CALLERS).map(|caller| {
        let pool = cluster.nodes[caller % cluster.nodes.len()].clone();
        tokio::spawn(async move {
            let mut created = 0;
            for round in 0..ROUNDS {
                created += i64::from(Retweet::get_or_create(&pool, retweet(round, 0)).await.unwrap().created);
            }
            created
        })
    });
    let created: i64 = join_all(callers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(created, ROUNDS);
    for node in 0..cluster.nodes.len() {
        assert_eq!(cluster.count(node, 0..ROUNDS).await, ROUNDS, "node {node}");
    }
}

async fn b3_bulk_calls_over_the_same_keys_in_any_order(cluster: &Cluster) {
    for round in 1_000..1_005 {
        let callers = (0..cluster.nodes.len() * 2).map(|caller| {
            let pool = cluster.nodes[caller % cluster.nodes.len()].clone();
            tokio::spawn(async move { Retweet::bulk_create_new(&pool, rows(round, caller)).await })
        });
        let created: u64 = join_all(callers).await.into_iter().map(|done| done.unwrap().unwrap().created).sum();
        assert_eq!(created as i64, KEYS, "round {round}");
        assert_eq!(cluster.count(1, round..round + 1).await, KEYS, "round {round}");
    }
}

/// A failed certification is tried again.
///
/// The nodes' transactions change the same row, and only the first to be certified stays.
async fn c6_a_failed_certification_is_tried_again(cluster: &Cluster) {
    const ROUNDS: u64 = 40;
    let (told, tries) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let callers = cluster.nodes.iter().cloned().map(|pool| {
        let (told, tries) = (Arc::clone(&told), Arc::clone(&tries));
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let work = TransactionOptions::new().attempts(100).run(&pool, async |tx| {
                    tries.fetch_add(1, Ordering::Relaxed);
                    let told = Arc::clone(&told);
                    tx.on_commit(async move {
                        told.fetch_add(1, Ordering::Relaxed);
                    });
                    Retweet::get_or_create(&mut *tx, retweet(2_000 + round as i64, 0)).await?;
                    sqlx::query("UPDATE sums SET total = total + 1 WHERE id = 1").execute(&mut **tx).await?;
                    Ok::<_, Error>(())
                });
                work.await.unwrap();
            }
        })
    });
    join_all(callers).await.into_iter().for_each(Result::unwrap);
    let all = ROUNDS * cluster.nodes.len() as u64;
    let total: i64 = sqlx::query_scalar("SELECT total FROM sums").fetch_one(&cluster.nodes[0]).await.unwrap();
    assert_eq!((told.load(Ordering::Relaxed), total as u64), (all, all));
    assert!(tries.load(Ordering::Relaxed) > all, "no transaction has lost against another node's");
    assert_eq!(cluster.count(2, 2_000..3_000).await, ROUNDS as i64);
}

async fn b1_a_node_killed_in_the_middle_of_a_bulk_call(cluster: &Cluster) {
    const TWEET: i64 = 5_000;
    let last = cluster.nodes.len() - 1;
    let pid_file: String = sqlx::query_scalar("SELECT @@pid_file").fetch_one(&cluster.nodes[last]).await.unwrap();
    let pid = std::fs::read_to_string(pid_file).unwrap();
    let (half_way, goes_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let call = {
        let (pool, half_way, goes_on) = (cluster.nodes[last].clone(), Arc::clone(&half_way), Arc::clone(&goes_on));
        tokio::spawn(async move {
            let rows = stream::iter(rows(TWEET, 0)).enumerate().then(|(number, row)| {
                let (half_way, goes_on) = (Arc::clone(&half_way), Arc::clone(&goes_on));
                async move {
                    if number as i64 == KEYS / 2 {
                        half_way.notify_one();
                        goes_on.notified().await;
                    }
                    row
                }
            });
            Retweet::bulk_create_new_stream(&pool, rows).await
        })
    };
    half_way.notified().await;
    let others = (0..last).map(|node| {
        let pool = cluster.nodes[node].clone();
        tokio::spawn(async move { Retweet::bulk_create_new(&pool, rows(TWEET + 1, node)).await })
    });
    let others: Vec<_> = others.collect();
    assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
    goes_on.notify_one();
    let error = call.await.unwrap().unwrap_err();
    assert!(error.is_connection_lost(), "{error}");
    // A node that waits for the lost one to be given up refuses statements meanwhile, which is to be tried again.
    let mut created = 0;
    for other in others {
        created += match other.await.unwrap() {
            Ok(done) => done.created,
            Err(error) => {
                assert!(error.is_retryable() || error.is_connection_lost(), "{error}");
                0
            }
        };
    }
    created += again(&cluster.nodes[0], TWEET + 1).await;
    assert_eq!(created as i64, KEYS);
    assert_eq!(cluster.count(1, TWEET..TWEET + 1).await, 0, "nothing of the call that was cut off");
    assert_eq!(again(&cluster.nodes[1], TWEET).await as i64, KEYS);
    assert_eq!(cluster.count(0, TWEET..TWEET + 2).await, 2 * KEYS);
}

/// Repeats the call until the remaining nodes have agreed.
///
/// On who they are.
async fn again(pool: &MySqlPool, tweet: i64) -> u64 {
    loop {
        match Retweet::bulk_create_new(pool, rows(tweet, 0)).await {
            Ok(done) => return done.created,
            Err(error) => assert!(error.is_retryable() || error.is_connection_lost(), "{error}"),
        }
        tokio::task::yield_now().await;
    }
}
