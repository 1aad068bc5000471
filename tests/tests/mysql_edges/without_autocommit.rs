//! Pools whose sessions have autocommit off.
//!
//! The server begins a transaction by itself then, and nobody but the call could commit it.

use sqlx::MySqlPool;
use upsertable::{Error, Isolation, TransactionOptions, Upsertable as _};
use upsertable_tests::{
    Fixture, OnMySql, TestDb as _,
    models::{Account, Loose, NewAccount, Retweet, RetweetKey, account, loose, retweet},
    race,
    settings::pool_set_to,
};

async fn fixture(connections: u32) -> (Fixture<OnMySql>, MySqlPool) {
    let db = Fixture::with_connections(1).await;
    let pool = pool_set_to(&*db.pool.connect_options(), connections, "SET autocommit = 0").await.unwrap();
    (db, pool)
}

/// Checks that no transaction is open, without beginning one.
async fn assert_at_rest(pool: &MySqlPool, when: &str) {
    let mut conn = pool.acquire().await.unwrap();
    let of_mariadb = "SELECT CAST(@@in_transaction AS SIGNED)";
    let of_mysql = "SELECT count(*) FROM performance_schema.events_transactions_current JOIN performance_schema.threads USING (thread_id) \
                    WHERE processlist_id = CONNECTION_ID() AND state = 'ACTIVE'";
    let open: i64 = match sqlx::query_scalar(of_mariadb).fetch_one(&mut *conn).await {
        Ok(open) => open,
        Err(_) => sqlx::query_scalar(of_mysql).fetch_one(&mut *conn).await.unwrap(),
    };
    assert_eq!(open, 0, "{when}: a transaction is open");
    assert_eq!(OnMySql::temporary_tables(&mut conn).await, Vec::<String>::new(), "{when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_writes_is_committed_when_it_is_done() {
    let (db, pool) = fixture(1).await;
    assert!(Retweet::get_or_create(&pool, retweet(1, 1)).await.unwrap().created);
    assert_eq!(db.count("retweets").await, 1);
    assert_at_rest(&pool, "created").await;
    assert!(!Retweet::get_or_create(&pool, retweet(1, 1)).await.unwrap().created);
    assert_at_rest(&pool, "found").await;
    assert!(Account::upsert(&pool, account("a@x", "a")).await.unwrap().created);
    assert_eq!(db.count("accounts").await, 1);
    assert_at_rest(&pool, "upsert creates").await;
    assert!(!Account::upsert(&pool, NewAccount { age: 31, ..account("a@x", "a") }).await.unwrap().created);
    assert_eq!(db.number("SELECT age FROM accounts").await, 31);
    assert_at_rest(&pool, "upsert updates").await;

    for rows in [3, 100, 3_000] {
        let done = Retweet::bulk_create_new(&pool, (0..rows).map(|number| retweet(rows, number))).await.unwrap();
        assert_eq!(done.created, rows.cast_unsigned());
        assert_eq!(db.number(&format!("SELECT COUNT(*) FROM retweets WHERE tweet = {rows}")).await, rows);
        assert_at_rest(&pool, "bulk_create_new").await;
        let all = Retweet::bulk_get_or_create(&pool, (0..=rows).map(|number| retweet(rows, number))).await.unwrap();
        assert_eq!(all.iter().filter(|outcome| outcome.created).count(), 1);
        assert_at_rest(&pool, "bulk_get_or_create").await;
        let changed = Account::bulk_upsert(&pool, (0..rows).map(|n| account(&format!("{n}@y"), &format!("{n}")))).await;
        assert_eq!(changed.unwrap().received, rows.cast_unsigned());
        assert_at_rest(&pool, "bulk_upsert").await;
    }
    assert_eq!(db.count("retweets").await, 1 + 3 + 100 + 3_000 + 3);
    assert_eq!(db.count("accounts").await, 1 + 3_000);
}

/// A call sees what others have committed since the last call.
///
/// What one call has read must not be what the next one sees.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_sees_what_others_have_committed_since_the_last() {
    let (db, pool) = fixture(1).await;
    let key = |tweet| RetweetKey { tweet, retweeter: 1 };
    Retweet::get_or_create(&pool, retweet(1, 1)).await.unwrap();
    for tweet in 2..5 {
        assert!(Retweet::find(&pool, key(1)).await.unwrap().is_some());
        assert!(Retweet::find(&pool, key(tweet)).await.unwrap().is_none());
        assert_eq!(Retweet::find_all(&pool, [key(tweet)]).await.unwrap(), [None]);
        Retweet::get_or_create(&db.pool, retweet(tweet, 1)).await.unwrap();
        assert!(Retweet::find(&pool, key(tweet)).await.unwrap().is_some());
        assert!(Retweet::find_all(&pool, [key(tweet)]).await.unwrap()[0].is_some());
        assert_at_rest(&pool, "find").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_holds_no_lock() {
    let (db, pool) = fixture(1).await;
    Account::get_or_create(&pool, account("a@x", "taken")).await.unwrap();
    for error in [
        Account::get_or_create(&pool, account("b@x", "taken")).await.unwrap_err(),
        Account::upsert(&pool, account("b@x", "taken")).await.unwrap_err(),
        Account::bulk_create_new(&pool, [account("b@x", "taken")]).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::OtherUnique { .. }), "{error}");
        assert_at_rest(&pool, "OtherUnique").await;
    }
    for error in [
        Loose::get_or_create(&pool, loose(1, 1)).await.unwrap_err(),
        Loose::bulk_create_new(&pool, [loose(1, 1)]).await.unwrap_err(),
        Loose::bulk_upsert(&pool, [loose(1, 1)]).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::MissingUniqueIndex { .. }), "{error}");
        assert_at_rest(&pool, "MissingUniqueIndex").await;
    }
    assert_eq!((db.count("accounts").await, db.count("loose").await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_takes_its_isolation_level_and_is_committed() {
    let (db, pool) = fixture(1).await;
    // Its snapshot stays open, as nobody ends it.
    let none: Vec<(i64,)> = sqlx::query_as("SELECT id FROM retweets").fetch_all(&pool).await.unwrap();
    assert!(none.is_empty());
    let options = TransactionOptions::new().isolation(Isolation::ReadCommitted);
    let created = options
        .run(&pool, async |tx| Ok::<_, Error>(Retweet::get_or_create(tx, retweet(1, 1)).await?.created))
        .await
        .unwrap();
    assert!(created);
    let mut tx = upsertable::begin(&pool).await.unwrap();
    assert_eq!(Retweet::bulk_create_new(&mut tx, [retweet(1, 1), retweet(2, 1)]).await.unwrap().created, 1);
    tx.commit().await.unwrap();
    assert_eq!(db.count("retweets").await, 2);
    let mut tx = upsertable::begin(&pool).await.unwrap();
    Retweet::get_or_create(&mut tx, retweet(3, 1)).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(db.count("retweets").await, 2);
    assert_at_rest(&pool, "rolled back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_of_racing_callers_one_creates_the_row_and_all_get_it() {
    const ROUNDS: i64 = 50;
    let (db, pool) = fixture(8).await;
    let done = race(&pool, 0..8, move |caller, pool, start| async move {
        let mut created = 0;
        for round in 0..ROUNDS {
            start.wait().await;
            created += if (round + caller) % 2 == 0 {
                u64::from(Retweet::get_or_create(&pool, retweet(round, 1)).await.unwrap().created)
            } else {
                Retweet::bulk_create_new(&pool, [retweet(round, 1)]).await.unwrap().created
            };
        }
        created
    })
    .await;
    assert_eq!(done.into_iter().sum::<u64>(), ROUNDS.cast_unsigned());
    assert_eq!(db.count("retweets").await, ROUNDS);
}
