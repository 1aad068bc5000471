//! The way for servers without `INSERT .. RETURNING`, as MySQL, with MariaDB standing in for it.

use std::sync::Arc;

use tokio::{sync::Barrier, task::JoinSet};
use upsertable::{Error, Upsertable as _, testing::statements};
use upsertable_tests::{
    Fixture, OnMySql,
    models::{Account, Loose, NewAccount, Retweet, RetweetKey, account, loose, retweet},
};

async fn fixture(connections: u32) -> Fixture<OnMySql> {
    upsertable::__private::without_returning();
    Fixture::with_connections(connections).await
}

fn count(statements: &[String]) -> usize {
    statements.iter().filter(|sql| !["BEGIN", "COMMIT"].contains(&sql.as_str())).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_missing_row_costs_two_statements_more() {
    let db = fixture(1).await;
    let (made, missing) = statements(Retweet::get_or_create(&db.pool, retweet(1, 1))).await;
    let (found, existing) = statements(Retweet::get_or_create(&db.pool, retweet(1, 1))).await;
    let (made, found) = (made.unwrap(), found.unwrap());
    assert!(made.created && !found.created);
    assert_eq!(made.row, found.row);
    assert_eq!((count(&missing), count(&existing)), (4, 1), "{missing:#?}");
    assert!(missing.iter().all(|sql| !sql.contains("RETURNING")));
    let (made, missing) = statements(Account::upsert(&db.pool, account("a@x", "a"))).await;
    let again = NewAccount { age: 31, ..account("a@x", "b") };
    let (updated, existing) = statements(Account::upsert(&db.pool, again)).await;
    let (made, updated) = (made.unwrap(), updated.unwrap());
    assert!(made.created && !updated.created);
    assert_eq!(updated.row, Account { age: 31, handle: "b".into(), ..made.row });
    assert_eq!((count(&missing), count(&existing)), (4, 2), "{missing:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_of_racing_callers_one_creates_the_row_and_all_get_it() {
    const ROUNDS: i64 = 100;
    let db = fixture(8).await;
    let start = Arc::new(Barrier::new(8));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (pool, start) = (db.pool.clone(), Arc::clone(&start));
        callers.spawn(async move {
            let mut created = 0;
            for round in 0..ROUNDS {
                start.wait().await;
                let made = if round % 2 == 0 {
                    Retweet::get_or_create(&pool, retweet(round, 1)).await.unwrap()
                } else {
                    let key = RetweetKey { tweet: round, retweeter: 1 };
                    Retweet::get_or_create_with(&pool, key, async || Ok::<_, Error>(retweet(round, 1))).await.unwrap()
                };
                created += i64::from(made.created);
            }
            created
        });
    }
    assert_eq!(callers.join_all().await.into_iter().sum::<i64>(), ROUNDS);
    assert_eq!(db.count("retweets").await, ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_conflict_on_another_index_is_told_and_b8_without_the_index_nothing_is_written() {
    let db = fixture(1).await;
    Account::get_or_create(&db.pool, account("a@x", "taken")).await.unwrap();
    let error = Account::get_or_create(&db.pool, account("b@x", "taken")).await.unwrap_err();
    assert!(matches!(error, Error::OtherUnique { .. }), "{error}");
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let error = Account::upsert(&mut tx, account("b@x", "taken")).await.unwrap_err();
    assert!(matches!(error, Error::OtherUnique { .. }), "{error}");
    assert!(Account::upsert(&mut tx, account("b@x", "free")).await.unwrap().created);
    tx.commit().await.unwrap();
    for error in [
        Loose::get_or_create(&db.pool, loose(1, 1)).await.unwrap_err(),
        Loose::upsert(&db.pool, loose(1, 1)).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::MissingUniqueIndex { .. }), "{error}");
    }
    assert_eq!((db.count("loose").await, db.count("accounts").await), (0, 2));
}

/// What was made less what was deleted is what is there: a row that is deleted as soon as it is made was made all the same.
#[tokio::test(flavor = "multi_thread")]
async fn r1_a_row_that_is_deleted_before_it_is_read_was_made() {
    const TURNS: i64 = 400;
    let db = fixture(8).await;
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
