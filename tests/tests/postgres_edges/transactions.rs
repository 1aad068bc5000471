//! Transactions that have failed, and those that others have begun.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::Connection as _;
use upsertable::{Error, Transaction, Upsertable as _, testing::statements};
use upsertable_tests::{
    OnPostgres, TestDb as _,
    models::{Account, Retweet, account, by_email, retweet},
};

use crate::{MANY, fixture};

async fn abort(tx: &mut Transaction<sqlx::Postgres>) {
    sqlx::query("SELECT 1 / 0").execute(&mut **tx).await.unwrap_err();
}

/// COMMIT after a failed statement is an error.
///
/// It answers with a rollback, which the driver takes for a success.
#[tokio::test(flavor = "multi_thread")]
async fn c1_a_commit_after_a_failed_statement_is_an_error_and_runs_no_callback() {
    let db = fixture(1, &[]).await;
    for way in ["plain", "raw and then a call", "raw alone", "raw before a savepoint"] {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
        tx.on_commit(async { panic!("a callback of a transaction that was rolled back") });
        if way == "plain" {
            abort(&mut tx).await;
        } else {
            sqlx::query("SELECT 1 / 0").execute(tx.raw()).await.unwrap_err();
        }
        if way == "raw and then a call" {
            Retweet::get_or_create(&mut tx, retweet(2, 2)).await.unwrap_err();
        }
        if way == "raw before a savepoint" {
            Retweet::bulk_create_new(&mut tx, [retweet(2, 2)]).await.unwrap_err();
            tx.savepoint(async |_| Ok::<_, Error>(())).await.unwrap_err();
        }
        let error = tx.commit().await.unwrap_err();
        assert!(matches!(error, Error::RolledBack { .. }), "{way}: {error}");
        db.assert_pool_clean(way).await;
        assert_eq!(db.count("retweets").await, 0, "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_commit_asks_nothing() {
    let db = fixture(1, &[]).await;
    let work = async {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Account::get_or_create(&mut tx, account("a@x", "a")).await.unwrap();
        // Undone by its savepoint: the transaction is healthy again.
        Account::get_or_create(&mut tx, account("b@x", "a")).await.unwrap_err();
        tx.commit().await.unwrap();
    };
    let ((), seen) = statements(work).await;
    assert_eq!(seen.iter().filter(|sql| sql.starts_with("SELECT 1")).count(), 0, "{seen:?}");
    assert_eq!(seen.last().unwrap(), "COMMIT");
    assert_eq!(db.count("accounts").await, 1);
}

/// No call in a failed transaction ends that transaction.
///
/// Nothing that fails there may end the transaction's being one, so that what follows is not kept by itself.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_in_a_failed_transaction_ends_it_behind_its_user_s_back() {
    let db = fixture(1, &[]).await;
    let row = || retweet(1, 1);
    let rows = || (0..MANY).map(|number| retweet(2, number));
    for call in 0..6 {
        let when = format!("call {call}");
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        abort(&mut tx).await;
        let failed = match call {
            0 => Retweet::get_or_create(&mut tx, row()).await.map(drop),
            1 => Retweet::upsert(&mut tx, row()).await.map(drop),
            2 => Retweet::bulk_create_new(&mut tx, [row()]).await.map(drop),
            3 => Retweet::bulk_create_new(&mut tx, rows()).await.map(drop),
            4 => Retweet::bulk_get_or_create(&mut tx, [row()]).await.map(drop),
            _ => Retweet::bulk_upsert(&mut tx, [row()]).await.map(drop),
        };
        assert!(matches!(failed, Err(Error::Sql(_))), "{when}: {failed:?}");
        sqlx::query("INSERT INTO words VALUES ('kept by itself')").execute(&mut *tx).await.unwrap_err();
        assert!(tx.commit().await.is_err(), "{when}");
        db.assert_pool_clean(&when).await;

        let mut theirs = db.pool.begin().await.unwrap();
        sqlx::query("SELECT 1 / 0").execute(&mut *theirs).await.unwrap_err();
        let failed = match call {
            0 => Retweet::get_or_create(&mut *theirs, row()).await.map(drop),
            1 => Retweet::upsert(&mut *theirs, row()).await.map(drop),
            2 => Retweet::bulk_create_new(&mut *theirs, [row()]).await.map(drop),
            3 => Retweet::bulk_create_new(&mut *theirs, rows()).await.map(drop),
            4 => Retweet::bulk_get_or_create(&mut *theirs, [row()]).await.map(drop),
            _ => Retweet::bulk_upsert(&mut *theirs, [row()]).await.map(drop),
        };
        assert!(matches!(failed, Err(Error::Sql(_))), "{when}: {failed:?}");
        assert!(OnPostgres::in_transaction(&mut theirs).await, "{when}");
        sqlx::query("INSERT INTO words VALUES ('kept by itself')").execute(&mut *theirs).await.unwrap_err();
        theirs.rollback().await.unwrap();
        db.assert_pool_clean(&when).await;
        assert_eq!((db.count("words").await, db.count("retweets").await), (0, 0), "{when}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_savepoint_saves_a_transaction_from_a_failed_statement() {
    let db = fixture(1, &[]).await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let failed = tx.savepoint(async |tx| {
        Retweet::get_or_create(&mut *tx, retweet(1, 1)).await?;
        abort(tx).await;
        Retweet::bulk_create_new(tx, [retweet(1, 2)]).await.map(drop)
    });
    assert!(matches!(failed.await, Err(Error::Sql(_))));
    let swallowed = tx.savepoint(async |tx| {
        abort(tx).await;
        Ok::<_, Error>(())
    });
    assert!(matches!(swallowed.await, Err(Error::Sql(_))));
    Retweet::bulk_create_new(&mut tx, (0..MANY).map(|number| retweet(3, number))).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.count("retweets").await, MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_the_closure_swallows_is_tried_again_all_the_same() {
    let db = fixture(1, &[]).await;
    let tries = AtomicU32::new(0);
    let done = upsertable::transaction(&db.pool, async |tx| {
        if tries.fetch_add(1, Ordering::SeqCst) == 0 {
            let lose = "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure'; END $$";
            sqlx::raw_sql(lose).execute(&mut **tx).await.unwrap_err();
            // Fails because of the one before it.
            Retweet::get_or_create(&mut *tx, retweet(1, 1)).await.map_err(|_| Error::from(sqlx::Error::RowNotFound))?;
        }
        Retweet::get_or_create(tx, retweet(1, 1)).await
    });
    assert!(done.await.unwrap().created);
    assert_eq!((tries.load(Ordering::SeqCst), db.count("retweets").await), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_an_sqlx_transaction_goes_on_after_other_unique_and_goes_by_its_own_count() {
    let db = fixture(1, &[]).await;
    let mut theirs = db.pool.begin().await.unwrap();
    Account::get_or_create(&mut *theirs, account("a@x", "taken")).await.unwrap();
    let mut nested = theirs.begin().await.unwrap();
    for _ in 0..2 {
        let refused = [
            Account::get_or_create(&mut *nested, account("b@x", "taken")).await.map(drop),
            Account::bulk_create_new(&mut *nested, [account("b@x", "taken")]).await.map(drop),
            Account::bulk_upsert(&mut *nested, [account("b@x", "taken")]).await.map(drop),
        ];
        assert!(refused.iter().all(|error| matches!(error, Err(Error::OtherUnique { .. }))), "{refused:?}");
        Account::upsert(&mut *nested, account("c@x", "c")).await.unwrap();
        let other = Account::upsert(&mut *nested, account("c@x", "taken")).await.unwrap_err();
        assert!(matches!(other, Error::OtherUnique { .. }), "{other}");
    }
    nested.rollback().await.unwrap();
    assert!(Account::find(&mut *theirs, by_email("c@x")).await.unwrap().is_none());
    let rows = (0..MANY).map(|number| account(&format!("{number}@x"), &number.to_string()));
    assert_eq!(Account::bulk_create_new(&mut *theirs, rows).await.unwrap().created, MANY as u64);
    theirs.commit().await.unwrap();
    assert_eq!(db.count("accounts").await, MANY + 1);
    db.assert_pool_clean("after an sqlx transaction").await;
}

/// A transaction whose connection is lost has ended.
///
/// An idle transaction's time-out or a shutdown does that.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_connection_is_lost_has_ended_and_never_an_unknown_commit() {
    let db = fixture(1, &[]).await;
    for call in ["none", "find", "bulk"] {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Retweet::get_or_create(&mut tx, retweet(1, 1)).await.unwrap();
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *tx).await.unwrap();
        db.run(&format!("SELECT pg_terminate_backend({pid}, 5000)")).await;
        let error = match call {
            "find" => Some(Account::find(&mut tx, by_email("a@x")).await.unwrap_err()),
            "bulk" => Some(Retweet::bulk_create_new(&mut tx, [retweet(2, 2)]).await.unwrap_err()),
            _ => None,
        };
        assert!(error.as_ref().is_none_or(Error::is_connection_lost), "{call}: {error:?}");
        let error = tx.commit().await.unwrap_err();
        assert!(matches!(error, Error::Ended { .. }), "{call}: {error}");
        db.assert_pool_clean(call).await;
        assert_eq!(db.count("retweets").await, 0);
    }
}
