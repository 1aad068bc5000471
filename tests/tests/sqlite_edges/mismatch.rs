//! Rows that are there, and that their key does not find.

use sqlx::SqlitePool;
use upsertable::{Error, Upsertable, testing::statements};

use upsertable_tests::traced;

use crate::{PEOPLE, Person, assert_clean, by_email, in_memory, number, person, run};

fn assert_mismatch<T: std::fmt::Debug>(outcome: Result<T, Error>, cause: &str, when: &str) {
    match outcome {
        Err(error @ Error::KeyMismatch { .. }) => {
            assert!(!error.is_retryable(), "{when}");
            assert!(error.to_string().contains(cause), "{when}: {error}");
        }
        other => panic!("{when}: {other:?}"),
    }
}

/// Triggers that store a row with another key, or not at all.
const TRIGGERS: [&str; 4] = [
    "CREATE TRIGGER changes AFTER INSERT ON people BEGIN UPDATE people SET email = 'x' || NEW.email WHERE id = NEW.id; END",
    "CREATE TEMPORARY TRIGGER changes AFTER INSERT ON people BEGIN UPDATE people SET email = 'x' || email WHERE id = NEW.id; END",
    "CREATE TRIGGER changes AFTER INSERT ON people BEGIN DELETE FROM people WHERE id = NEW.id; END",
    "CREATE TRIGGER changes BEFORE INSERT ON people WHEN NEW.email NOT LIKE 'x%' BEGIN \
     INSERT INTO people (email, age) VALUES ('x' || NEW.email, NEW.age); SELECT RAISE(IGNORE); END",
];

async fn with_trigger(trigger: &str) -> SqlitePool {
    let pool = in_memory(&[PEOPLE]).await;
    run(&pool, "INSERT INTO people (email, age) VALUES ('known', 1)").await;
    run(&pool, trigger).await;
    pool
}

#[tokio::test]
async fn r8_a_trigger_that_changes_the_key_is_told_at_once_and_nothing_is_kept() {
    for (number_of, trigger) in TRIGGERS.into_iter().enumerate() {
        let pool = with_trigger(trigger).await;
        let cause = "trigger changes";
        let drops = number_of == 3;
        let many = || (0..1_500).map(|n| person(&n.to_string(), 1)).chain([person("known", 2)]);
        for round in ["first", "second"] {
            let when = format!("{trigger}, {round}");
            let (done, seen) = statements(Person::get_or_create(&pool, person("new", 2))).await;
            assert_mismatch(done, cause, &when);
            assert!(seen.len() < if drops { 60 } else { 20 }, "{seen:#?}");
            assert_mismatch(Person::upsert(&pool, person("new", 2)).await, cause, &when);
            for rows in [vec![person("new", 2), person("known", 3)], many().collect()] {
                assert_mismatch(Person::bulk_get_or_create(&pool, rows.clone()).await, cause, &when);
                // A row that a trigger drops is no row, and so is not counted.
                if !drops {
                    assert_mismatch(Person::bulk_upsert(&pool, rows.clone()).await, cause, &when);
                    assert_mismatch(Person::bulk_create_new(&pool, rows).await, cause, &when);
                }
            }
            if !drops {
                assert_mismatch(Person::bulk_create_new(&pool, [person("new", 2)]).await, cause, &when);
            }
            if !drops {
                assert_eq!(number(&pool, "SELECT count(*) FROM people").await, 1, "{when}");
                assert_eq!(number(&pool, "SELECT age FROM people").await, 1, "{when}");
            }
            // In a transaction that goes on, begun in each way.
            let mut tx = upsertable::begin(&pool).await.unwrap();
            sqlx::query("UPDATE people SET age = 7 WHERE email = 'known'").execute(&mut *tx).await.unwrap();
            assert_mismatch(Person::get_or_create(&mut tx, person("new", 2)).await, cause, &when);
            assert_mismatch(Person::upsert(&mut tx, person("new", 2)).await, cause, &when);
            assert_mismatch(Person::bulk_get_or_create(&mut tx, [person("new", 2)]).await, cause, &when);
            tx.commit().await.unwrap();
            assert_eq!(number(&pool, "SELECT age FROM people WHERE email = 'known'").await, 7, "{when}");
            let mut conn = pool.acquire().await.unwrap();
            assert_mismatch(Person::get_or_create(&mut *conn, person("new", 2)).await, cause, &when);
            sqlx::query("BEGIN").execute(&mut *conn).await.unwrap();
            sqlx::query("UPDATE people SET age = 1 WHERE email = 'known'").execute(&mut *conn).await.unwrap();
            assert_mismatch(Person::get_or_create(&mut *conn, person("new", 2)).await, cause, &when);
            assert_mismatch(Person::upsert(&mut *conn, person("new", 2)).await, cause, &when);
            sqlx::query("COMMIT").execute(&mut *conn).await.unwrap();
            drop(conn);
            assert_eq!(number(&pool, "SELECT age FROM people WHERE email = 'known'").await, 1, "{when}");
            if !drops {
                assert_eq!(number(&pool, "SELECT count(*) FROM people").await, 1, "{when}");
            }
            if !trigger.contains("TEMPORARY") {
                assert_clean(&pool, &when).await;
            }
        }
        assert!(Person::find(&pool, by_email("known")).await.unwrap().is_some());
        assert!(!Person::get_or_create(&pool, person("known", 9)).await.unwrap().created);
    }
}

#[tokio::test]
async fn a_trigger_that_keeps_the_key_is_no_trouble() {
    let pool = in_memory(&[
        PEOPLE,
        "CREATE TABLE log (email TEXT)",
        "CREATE TRIGGER noted BEFORE INSERT ON people BEGIN INSERT INTO log VALUES (NEW.email); END",
        "CREATE TRIGGER aged AFTER INSERT ON people BEGIN UPDATE people SET age = age + 100 WHERE id = NEW.id; END",
    ])
    .await;
    // The row is given as it is stored, though the trigger has changed it since.
    let made = Person::get_or_create(&pool, person("a", 1)).await.unwrap();
    assert_eq!((made.row.age, made.created), (101, true));
    let made = Person::upsert(&pool, person("b", 1)).await.unwrap();
    assert_eq!((made.row.age, made.created), (101, true));
    assert_eq!(Person::bulk_create_new(&pool, [person("a", 1), person("c", 1)]).await.unwrap().created, 1);
    let rows = (0..1_200).map(|n| person(&n.to_string(), 1));
    assert_eq!(Person::bulk_create_new(&pool, rows.clone()).await.unwrap().created, 1_200);
    let all = Person::bulk_get_or_create(&pool, rows.chain([person("d", 1)])).await.unwrap();
    assert_eq!(all.iter().filter(|one| one.created).count(), 1);
    assert!(all.iter().all(|one| one.row.age == 101));
    let mut tx = upsertable::begin(&pool).await.unwrap();
    assert!(Person::get_or_create(&mut tx, person("e", 1)).await.unwrap().created);
    tx.rollback().await.unwrap();
    assert_eq!(number(&pool, "SELECT count(*) FROM log").await, number(&pool, "SELECT count(*) FROM people").await);
    assert_clean(&pool, "after triggers").await;
}

/// A call that fails before staging says nothing of a removal.
///
/// A call that has staged nothing has nothing to remove.
#[tokio::test]
async fn a_call_that_fails_before_it_stages_is_not_told_as_one_that_was_not_rolled_back() {
    let pool =
        in_memory(&["CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT NOT NULL, age INTEGER NOT NULL)"]).await;
    let rows = || [person("a", 1), person("b", 2)];
    let calls = async {
        let mut errors = vec![
            Person::bulk_create_new(&pool, rows()).await.unwrap_err(),
            Person::bulk_get_or_create(&pool, rows()).await.unwrap_err(),
            Person::bulk_upsert(&pool, rows()).await.unwrap_err(),
        ];
        let mut conn = pool.acquire().await.unwrap();
        errors.push(Person::bulk_get_or_create(&mut *conn, rows()).await.unwrap_err());
        drop(conn);
        let mut tx = upsertable::begin(&pool).await.unwrap();
        errors.push(Person::bulk_upsert(&mut tx, rows()).await.unwrap_err());
        tx.commit().await.unwrap();
        errors
    };
    let (errors, told) = traced(calls).await;
    assert!(errors.iter().all(|error| matches!(error, Error::MissingUniqueIndex { .. })), "{errors:?}");
    let wrong: Vec<_> = told.iter().filter(|line| line.name.contains("could not be rolled back")).collect();
    assert!(wrong.is_empty() && !told.is_empty(), "{wrong:?}");
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "readings")]
#[unique(at)]
struct Reading {
    at: i64,
    v: i64,
}

#[tokio::test]
async fn r8_a_key_that_the_column_rounds_is_told_at_once() {
    let at = (1_i64 << 53) + 1;
    for declared in ["REAL", "DOUBLE", "FLOAT"] {
        let pool =
            in_memory(&[&format!("CREATE TABLE readings (at {declared} NOT NULL UNIQUE, v INTEGER NOT NULL)")]).await;
        for there in [0, 1] {
            for _ in 0..2 {
                let one = || Reading { at, v: 1 };
                let (done, seen) = statements(Reading::get_or_create(&pool, one())).await;
                assert_mismatch(done, "column at", declared);
                assert!(seen.len() < 30, "{seen:#?}");
                assert_mismatch(Reading::upsert(&pool, one()).await, "column at", declared);
                let mut tx = upsertable::begin(&pool).await.unwrap();
                assert_mismatch(Reading::get_or_create(&mut tx, one()).await, "column at", declared);
                tx.commit().await.unwrap();
                assert_eq!(number(&pool, "SELECT count(*) FROM readings").await, there);
            }
            run(&pool, &format!("INSERT OR IGNORE INTO readings VALUES ({at}, 1)")).await;
        }
    }
}
