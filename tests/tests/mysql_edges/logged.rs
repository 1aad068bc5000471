//! Servers that log their statements, and sessions without `unique_checks`.

use sqlx::Row as _;
use tokio::task::JoinSet;
use upsertable::{Error, Upsertable as _};

use crate::{
    NewPerson, PEOPLE, Person, assert_clean, call, number, own_server::OwnServer, person, run, settings::pool_set_to,
    with_tables,
};

/// A log of statements is named where it forbids a call.
///
/// What the log cannot hold is refused by a call as a whole, and the error says which setting forbids it.
#[tokio::test(flavor = "multi_thread")]
async fn b9_a_log_of_statements_is_named_where_it_forbids_a_call() {
    let options: &[&str] = &["--log-bin=log-bin", "--server-id=1", "--binlog-format=STATEMENT"];
    let Some(server) = OwnServer::start_with(options).await else { return };
    let pool = server.pool(1).await;
    let format = sqlx::query("SELECT @@log_bin, @@binlog_format").fetch_one(&pool).await.unwrap();
    assert_eq!((format.get::<i64, _>(0), format.get::<&str, _>(1)), (1, "STATEMENT"));
    run(&pool, &PEOPLE.replace("VARCHAR(10)", "VARCHAR(50)")).await;
    let mut refused = 0;
    for name in crate::CALLS.into_iter().chain(["many"]) {
        for handle in ["pool", "transaction", "connection"] {
            run(&pool, "DELETE FROM people").await;
            Person::get_or_create(&pool, person("known", 1)).await.unwrap();
            let many = || (0..1_100).map(|n| person(&n.to_string(), n));
            let outcome = match handle {
                "pool" if name == "many" => Person::bulk_create_new(&pool, many()).await.map(drop),
                "pool" => call(name, &pool).await,
                "transaction" => {
                    let mut tx = upsertable::begin(&pool).await.unwrap();
                    let outcome = match name {
                        "many" => Person::bulk_create_new(&mut tx, many()).await.map(drop),
                        _ => call(name, &mut tx).await,
                    };
                    tx.commit().await.unwrap();
                    outcome
                }
                _ => {
                    let mut conn = pool.acquire().await.unwrap();
                    match name {
                        "many" => Person::bulk_create_new(&mut *conn, many()).await.map(drop),
                        _ => call(name, &mut *conn).await,
                    }
                }
            };
            let when = format!("{name} on a {handle}");
            if let Err(error) = outcome {
                assert!(matches!(error, Error::Unsupported { .. }), "{when}: {error:?}");
                assert!(error.to_string().contains("binlog_format"), "{when}: {error}");
                assert!(!error.is_retryable(), "{when}");
                assert_eq!(number(&pool, "SELECT count(*) FROM people").await, 1, "{when}");
                refused += 1;
            }
            assert_clean(&mut pool.acquire().await.unwrap(), &when).await;
        }
    }
    assert!(refused > 0, "nothing is refused, so this says nothing");
}

/// Sessions that check no unique index make no row twice.
///
/// Without `unique_checks` InnoDB may put what it has not in memory into a unique index unseen.
#[tokio::test(flavor = "multi_thread")]
async fn r1_sessions_that_check_no_unique_index_make_no_row_twice() {
    const TASKS: i64 = 6;
    const ROUNDS: i64 = 12;
    let db = with_tables(1, &[PEOPLE]).await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let pool = pool_set_to(&db.pool, "SET SESSION unique_checks = 0, foreign_key_checks = 0").await.unwrap();
        tasks.spawn(async move {
            let mut created = 0;
            for round in 0..ROUNDS {
                let mut rows: Vec<NewPerson> = (0..60).map(|n| person(&format!("{round} {n}"), task)).collect();
                if task % 2 == 0 {
                    rows.reverse();
                }
                created +=
                    i64::from(Person::get_or_create(&pool, person(&format!("one {round}"), task)).await?.created);
                created += match task % 3 {
                    0 => Person::bulk_create_new(&pool, rows).await?.created as i64,
                    1 => Person::bulk_upsert(&pool, rows).await?.created as i64,
                    _ => {
                        let outcomes = Person::bulk_get_or_create(&pool, rows).await?;
                        outcomes.iter().filter(|outcome| outcome.created).count() as i64
                    }
                };
            }
            Ok::<_, Error>(created)
        });
    }
    let created: i64 = tasks.join_all().await.into_iter().map(Result::unwrap).sum();
    assert_eq!(created, ROUNDS * 61);
    assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, ROUNDS * 61);
    assert_eq!(number(&db.pool, "SELECT count(DISTINCT email) FROM people").await, ROUNDS * 61);
    assert_eq!(number(&db.pool, "SELECT count(*) FROM people FORCE INDEX (email)").await, ROUNDS * 61);
}
