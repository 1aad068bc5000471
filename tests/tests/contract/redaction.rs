//! Errors and the log have no value of a row.
//!
//! The value is in the error's source, for who asks for it.

use std::error::Error as _;

use upsertable::{Error, Upsertable};
use upsertable_tests::{
    models::{Account, Loose, LooseKey, NewAccount, NewLoose, NewNote, Note, Pledge, account, by_email, note},
    traced,
};

use super::{Db, Fixture};

/// Text that is in the values, and nowhere else.
const MARK: &str = "zebra7";

fn marked(number: i64) -> String {
    format!("{MARK} it's \"{number}\" for key 'x' `y`")
}

/// A document with a text as JSON.
///
/// Its field is not made from that.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "documents")]
#[unique(k)]
struct Document {
    k: i64,
    #[sqlx(json)]
    body: Vec<i64>,
}

/// A model whose column holds numbers.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "numbers")]
#[unique(k)]
struct Number {
    k: i64,
    number: String,
}

/// Errors of every call that creates the row.
///
/// On a pool and in a transaction.
async fn refused<M>(db: &Fixture, row: impl Fn() -> M::New) -> Vec<Error>
where
    M: upsertable::On<Db>,
    M::New: Clone,
{
    let rows = || [row()];
    let mut errors = vec![
        M::get_or_create(&db.pool, row()).await.err(),
        M::upsert(&db.pool, row()).await.err(),
        M::bulk_create_new(&db.pool, rows()).await.err(),
        M::bulk_get_or_create(&db.pool, rows()).await.err(),
        M::bulk_upsert(&db.pool, rows()).await.err(),
    ];
    for call in 0..3 {
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        errors.push(match call {
            0 => M::get_or_create(&mut tx, row()).await.err(),
            1 => M::upsert(&mut tx, row()).await.err(),
            _ => M::bulk_upsert(&mut tx, rows()).await.err(),
        });
        errors.push(tx.commit().await.err());
    }
    errors.into_iter().flatten().collect()
}

/// Texts of the error's sources, as far as they go.
fn sources(error: &Error) -> String {
    let chain = std::iter::successors(error.source(), |error| (*error).source());
    chain.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join(" ")
}

/// An error of every kind, each of a row with marked values.
async fn provoked(db: &Fixture) -> Vec<Error> {
    let json = match <Db as sqlx::Database>::NAME {
        "PostgreSQL" => "JSONB",
        "MySQL" => "JSON",
        _ => "TEXT",
    };
    db.run(&format!("CREATE TABLE documents (k BIGINT NOT NULL UNIQUE, body {json} NOT NULL)")).await;
    db.run("CREATE TABLE numbers (k BIGINT NOT NULL UNIQUE, number BIGINT NOT NULL)").await;
    Account::get_or_create(&db.pool, account("first@x", &marked(1))).await.unwrap();

    let mut errors = Vec::new();
    // Another row has the handle.
    errors.extend(refused::<Account>(db, || account(&marked(2), &marked(1))).await);
    let others = errors.len();
    assert!(others >= 8, "{errors:?}");
    // CHECK, NOT NULL, too long, a foreign key, now and at COMMIT.
    errors.extend(refused::<Account>(db, || NewAccount { age: -1, ..account(&marked(3), &marked(4)) }).await);
    errors.extend(refused::<Note>(db, || NewNote { body: None, ..note(&marked(5)) }).await);
    errors.extend(refused::<Note>(db, || NewNote { title: marked(6), ..note(&marked(6)) }).await);
    errors.extend(refused::<Note>(db, || NewNote { account: Some(77), ..note(&marked(7)) }).await);
    errors.extend(refused::<Pledge>(db, || Pledge { code: marked(8), account: 77 }).await);
    // No unique index, and then too many rows.
    errors.extend(refused::<Loose>(db, || NewLoose { a: 1, b: 1, label: marked(9) }).await);
    for _ in 0..2 {
        db.run(&format!("INSERT INTO loose (a, b, label) VALUES (1, 1, '{MARK}')")).await;
    }
    let twice = LooseKey { a: 1, b: 1 };
    errors.push(Loose::find(&db.pool, twice).await.unwrap_err());
    // A value that the column cannot hold, and one that the field cannot.
    errors.extend(refused::<Number>(db, || Number { k: 1, number: marked(10) }).await);
    db.run(&format!("INSERT INTO documents VALUES (1, '\"{MARK}\"')")).await;
    errors.push(Document::find(&db.pool, DocumentKey { k: 1 }).await.unwrap_err());
    errors.push(Document::get_or_create(&db.pool, Document { k: 1, body: vec![1] }).await.unwrap_err());
    // An error that plain sqlx gave.
    let again = "INSERT INTO accounts (email, handle, age) SELECT 'again', handle, age FROM accounts";
    errors.push(db.try_run(again).await.unwrap_err().into());

    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_a_row_is_in_an_error_or_in_the_log() {
    let db = Fixture::with_connections(1).await;
    let (errors, seen) = traced(provoked(&db)).await;
    for error in &errors {
        let (words, debug) = (error.to_string(), format!("{error:?} {error:#?}"));
        assert!(!words.contains(MARK) && !debug.contains(MARK), "{words}\n{debug}");
        assert!(words.len() > 10, "{words}");
    }
    let told: Vec<String> = errors.iter().map(sources).filter(|told| told.contains(MARK)).collect();
    assert!(!told.is_empty(), "who asks is told");
    assert!(Account::find(&db.pool, by_email(&marked(2))).await.unwrap().is_none());
    assert!(!seen.is_empty() && !format!("{seen:?}").contains(MARK), "{seen:#?}");
}
