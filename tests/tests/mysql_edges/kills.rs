//! The server kills the connection at each step of each call.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use upsertable::{Error, Upsertable as _};
use upsertable_tests::{Fixture, OnMySql};

use crate::{
    CALLS, PEOPLE, Person, assert_clean, call, person,
    proxy::{Proxy, When},
    run, with_tables,
};

/// Handle on which the call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Pool,
    Connection,
    Transaction,
}

/// Rows of the table, as others see them.
async fn state(db: &Fixture<OnMySql>) -> Vec<(String, i64)> {
    sqlx::query_as("SELECT email, age FROM people ORDER BY email").fetch_all(&db.outside).await.unwrap()
}

async fn begin_anew(db: &Fixture<OnMySql>) -> Vec<(String, i64)> {
    run(&db.outside, "DELETE FROM people").await;
    Person::get_or_create(&db.outside, person("known", 1)).await.unwrap();
    state(db).await
}

async fn call_in(place: Place, name: &str, proxy: &Proxy) -> Result<(), Error> {
    match place {
        Place::Pool => call(name, &proxy.pool).await,
        Place::Connection => call(name, &mut *proxy.pool.acquire().await?).await,
        Place::Transaction => {
            let mut tx = upsertable::begin(&proxy.pool).await?;
            let told = Arc::new(AtomicUsize::new(0));
            let hook = Arc::clone(&told);
            Person::after_commit(&mut tx, async move |_| {
                hook.fetch_add(1, Ordering::SeqCst);
            });
            let outcome = call(name, &mut tx).await;
            let committed = tx.commit().await.map(drop);
            assert!(outcome.is_ok() || committed.is_err(), "what failed with its connection was committed");
            assert!(committed.is_ok() || told.load(Ordering::SeqCst) == 0, "told of what may be lost");
            outcome.and(committed)
        }
    }
}

async fn killed_at_each_step(place: Place) {
    let db = with_tables(1, &[PEOPLE]).await;
    let proxy = Proxy::before(&db).await;
    let mut kills = 0;
    for name in CALLS {
        begin_anew(&db).await;
        call_in(place, name, &proxy).await.unwrap();
        let all = state(&db).await;
        for when in [When::Before, When::After] {
            for step in 1.. {
                let none = begin_anew(&db).await;
                proxy.arm(step, when);
                let outcome = call_in(place, name, &proxy).await;
                let killed = proxy.disarm();
                let what = format!("{name}, killed {when:?} step {step}: {outcome:?}");
                let now = state(&db).await;
                match &outcome {
                    Ok(()) => assert_eq!(now, all, "{what}"),
                    Err(error) => {
                        assert!(killed && error.is_connection_lost() && !error.is_retryable(), "{what}");
                        assert!(now == all || now == none, "{what}: {now:?}");
                        assert!(now == none || when == When::After || place == Place::Pool, "{what}: {now:?}");
                    }
                }
                assert_clean(&mut proxy.pool.acquire().await.unwrap(), &what).await;
                call_in(place, name, &proxy).await.unwrap_or_else(|error| panic!("{what}, then {error}"));
                assert_eq!(state(&db).await, all, "{what}");
                if !killed {
                    assert!(step > 2, "{what}: nothing to kill");
                    break;
                }
                kills += usize::from(outcome.is_err());
            }
        }
    }
    assert!(kills > 50, "{kills}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_on_a_pool_a_call_that_is_killed_at_any_step_is_done_wholly_or_not_at_all() {
    killed_at_each_step(Place::Pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_on_a_connection_a_call_that_is_killed_at_any_step_is_done_wholly_or_not_at_all() {
    killed_at_each_step(Place::Connection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_a_transaction_that_is_killed_at_any_step_keeps_all_or_nothing_and_tells_nobody() {
    killed_at_each_step(Place::Transaction).await;
}
