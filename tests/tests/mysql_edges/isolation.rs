//! Isolation levels, and transactions that the crate did not begin.

use sqlx::Executor as _;
use tokio::task::JoinSet;
use upsertable::{Error, Isolation, TransactionOptions, Upsertable as _};

use crate::{PEOPLE, Person, assert_clean, by_email, number, person, run, with_tables};

const LEVELS: [Isolation; 3] = [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];

/// R1 and B3: racing transactions count exactly at each isolation level.
///
/// Those that lose are run again.
#[tokio::test(flavor = "multi_thread")]
async fn racing_transactions_create_each_row_once_at_every_isolation_level() {
    const ROUNDS: i64 = 30;
    let db = with_tables(8, &[PEOPLE]).await;
    for level in LEVELS {
        run(&db.pool, "DELETE FROM people").await;
        let mut tasks = JoinSet::new();
        for task in 0..8_i64 {
            let pool = db.pool.clone();
            tasks.spawn(async move {
                let mut created = 0;
                for round in 0..ROUNDS {
                    let options = TransactionOptions::new().isolation(level).attempts(100);
                    created += options
                        .run(&pool, async |tx| {
                            let absent = Person::find(&mut *tx, by_email(&format!("{round}"))).await?.is_none();
                            let one = Person::get_or_create(&mut *tx, person(&format!("{round}"), task)).await?;
                            assert!(absent || !one.created);
                            let mut names: Vec<_> = (0..20).map(|n| person(&format!("{round} {n}"), task)).collect();
                            if task % 2 == 0 {
                                names.reverse();
                            }
                            let many = Person::bulk_get_or_create(&mut *tx, names).await?;
                            let made = many.iter().filter(|outcome| outcome.created).count() as i64;
                            Ok::<_, Error>(i64::from(one.created) + made)
                        })
                        .await
                        .unwrap();
                }
                created
            });
        }
        let created: i64 = tasks.join_all().await.into_iter().sum();
        assert_eq!(created, ROUNDS * 21, "{level:?}");
        assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, ROUNDS * 21, "{level:?}");
    }
}

/// A row that came after the snapshot is met by every call.
///
/// What the transaction has read as absent is there, for another has committed it: all calls see it, or say that trying again helps.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_came_after_the_snapshot_is_met_by_every_call() {
    let db = with_tables(2, &[PEOPLE]).await;
    // MySQL has no such setting, and is as MariaDB without it.
    let settings: &[bool] = if db.server.is_mysql() { &[false] } else { &[false, true] };
    for &snapshot_isolation in settings {
        for name in ["get_or_create", "upsert", "bulk_create_new", "bulk_get_or_create", "bulk_upsert"] {
            run(&db.pool, "DELETE FROM people").await;
            let mut tx = upsertable::begin(&db.pool).await.unwrap();
            // Only newer servers of MariaDB have it, and the newest have it on by default.
            let set = format!("SET SESSION innodb_snapshot_isolation = {}", u8::from(snapshot_isolation));
            let is_set = sqlx::query(sqlx::AssertSqlSafe(set)).execute(&mut *tx).await.is_ok();
            if snapshot_isolation && !is_set {
                continue;
            }
            assert_eq!(Person::find(&mut tx, by_email("known")).await.unwrap(), None);
            Person::get_or_create(&db.outside, person("known", 1)).await.unwrap();
            let outcome = crate::call(name, &mut tx).await;
            match outcome {
                Ok(()) => {
                    tx.commit().await.unwrap();
                    assert_eq!(
                        number(&db.pool, "SELECT count(*) FROM people WHERE email = 'known'").await,
                        1,
                        "{name}"
                    );
                }
                Err(error) => {
                    assert!(snapshot_isolation && error.is_retryable(), "{name}: {error}");
                    let refused = tx.commit().await.unwrap_err();
                    assert!(matches!(refused, Error::Ended { .. }) && refused.is_retryable(), "{name}: {refused}");
                }
            }
            if is_set {
                run(&db.pool, "SET SESSION innodb_snapshot_isolation = DEFAULT").await;
            }
            assert_clean(&mut db.pool.acquire().await.unwrap(), name).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_autocommit_is_never_committed_for_the_caller() {
    let db = with_tables(1, &[PEOPLE]).await;
    for name in ["get_or_create", "upsert", "bulk_create_new", "bulk_get_or_create", "bulk_upsert"] {
        let mut conn = db.pool.acquire().await.unwrap();
        conn.execute("SET autocommit = 0").await.unwrap();
        crate::call(name, &mut *conn).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(number(&db.outside, "SELECT count(*) FROM people").await, 0, "{name}");
        conn.execute("ROLLBACK").await.unwrap();
        conn.execute("SET autocommit = 1").await.unwrap();
        assert_clean(&mut conn, name).await;
        drop(conn);
        assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, 0, "{name}");
    }
}

/// A merge on a pool sets its level for its transaction only.
#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_call_leaves_the_session_s_isolation_level() {
    let db = with_tables(1, &[PEOPLE]).await;
    run(&db.pool, "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE").await;
    crate::call("bulk_upsert", &db.pool).await.unwrap();
    // MySQL has lost the older name, and MariaDB got the newer one late.
    let name = if db.server.is_mysql() { "transaction_isolation" } else { "tx_isolation" };
    let asks = sqlx::AssertSqlSafe(format!("SELECT @@session.{name}"));
    let level: String = sqlx::query_scalar(asks).fetch_one(&db.pool).await.unwrap();
    assert_eq!(level, "SERIALIZABLE");
}
