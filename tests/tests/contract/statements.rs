//! Number of statements that each call costs.

use futures_util::stream;
use upsertable::{Error, Upsertable as _, testing::statements};
use upsertable_tests::{
    TestDb as _,
    models::{Account, Retweet, RetweetKey, Word, account, by_email, retweet},
};

use super::{Fixture, Subject, plain};

/// Tests if this INSERT was refused for its RETURNING.
///
/// A process tries that once where the server does not know it. The INSERT is sent again without.
fn is_refused(sql: &str, statements: &[String]) -> bool {
    statements.iter().any(|other| sql.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with(" RETURNING")))
}

/// Statements that are not about transactions.
///
/// MySQL asks for the index in one text with a savepoint.
pub(super) fn data(statements: &[String]) -> Vec<&str> {
    let about_transactions =
        ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "START TRANSACTION", "SET TRANSACTION"];
    let asks_too = |sql: &str| sql.starts_with("SAVEPOINT") && sql.contains("; SELECT");
    let is_data = |sql: &&str| asks_too(sql) || !about_transactions.iter().any(|word| sql.starts_with(word));
    statements.iter().map(String::as_str).filter(is_data).filter(|sql| !is_refused(sql, statements)).collect()
}

fn inserts<'s>(statements: &'s [String], table: &str) -> Vec<&'s str> {
    data(statements)
        .into_iter()
        .filter(|sql| sql.contains("INSERT") && sql.contains(" INTO ") && sql.contains(table))
        .collect()
}

/// Number of statements for a row that is not there.
///
/// Where an INSERT gives no row back, the index is looked for before it, and the row read after it.
pub(super) fn of_a_missing_row(db: &Fixture) -> usize {
    if db.server.is_mysql() { 4 } else { 2 }
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_missing_row_costs_two_statements_and_an_existing_one_costs_one() {
    let db = Fixture::new().await;
    let (outcome, missing) = statements(Retweet::get_or_create(&db.pool, retweet(1, 1))).await;
    assert!(outcome.unwrap().created);
    let (outcome, existing) = statements(Retweet::get_or_create(&db.pool, retweet(1, 1))).await;
    assert!(!outcome.unwrap().created);
    assert_eq!(data(&missing).len(), of_a_missing_row(&db), "{missing:?}");
    assert_eq!(data(&existing).len(), 1, "{existing:?}");
    assert_eq!(existing.len(), 1, "no transaction is begun: {existing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_get_or_create_with_costs_the_same() {
    let db = Fixture::new().await;
    let key = || RetweetKey { tweet: 1, retweeter: 1 };
    let make = async || Ok::<_, Error>(retweet(1, 1));
    let (_, missing) = statements(Retweet::get_or_create_with(&db.pool, key(), make)).await;
    let (_, existing) = statements(Retweet::get_or_create_with(&db.pool, key(), make)).await;
    assert_eq!((data(&missing).len(), data(&existing).len()), (of_a_missing_row(&db), 1), "{missing:?} {existing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_lost_race_costs_one_statement_more() {
    let db = Fixture::new().await;
    let winner = async || {
        db.run("INSERT INTO retweets (tweet, retweeter, original_author) VALUES (1, 1, 99)").await;
        Ok::<_, Error>(retweet(1, 1))
    };
    let call = Retweet::get_or_create_with(&db.pool, RetweetKey { tweet: 1, retweeter: 1 }, winner);
    let (outcome, lost) = statements(call).await;
    let outcome = outcome.unwrap();
    assert!(!outcome.created);
    assert_eq!(outcome.row.original_author, 99);
    assert_eq!(data(&lost).len(), if db.server.is_mysql() { 4 } else { 3 }, "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_find_costs_one_statement() {
    let db = Fixture::new().await;
    let (found, seen) = statements(Account::find(&db.pool, by_email("a@x"))).await;
    assert_eq!((found.unwrap(), seen.len()), (None, 1), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_in_a_transaction_the_cost_is_the_same() {
    let db = Fixture::new().await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let (_, missing) = statements(Retweet::get_or_create(&mut tx, retweet(1, 1))).await;
    let (_, existing) = statements(Retweet::get_or_create(&mut tx, retweet(1, 1))).await;
    assert_eq!((data(&missing).len(), data(&existing).len()), (of_a_missing_row(&db), 1), "{missing:?} {existing:?}");
    tx.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_merges_with_one_statement_whatever_the_number_of_rows() {
    let db = Fixture::new().await;
    let (few, small) = statements(Retweet::bulk_create_new(&db.pool, (0..3).map(|number| retweet(1, number)))).await;
    let (many, large) =
        statements(Retweet::bulk_create_new(&db.pool, (0..5_000).map(|number| retweet(2, number)))).await;
    assert_eq!((few.unwrap().created, many.unwrap().created), (3, 5_000));
    assert_eq!(inserts(&small, "retweets").len(), 1, "{small:?}");
    assert_eq!(inserts(&large, "retweets").len(), 1);
    assert!(data(&large).len() < 20, "a chunk carries hundreds of rows: {}", data(&large).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_no_rows_cost_no_statement() {
    let db = Fixture::new().await;
    let (done, on_pool) = statements(Retweet::bulk_create_new(&db.pool, [])).await;
    let done = done.unwrap();
    assert_eq!((done.received, done.created, on_pool), (0, 0, Vec::new()));
    assert_eq!(done.to_string(), "0 of 0 records added");

    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let (_, in_transaction) = statements(Retweet::bulk_create_new(&mut tx, [])).await;
    let (_, of_stream) = statements(Word::bulk_create_new_stream(&mut tx, stream::empty::<Word>())).await;
    assert_eq!((in_transaction, of_stream), (Vec::new(), Vec::new()));
    tx.commit().await.unwrap();

    let mut conn = db.pool.acquire().await.unwrap();
    let (_, on_connection) = statements(Retweet::bulk_create_new(&mut *conn, [])).await;
    assert_eq!(on_connection, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_sees_the_transaction_and_plain_sqlx_inside_it() {
    let db = Fixture::new().await;
    let work = async {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        sqlx::query("UPDATE accounts SET age = 1").execute(&mut *tx).await.unwrap();
        let _: Vec<(i64,)> = sqlx::query_as("SELECT id FROM accounts").fetch_all(&mut *tx).await.unwrap();
        let _ = sqlx::query(plain("SELECT 1")).fetch_optional(&mut *tx).await.unwrap();
        tx.savepoint(async |tx| Account::get_or_create(tx, account("a@x", "a")).await.map(drop)).await.unwrap();
        tx.on_commit(async {});
        tx.commit().await.unwrap();
        7
    };
    let (value, seen) = statements(work).await;
    assert_eq!(value, 7);
    let words = seen.iter().filter(|sql| !is_refused(sql, &seen)).map(|sql| sql.split(' ').next().unwrap());
    let words: Vec<&str> = words.map(|word| if word == "START" { "BEGIN" } else { word }).collect();
    let insert: &[&str] = match (Subject::SAVES_BEFORE_INSERT, db.server.is_mysql()) {
        (true, _) => &["SAVEPOINT", "INSERT", "RELEASE"],
        (false, false) => &["INSERT"],
        (false, true) => &["SAVEPOINT", "INSERT", "SELECT"],
    };
    let expected = [&["BEGIN", "UPDATE", "SELECT", "SELECT", "SAVEPOINT", "SELECT"], insert, &["RELEASE", "COMMIT"]];
    assert_eq!(words, expected.concat(), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_sees_what_callbacks_run_and_nothing_of_other_tasks() {
    let db = Fixture::new().await;
    let (pool, elsewhere) = (db.pool.clone(), db.pool.clone());
    let work = async {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        tx.on_commit(async move { Account::find(&pool, by_email("a@x")).await.map(drop) });
        tx.commit().await.unwrap();
        let other = tokio::spawn(async move { Account::find(&elsewhere, by_email("a@x")).await.map(drop) });
        other.await.unwrap().unwrap();
    };
    let ((), seen) = statements(work).await;
    assert_eq!(seen.len(), 3, "BEGIN, COMMIT, and the callback's SELECT: {seen:?}");
}
