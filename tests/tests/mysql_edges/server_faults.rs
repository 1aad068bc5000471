//! A server that goes away and comes back.
//!
//! It also closes idle connections, and has no room left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all};
use sqlx::{Executor as _, MySqlPool, mysql::MySqlPoolOptions};
use upsertable::{EndReason, Error, Transaction, Upsertable as _};

use crate::{
    CALLS, NewPerson, PEOPLE, Person, assert_clean, call, number,
    own_server::{LARGEST_FILE, OwnServer},
    person, run, with_tables,
};

/// A table that fits texts longer than the others' keys.
fn long_people() -> String {
    PEOPLE.replace("VARCHAR(10)", "VARCHAR(50)")
}

async fn transaction_with_a_row(pool: &MySqlPool) -> Transaction<sqlx::MySql> {
    let mut tx = upsertable::begin(pool).await.unwrap();
    Person::get_or_create(&mut tx, person("in tx", 1)).await.unwrap();
    tx
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_stopped_and_started_between_two_calls_is_no_call_s_affair() {
    let Some(mut server) = OwnServer::start().await else { return };
    let outside = server.pool(1).await;
    run(&outside, PEOPLE).await;
    for orderly in [true, false] {
        run(&outside, "DELETE FROM people").await;
        Person::get_or_create(&outside, person("known", 1)).await.unwrap();
        let pools = join_all(CALLS.map(|_| server.pool(2))).await;
        let open = server.pool(1).await;
        let mut tx = transaction_with_a_row(&open).await;
        let streaming = server.pool(1).await;
        let (half_way, stopped) = (tokio::sync::oneshot::channel(), tokio::sync::oneshot::channel());
        let rows = futures_util::stream::iter((0..5_000).map(|n| person(&n.to_string(), n)));
        let mut signals = Some((half_way.0, stopped.1));
        let rows = rows.enumerate().then(move |(n, row)| {
            let waits = if n == 4_000 { signals.take() } else { None };
            async move {
                if let Some((half_way, stopped)) = waits {
                    half_way.send(()).unwrap();
                    stopped.await.unwrap();
                }
                row
            }
        });
        let bulk = tokio::spawn({
            let streaming = streaming.clone();
            async move { Person::bulk_create_new_stream(&streaming, Box::pin(rows)).await }
        });
        half_way.1.await.unwrap();

        server.stop(orderly).await;
        // Made while nobody listens, it waits for the server.
        let waiting = tokio::spawn({
            let pool = pools[0].clone();
            async move { call("get_or_create", &pool).await }
        });
        server.start_again();
        stopped.0.send(()).unwrap();

        waiting.await.unwrap().unwrap_or_else(|error| panic!("{orderly}: {error}"));
        for (name, pool) in CALLS.iter().zip(&pools) {
            call(name, pool).await.unwrap_or_else(|error| panic!("{orderly}: {name}: {error}"));
        }
        let error = bulk.await.unwrap().unwrap_err();
        assert!(error.is_connection_lost(), "{orderly}: {error}");
        assert_clean(&mut streaming.acquire().await.unwrap(), "the server was stopped").await;
        let error = call("upsert", &mut tx).await.unwrap_err();
        assert!(error.is_connection_lost(), "{orderly}: {error}");
        tx.commit().await.unwrap_err();
        assert_clean(&mut open.acquire().await.unwrap(), "the server was stopped").await;
        let emails: Vec<String> =
            sqlx::query_scalar("SELECT email FROM people ORDER BY email").fetch_all(&outside).await.unwrap();
        assert_eq!(emails, ["known", "new"], "{orderly}");
    }
}

/// An idle connection that the server closed reaches no caller.
///
/// With `wait_timeout` at its least.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_server_closed_does_not_reach_a_pool_s_caller() {
    let db = with_tables(1, &[PEOPLE]).await;
    let impatient = || async {
        let options = MySqlPoolOptions::new().max_connections(1).after_connect(|conn, _| {
            Box::pin(async move { conn.execute("SET SESSION wait_timeout = 1").await.map(drop) })
        });
        options.connect_with((*db.pool.connect_options()).clone()).await.unwrap()
    };
    let pools = join_all(CALLS.map(|_| impatient())).await;
    let open = impatient().await;
    let mut tx = transaction_with_a_row(&open).await;
    // The two of `outside` and the one of `pool` are patient.
    while number(&db.outside, "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE()").await > 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (name, pool) in CALLS.iter().zip(&pools) {
        call(name, pool).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let error = call("get_or_create", &mut tx).await.unwrap_err();
    assert!(error.is_connection_lost(), "{error}");
    tx.commit().await.unwrap_err();
    assert_eq!(number(&db.pool, "SELECT count(*) FROM people WHERE email = 'in tx'").await, 0);
}

/// A transaction that the server ended for being idle is over.
///
/// However often it is asked, and at the COMMIT too: the server had closed the connection before that came.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_server_ended_for_being_idle_is_over() {
    let db = with_tables(1, &[PEOPLE]).await;
    for calls in 0..3 {
        let mut tx = transaction_with_a_row(&db.pool).await;
        let id: u64 = sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&mut *tx).await.unwrap();
        let ran = Arc::new(AtomicBool::new(false));
        let runs = Arc::clone(&ran);
        tx.on_commit(async move { runs.store(true, Ordering::Relaxed) });
        sqlx::query("SET SESSION wait_timeout = 1").execute(&mut *tx).await.unwrap();
        let still_there = format!("SELECT count(*) FROM information_schema.processlist WHERE id = {id}");
        while number(&db.outside, &still_there).await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for call_again in 0..calls {
            let error = call("get_or_create", &mut tx).await.unwrap_err();
            let is_ended = matches!(error, Error::Ended { reason: EndReason::Server, .. });
            assert!(is_ended || (call_again == 0 && error.is_connection_lost()), "{call_again}: {error}");
        }
        let error = tx.commit().await.unwrap_err();
        assert!(matches!(error, Error::Ended { reason: EndReason::Server, .. }), "after {calls} calls: {error}");
        assert!(!ran.load(Ordering::Relaxed));
        assert_clean(&mut db.pool.acquire().await.unwrap(), "idle for too long").await;
        assert_eq!(number(&db.pool, "SELECT count(*) FROM people WHERE email = 'in tx'").await, 0);
    }
}

const BULK_CALLS: [&str; 3] = ["bulk_create_new", "bulk_get_or_create", "bulk_upsert"];

/// Rows of so many bytes each, with names of their own.
fn large(prefix: &str, rows: usize, bytes: usize) -> Vec<NewPerson> {
    let about = "x".repeat(bytes);
    (0..rows).map(|n| NewPerson { about: about.clone(), ..person(&format!("{prefix}{n}"), 1) }).collect()
}

async fn bulk<'h>(name: &str, db: impl upsertable::Handle<'h, sqlx::MySql>, rows: Vec<NewPerson>) -> Result<(), Error> {
    match name {
        "bulk_create_new" => Person::bulk_create_new(db, rows).await.map(drop),
        "bulk_get_or_create" => Person::bulk_get_or_create(db, rows).await.map(drop),
        _ => Person::bulk_upsert(db, rows).await.map(drop),
    }
}

/// Checks that rows are refused, and nothing is half done.
///
/// On a pool of one connection and in a transaction. The session goes on.
async fn assert_refused(pool: &MySqlPool, name: &str, rows: &[NewPerson]) -> Error {
    let before = number(pool, "SELECT count(*) FROM people").await;
    let refused = bulk(name, pool, rows.to_vec()).await.unwrap_err();
    assert!(matches!(refused, Error::Sql(_)) && !refused.is_connection_lost(), "{name}: {refused}");
    assert_clean(&mut pool.acquire().await.unwrap(), name).await;
    assert_eq!(number(pool, "SELECT count(*) FROM people").await, before, "{name}");
    let mut tx = transaction_with_a_row(pool).await;
    let error = bulk(name, &mut tx, rows.to_vec()).await.unwrap_err();
    assert!(matches!(error, Error::Sql(_)), "{name}: {error}");
    call(name, &mut tx).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    tx.commit().await.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_clean(&mut pool.acquire().await.unwrap(), name).await;
    assert_eq!(number(pool, "SELECT count(*) FROM people").await, before + 3, "{name}: known, new and the row before");
    run(pool, "DELETE FROM people WHERE email IN ('known', 'new', 'in tx')").await;
    refused
}

/// A merge without room for temporary tables leaves nothing.
///
/// The limit is the server's own, of the temporary tables that it makes to run a statement.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_needs_more_room_than_the_session_may_have_leaves_nothing() {
    let db = with_tables(1, &[&long_people()]).await;
    if db.server.is_mysql() {
        // It goes on in a file, which no setting of a session's bounds: see the next test.
        return;
    }
    let rows = large("row ", 2_000, 500);
    for name in BULK_CALLS {
        run(&db.pool, "SET SESSION tmp_memory_table_size = 16384, SESSION tmp_disk_table_size = 65536").await;
        let error = assert_refused(&db.pool, name, &rows).await;
        assert!(error.to_string().contains("full"), "{name}: {error}");
        run(&db.pool, "SET SESSION tmp_memory_table_size = DEFAULT, SESSION tmp_disk_table_size = DEFAULT").await;
        bulk(name, &db.pool, rows.clone()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, 2_000, "{name}");
        run(&db.pool, "DELETE FROM people").await;
    }
}

/// Rows that find no room leave nothing.
///
/// No file of the server can become larger than its quota, and the staging table's has to.
#[tokio::test(flavor = "multi_thread")]
async fn b7_rows_that_find_no_room_leave_nothing() {
    const MIB: usize = 1 << 20;
    let Some(server) = OwnServer::start().await else { return };
    let pool = server.pool(1).await;
    run(&pool, &long_people()).await;
    let quota = LARGEST_FILE as usize / MIB;
    for name in BULK_CALLS {
        assert_refused(&pool, name, &large("staged ", quota + 8, MIB)).await;
    }
    Person::bulk_create_new(&pool, large("fits ", quota / 4, MIB)).await.unwrap();
    assert_eq!(number(&pool, "SELECT count(*) FROM people").await, quota as i64 / 4);
}
