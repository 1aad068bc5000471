//! "cached plan must not change result type", where no retry helps.
//!
//! A statement was prepared before a column got another type, and no call can run again.

use sqlx::{PgPool, Row as _};
use upsertable::{Error, Upsertable as _, begin, transaction};
use upsertable_tests::{
    Fixture, OnPostgres,
    models::{Account, account, by_email},
};

use crate::fixture;

/// One connection with outdated prepared statements of `find`.
///
/// The table has changed since they were prepared.
async fn altered() -> Fixture<OnPostgres> {
    let db = fixture(1, &[]).await;
    Account::get_or_create(&db.pool, account("a", "a")).await.unwrap();
    known(&db.pool).await.unwrap();
    alter(&db).await;
    db
}

async fn alter(db: &Fixture<OnPostgres>) {
    let types = db.number("SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'accounts' AND column_name = 'handle' AND data_type = 'text'").await;
    let other = if types == 1 { "VARCHAR(40)" } else { "TEXT" };
    db.run(&format!("ALTER TABLE accounts ALTER COLUMN handle TYPE {other}")).await;
}

/// Reads a known row by plain sqlx.
async fn known(db: impl sqlx::PgExecutor<'_>) -> Result<String, sqlx::Error> {
    sqlx::query("SELECT handle FROM accounts").fetch_one(db).await?.try_get(0)
}

fn is_outdated(error: &Error) -> bool {
    error.to_string() == "error returned from database: cached plan must not change result type" && error.is_retryable()
}

/// Server process that answers, to tell connections apart.
async fn process(pool: &PgPool) -> i32 {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_transaction_gives_a_retryable_error_and_the_next_one_runs_on_another_connection() {
    let db = altered().await;
    let before = process(&db.pool).await;
    let mut tx = begin(&db.pool).await.unwrap();
    assert!(is_outdated(&Account::find(&mut tx, by_email("a")).await.unwrap_err()));
    assert!(tx.commit().await.is_err(), "nothing of it is kept");
    let mut tx = begin(&db.pool).await.unwrap();
    assert!(Account::find(&mut tx, by_email("a")).await.unwrap().is_some());
    tx.commit().await.unwrap();
    assert_ne!(process(&db.pool).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_runs_again_for_a_statement_of_plain_sqlx_too() {
    let db = altered().await;
    let tries = std::sync::atomic::AtomicU32::new(0);
    let handle = transaction(&db.pool, async |tx| {
        tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, Error>(known(&mut **tx).await?)
    });
    assert_eq!(handle.await.unwrap(), "a");
    assert_eq!(tries.into_inner(), 2);
    db.assert_pool_clean("after the second try").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_borrowed_connection_gives_the_error_once() {
    let db = altered().await;
    let mut conn = db.pool.acquire().await.unwrap();
    assert!(is_outdated(&Account::find(&mut *conn, by_email("a")).await.unwrap_err()));
    assert!(Account::find(&mut *conn, by_email("a")).await.unwrap().is_some());
    alter(&db).await;
    let tx = sqlx::Connection::begin(&mut *conn).await.unwrap();
    let mut tx = tx;
    assert!(is_outdated(&Account::find(&mut *tx, by_email("a")).await.unwrap_err()));
    tx.rollback().await.unwrap();
    let mut tx = sqlx::Connection::begin(&mut *conn).await.unwrap();
    assert!(Account::find(&mut *tx, by_email("a")).await.unwrap().is_some());
    tx.commit().await.unwrap();
    drop(conn);
    db.assert_pool_clean("after the borrowed connection").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_on_a_pool_keeps_its_connection_and_prepares_its_statements_anew() {
    let db = altered().await;
    let before = process(&db.pool).await;
    let (found, statements) = upsertable::testing::statements(Account::find(&db.pool, by_email("a"))).await;
    assert!(found.unwrap().is_some());
    assert_eq!(statements.len(), 2, "one that fails and one that does not: {statements:?}");
    let (found, statements) = upsertable::testing::statements(Account::find(&db.pool, by_email("a"))).await;
    assert_eq!((found.unwrap().is_some(), statements.len()), (true, 1));
    assert_eq!(process(&db.pool).await, before);
}
