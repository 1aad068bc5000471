//! Callers that race, at every isolation level.

use futures_util::future::join_all;
use sqlx::{PgPool, postgres::PgPoolOptions};
use upsertable::{Error, Isolation, TransactionOptions, Upsertable as _};
use upsertable_tests::{
    Fixture, OnPostgres,
    models::{Account, Retweet, account, by_email, retweet},
};

use crate::{
    MANY, fixture,
    texts::{self, Label},
};

const LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];
const CALLERS: i64 = 8;

/// A pool whose transactions have this isolation by default.
async fn pool_at(db: &Fixture<OnPostgres>, level: &str) -> PgPool {
    let options = (*db.pool.connect_options()).clone().options([("default_transaction_isolation", level)]);
    PgPoolOptions::new().max_connections(CALLERS as u32).connect_with(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_on_a_pool_one_row_and_one_creator_at_every_isolation_level() {
    let db = fixture(1, &[]).await;
    for (tweet, level) in (0..).zip(LEVELS) {
        let pool = pool_at(&db, level).await;
        for round in 0..100 {
            let callers = (0..CALLERS).map(|caller| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    if caller % 2 == 0 {
                        Retweet::get_or_create(&pool, retweet(tweet, round)).await
                    } else {
                        Retweet::upsert(&pool, retweet(tweet, round)).await
                    }
                })
            });
            let outcomes = join_all(callers).await;
            let outcomes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().unwrap()).collect();
            assert_eq!(outcomes.iter().filter(|outcome| outcome.created).count(), 1, "{level}, round {round}");
            assert!(outcomes.iter().all(|outcome| outcome.row.id == outcomes[0].row.id), "{level}, round {round}");
        }
    }
    assert_eq!(db.count("retweets").await, 300);
}

/// In transactions, one caller makes a row at every isolation level.
///
/// In a transaction of the caller's the worst above READ COMMITTED is an error that says to try again, and `transaction` does.
#[tokio::test(flavor = "multi_thread")]
async fn r1_in_a_transaction_one_row_and_one_creator_at_every_isolation_level() {
    let db = fixture(CALLERS as u32, &[]).await;
    for (tweet, level) in (0..).zip([Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable]) {
        for round in 0..50 {
            let callers = (0..CALLERS).map(|_| {
                let pool = db.pool.clone();
                tokio::spawn(async move {
                    let options = TransactionOptions::new().isolation(level).attempts(50);
                    options
                        .run(&pool, async |tx| {
                            // The snapshot in which the row is absent.
                            let _: i64 =
                                sqlx::query_scalar("SELECT count(*) FROM retweets").fetch_one(&mut **tx).await?;
                            Retweet::get_or_create(tx, retweet(tweet, round)).await
                        })
                        .await
                })
            });
            let outcomes: Vec<_> =
                join_all(callers).await.into_iter().map(|outcome| outcome.unwrap().unwrap()).collect();
            assert_eq!(outcomes.iter().filter(|outcome| outcome.created).count(), 1, "{level:?}, round {round}");
        }
    }
}

/// Bulk calls over the same keys never fail on a pool.
///
/// They go all ways of many rows, in opposite orders, with counts that add up.
#[tokio::test(flavor = "multi_thread")]
async fn b3_bulk_calls_over_the_same_keys_in_any_order_never_fail_on_a_pool() {
    let db = fixture(1, &[]).await;
    for (tweet, level) in (0..).zip(LEVELS) {
        let pool = pool_at(&db, level).await;
        for (round, count) in [1_500, 1_500, 1_500, MANY].into_iter().enumerate() {
            let tweet = tweet * 10 + round as i64;
            let calls = (0..CALLERS).map(|caller| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let rows = (0..count)
                        .map(|number| retweet(tweet, if caller % 2 == 0 { number } else { count - 1 - number }));
                    match caller % 3 {
                        0 => Retweet::bulk_create_new(&pool, rows).await.map(|done| done.created),
                        1 => Retweet::bulk_upsert(&pool, rows).await.map(|done| {
                            assert_eq!(done.created + done.updated, count as u64);
                            done.created
                        }),
                        _ => Retweet::bulk_get_or_create(&pool, rows)
                            .await
                            .map(|all| all.iter().filter(|outcome| outcome.created).count() as u64),
                    }
                })
            });
            let created: u64 = join_all(calls).await.into_iter().map(|created| created.unwrap().unwrap()).sum();
            assert_eq!(created, count as u64, "{level}, round {round}");
            assert_eq!(db.number(&format!("SELECT count(*) FROM retweets WHERE tweet = {tweet}")).await, count);
        }
    }
}

/// Bulk upserts against writers and deleters of single rows.
///
/// Rows come and go under a bulk call: it ends with all of its rows there or given their values, or says to try again.
#[tokio::test(flavor = "multi_thread")]
async fn b2_bulk_upserts_against_writers_and_deleters_of_single_rows() {
    let db = fixture(CALLERS as u32, &[]).await;
    let rows = |age: i64| {
        (0..200).map(move |number| upsertable_tests::models::NewAccount {
            age,
            ..account(&format!("{number}@x"), &number.to_string())
        })
    };
    let others = (0..4).map(|other: i64| {
        let pool = db.pool.clone();
        tokio::spawn(async move {
            for number in 0..300 {
                let number = (number * 7 + other * 13) % 200;
                if other % 2 == 0 {
                    Account::get_or_create(&pool, account(&format!("{number}@x"), &number.to_string())).await.unwrap();
                } else {
                    let delete = sqlx::query("DELETE FROM accounts WHERE email = $1").bind(format!("{number}@x"));
                    delete.execute(&pool).await.unwrap();
                }
            }
        })
    });
    let others = join_all(others);
    let bulk = async {
        for age in 100..130 {
            match Account::bulk_upsert(&db.pool, rows(age)).await {
                Ok(done) => assert_eq!((done.received, done.created + done.updated), (200, 200)),
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    };
    let (finished, ()) = tokio::join!(others, bulk);
    finished.into_iter().for_each(Result::unwrap);
    let done = Account::bulk_upsert(&db.pool, rows(7)).await.unwrap();
    assert_eq!(done.created + done.updated, 200);
    assert_eq!(db.number("SELECT count(*) FROM accounts WHERE age = 7").await, 200);
}

/// All callers of a row get it, unique in two ways.
///
/// Rows are alike in the index of the key and in another one: the server finds the other writer's row in either of them.
#[tokio::test(flavor = "multi_thread")]
async fn r1_callers_of_a_row_that_is_unique_in_two_ways_all_get_it() {
    let db = fixture(CALLERS as u32, &[]).await;
    for round in 0..400 {
        let callers = (0..CALLERS).map(|caller| {
            let pool = db.pool.clone();
            tokio::spawn(async move {
                let row = account(&format!("{round}@x"), &round.to_string());
                match caller % 4 {
                    0 => Account::get_or_create(&pool, row).await,
                    1 => Account::upsert(&pool, row).await,
                    2 => Account::get_or_create(&mut *pool.acquire().await?, row).await,
                    _ => {
                        let mut tx = upsertable::begin(&pool).await?;
                        let outcome = Account::get_or_create(&mut tx, row).await?;
                        tx.commit().await?;
                        Ok(outcome)
                    }
                }
            })
        });
        let outcomes = join_all(callers).await.into_iter().map(Result::unwrap);
        let outcomes: Vec<_> = outcomes.map(|outcome| outcome.unwrap_or_else(|error| panic!("{error}"))).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.created).count(), 1, "round {round}");
        assert!(outcomes.iter().all(|outcome| outcome.row.id == outcomes[0].row.id), "round {round}");
    }
    assert_eq!(db.count("accounts").await, 400);
}

/// Bulk calls of rows unique in two ways all succeed.
///
/// The same rows go by way of every bulk call, on every handle. Few rows go without a staging table.
#[tokio::test(flavor = "multi_thread")]
async fn b3_bulk_calls_of_rows_that_are_unique_in_two_ways_all_succeed() {
    const ROWS: i64 = 60;
    let db = fixture(CALLERS as u32, &[]).await;
    for round in 0..60 {
        let calls = (0..CALLERS).map(|caller| {
            let pool = db.pool.clone();
            tokio::spawn(async move {
                let rows = || {
                    (0..ROWS).map(move |number| {
                        let number = round * ROWS + if caller % 2 == 0 { number } else { ROWS - 1 - number };
                        account(&format!("{number}@x"), &number.to_string())
                    })
                };
                match caller {
                    0 | 1 => Account::bulk_create_new(&pool, rows()).await.map(|done| done.created),
                    2 => Account::bulk_create_new(&mut *pool.acquire().await?, rows()).await.map(|done| done.created),
                    3 | 4 => {
                        let insert = async |tx: &mut upsertable::Transaction<sqlx::Postgres>| {
                            Account::bulk_create_new(tx, rows()).await.map(|done| done.created)
                        };
                        TransactionOptions::new().attempts(50).run(&pool, insert).await
                    }
                    5 => {
                        let mut conn = pool.acquire().await?;
                        sqlx::raw_sql("BEGIN").execute(&mut *conn).await?;
                        let created = Account::bulk_create_new(&mut *conn, rows()).await.map(|done| done.created);
                        sqlx::raw_sql("COMMIT").execute(&mut *conn).await?;
                        created
                    }
                    6 => Account::bulk_upsert(&pool, rows()).await.map(|done| done.created),
                    _ => Account::bulk_get_or_create(&pool, rows())
                        .await
                        .map(|all| all.iter().filter(|outcome| outcome.created).count() as u64),
                }
            })
        });
        let created = join_all(calls).await.into_iter().map(Result::unwrap);
        let created: u64 = created.map(|created| created.unwrap_or_else(|error| panic!("{error}"))).sum();
        assert_eq!(created, ROWS as u64, "round {round}");
    }
    assert_eq!(db.count("accounts").await, 60 * ROWS);
}

/// Of racers for another index's value, one has it.
///
/// Each wants a row of its own with one handle; all others are told so.
#[tokio::test(flavor = "multi_thread")]
async fn r4_racers_for_a_value_of_another_index_are_told_apart_at_every_isolation_level() {
    let db = fixture(1, &[]).await;
    for level in LEVELS {
        let pool = pool_at(&db, level).await;
        for round in 0..100 {
            let callers = (0..CALLERS).map(|caller| {
                let (pool, level) = (pool.clone(), level.to_owned());
                tokio::spawn(async move {
                    let row = account(&format!("{caller} {round} {level}"), &format!("{round} {level}"));
                    let outcome = match caller % 4 {
                        0 => Account::get_or_create(&pool, row).await.map(|outcome| outcome.created),
                        1 => Account::upsert(&pool, row).await.map(|outcome| outcome.created),
                        2 => Account::bulk_create_new(&pool, [row]).await.map(|done| done.created == 1),
                        _ => Account::bulk_upsert(&pool, [row]).await.map(|done| done.created == 1),
                    };
                    match outcome {
                        Ok(created) => assert!(created, "{level}, round {round}, caller {caller}"),
                        Err(Error::OtherUnique { .. }) => return false,
                        Err(error) => panic!("{level}, round {round}, caller {caller}: {error}"),
                    }
                    true
                })
            });
            let won = join_all(callers).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
            assert_eq!(won, 1, "{level}, round {round}");
        }
    }
    assert_eq!(db.count("accounts").await, 300);
}

/// Racers for texts that the column takes for one make one row.
///
/// The callers write them in different ways.
#[tokio::test(flavor = "multi_thread")]
async fn r6_racers_for_texts_that_are_one_to_the_column_make_one_row() {
    for (column, texts, _) in texts::KINDS.into_iter().filter(|(column, ..)| *column != "VARCHAR(3)") {
        let db = texts::table_of(column).await;
        for level in LEVELS {
            let pool = pool_at(&db, level).await;
            for round in 0..40 {
                let callers = (0..CALLERS as usize).map(|caller| {
                    let (pool, code) = (pool.clone(), texts[caller % 3]);
                    tokio::spawn(async move {
                        let row = || texts::label_on(round, code);
                        match caller % 4 {
                            0 => Label::get_or_create(&pool, row()).await.map(|outcome| u64::from(outcome.created)),
                            1 => Label::upsert(&pool, row()).await.map(|outcome| u64::from(outcome.created)),
                            2 => Label::bulk_create_new(&pool, [row(), row()]).await.map(|done| done.created),
                            _ => Label::bulk_upsert(&pool, [row(), row()]).await.map(|done| done.created),
                        }
                    })
                });
                let created: u64 = join_all(callers).await.into_iter().map(|created| created.unwrap().unwrap()).sum();
                assert_eq!(created, 1, "{column}, {level}, round {round}");
            }
            assert_eq!(db.run("DELETE FROM labels").await, 40, "{column}, {level}");
        }
    }
}

/// A deadlock between two transactions is retryable.
///
/// Each waits for the other: one is told to try again, and its savepoint leaves it usable.
#[tokio::test(flavor = "multi_thread")]
async fn b3_a_deadlock_in_transactions_is_retryable_and_ends_the_call_only() {
    let db = fixture(2, &[]).await;
    let mut one = upsertable::begin(&db.pool).await.unwrap();
    let mut two = upsertable::begin(&db.pool).await.unwrap();
    Account::get_or_create(&mut one, account("a@x", "a")).await.unwrap();
    Account::get_or_create(&mut two, account("b@x", "b")).await.unwrap();
    let (first, second) = tokio::join!(
        async {
            let outcome = Account::get_or_create(&mut one, account("b@x", "b1")).await;
            (outcome, one.commit().await)
        },
        async {
            let outcome = Account::get_or_create(&mut two, account("a@x", "a1")).await;
            (outcome, two.commit().await)
        }
    );
    let lost: Vec<&Error> = [&first.0, &second.0].into_iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].is_retryable(), "{}", lost[0]);
    // The loser's earlier work is still there to be committed.
    assert!(first.1.is_ok() && second.1.is_ok());
    assert!(Account::find(&db.pool, by_email("a@x")).await.unwrap().is_some());
    assert!(Account::find(&db.pool, by_email("b@x")).await.unwrap().is_some());
}
