//! Connections that the server ends, and statements too large for it.

use futures_util::StreamExt as _;
use upsertable::{Error, Upsertable as _};
use upsertable_tests::{Fixture, OnMySql};

use crate::{CALLS, NewPerson, PEOPLE, Person, assert_clean, by_email, call, number, person, run, with_tables};

/// Ends the pool's connections from outside.
///
/// None of them is in use.
async fn kill_idle(db: &Fixture<OnMySql>) {
    let mut held = Vec::new();
    for _ in 0..db.pool.size() {
        held.push(db.pool.acquire().await.unwrap());
    }
    for conn in &mut held {
        let id: u64 =
            sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS UNSIGNED)").fetch_one(&mut **conn).await.unwrap();
        run(&db.outside, &format!("KILL {id}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_server_ended_is_no_call_s_affair() {
    let db = with_tables(2, &[PEOPLE]).await;
    for name in CALLS {
        kill_idle(&db).await;
        call(name, &db.pool).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        kill_idle(&db).await;
        upsertable::begin(&db.pool).await.unwrap().rollback().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_connection_is_killed_says_that_it_is_lost_and_keeps_nothing() {
    let db = with_tables(1, &[PEOPLE]).await;
    for name in CALLS {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        Person::get_or_create(&mut tx, person("before", 1)).await.unwrap();
        let id: u64 = sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS UNSIGNED)").fetch_one(&mut *tx).await.unwrap();
        run(&db.outside, &format!("KILL {id}")).await;
        let error = call(name, &mut tx).await.unwrap_err();
        assert!(error.is_connection_lost(), "{name}: {error}");
        tx.commit().await.unwrap_err();
        assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, 0, "{name}");
    }
}

/// A call killed while it stages leaves nothing.
///
/// The connection is killed by the rows of the call themselves, after so many of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_call_whose_connection_is_killed_while_it_stages_leaves_nothing() {
    let db = with_tables(1, &[PEOPLE]).await;
    for killed_at in [1, 2_500, 6_000] {
        let outside = db.outside.clone();
        let user = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
        let rows = futures_util::stream::iter(0..8_000).then(move |n| {
            let outside = outside.clone();
            async move {
                if n == killed_at {
                    for id in sqlx::query_scalar::<_, i64>(user).fetch_all(&outside).await.unwrap() {
                        // The other connections of this pool are ended too, and replaced.
                        drop(sqlx::query(sqlx::AssertSqlSafe(format!("KILL {id}"))).execute(&outside).await);
                    }
                }
                person(&n.to_string(), n)
            }
        });
        let outcome = Person::bulk_create_new_stream(&db.pool, Box::pin(rows)).await;
        let error = outcome.expect_err("the connection was killed");
        assert!(error.is_connection_lost(), "{error}");
        assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, 0);
        assert_clean(&mut db.pool.acquire().await.unwrap(), "killed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_rows_as_large_as_a_packet_are_sent_alone() {
    let db = with_tables(1, &[PEOPLE]).await;
    let packet = number(&db.pool, "SELECT CAST(@@max_allowed_packet AS SIGNED)").await as usize;
    let large = |name: &str, size: usize| NewPerson { about: "x".repeat(size), ..person(name, 1) };
    let sizes = [
        10,
        packet * 6 / 10,
        packet * 6 / 10,
        packet - 4_096,
        0,
        packet - 4_096,
        packet / 3,
        packet / 3,
        packet / 3,
        packet / 3,
    ];
    let rows = sizes.iter().enumerate().map(|(n, size)| large(&n.to_string(), *size));
    let done = Person::bulk_create_new(&db.pool, rows.collect::<Vec<_>>()).await.unwrap();
    assert_eq!(done.created, sizes.len() as u64);
    for (n, size) in sizes.iter().enumerate() {
        let sql = format!("SELECT CAST(LENGTH(about) AS SIGNED) FROM people WHERE email = '{n}'");
        assert_eq!(number(&db.pool, &sql).await, *size as i64);
    }
    let error = Person::bulk_create_new(&db.pool, [large("more", packet + 1)]).await.unwrap_err();
    assert!(matches!(error, Error::Sql(_)), "{error}");
    assert_eq!(Person::find(&db.pool, by_email("more")).await.unwrap(), None);
}
