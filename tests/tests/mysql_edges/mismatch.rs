//! Rows that their key does not find, and lasting causes.
//!
//! Also rows that refer to each other.

use upsertable::{Error, Upsertable, testing::statements};

use crate::{CALLS, PEOPLE, Person, by_email, call, number, person, run, with_tables};

fn is_mismatch(error: &Error, cause: &str) -> bool {
    matches!(error, Error::KeyMismatch { .. }) && !error.is_retryable() && error.to_string().contains(cause)
}

/// A trigger that changes the key is told at once.
///
/// It changes what no collation takes for the same.
#[tokio::test(flavor = "multi_thread")]
async fn r8_a_trigger_that_changes_the_key_is_told_at_once_and_nothing_is_kept() {
    let trigger = "CREATE TRIGGER prefixes BEFORE INSERT ON people FOR EACH ROW SET NEW.email = CONCAT('x', NEW.email)";
    let db = with_tables(1, &[PEOPLE]).await;
    run(&db.pool, "INSERT INTO people (email, age, about) VALUES ('known', 1, '')").await;
    run(&db.pool, trigger).await;
    let new = || person("new", 2);
    let many = || (0..1_100).map(|n| person(&n.to_string(), 1));
    for round in 0..2 {
        // One row, and the bulk calls with few and many rows.
        let (outcome, seen) = statements(Person::get_or_create(&db.pool, new())).await;
        let error = outcome.unwrap_err();
        assert!(is_mismatch(&error, "trigger prefixes"), "{round}: {error}");
        assert!(seen.len() < 10, "{seen:#?}");
        let error = Person::upsert(&db.pool, new()).await.unwrap_err();
        assert!(is_mismatch(&error, "trigger prefixes"), "{round}: {error}");
        for rows in [vec![new(), person("known", 3)], many().collect()] {
            let error = Person::bulk_create_new(&db.pool, rows.clone()).await.unwrap_err();
            assert!(is_mismatch(&error, "trigger prefixes"), "{round}: {error}");
            let error = Person::bulk_get_or_create(&db.pool, rows.clone()).await.unwrap_err();
            assert!(is_mismatch(&error, "trigger prefixes"), "{round}: {error}");
            let error = Person::bulk_upsert(&db.pool, rows).await.unwrap_err();
            assert!(is_mismatch(&error, "trigger prefixes"), "{round}: {error}");
        }
        assert_eq!(number(&db.outside, "SELECT count(*) FROM people").await, 1);
        // In a transaction that goes on, and on a connection.
        for name in CALLS.into_iter().skip(2).filter(|name| *name != "upsert") {
            let mut tx = upsertable::begin(&db.pool).await.unwrap();
            sqlx::Executor::execute(&mut *tx, "UPDATE people SET age = age + 1").await.unwrap();
            let error = call(name, &mut tx).await.unwrap_err();
            assert!(is_mismatch(&error, "trigger prefixes"), "{name}: {error}");
            tx.commit().await.unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut conn = db.pool.acquire().await.unwrap();
            let error = call(name, &mut *conn).await.unwrap_err();
            assert!(is_mismatch(&error, "trigger prefixes"), "{name}: {error}");
        }
        let expected = 1 + 4 * (round + 1);
        assert_eq!(number(&db.outside, "SELECT age FROM people WHERE email = 'known'").await, expected);
        assert_eq!(number(&db.outside, "SELECT count(*) FROM people").await, 1);
    }
    assert!(Person::find(&db.pool, by_email("known")).await.unwrap().is_some());
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "moments")]
#[unique(at)]
struct Moment {
    at: chrono::NaiveDateTime,
    label: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn r8_a_column_that_rounds_its_key_is_named() {
    let at = chrono::DateTime::from_timestamp(1_700_000_000, 123_456_000).unwrap().naive_utc();
    let moment = || Moment { at, label: String::new() };
    for kind in ["DATETIME(3)", "DATETIME", "TIMESTAMP(2)"] {
        let table = format!("CREATE TABLE moments (at {kind} NOT NULL PRIMARY KEY, label LONGTEXT NOT NULL)");
        let db = with_tables(1, &[&table]).await;
        for there in [false, true] {
            for rows in 0..2 {
                let error = if rows == 0 {
                    Moment::get_or_create(&db.pool, moment()).await.unwrap_err()
                } else {
                    Moment::upsert(&db.pool, moment()).await.unwrap_err()
                };
                assert!(is_mismatch(&error, "column at"), "{kind}: {error}");
            }
            assert_eq!(number(&db.pool, "SELECT count(*) FROM moments").await, i64::from(there), "{kind}");
            // In the way, and not found.
            if !there {
                sqlx::query("INSERT INTO moments VALUES (?, '')").bind(at).execute(&db.pool).await.unwrap();
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "folders")]
#[unique(id)]
struct Folder {
    id: i64,
    inside: Option<i64>,
    name: String,
}

const FOLDERS: &str = "CREATE TABLE folders (id BIGINT NOT NULL PRIMARY KEY, inside BIGINT, name LONGTEXT NOT NULL, \
                       FOREIGN KEY (inside) REFERENCES folders (id))";

/// Rows of one call may refer to those before them.
///
/// Each is inside the one before it, and has a smaller number.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_call_may_refer_to_those_before_them() {
    let folders = |count: i64| {
        (0..count).map(move |n| Folder { id: count - n, inside: (n > 0).then_some(count - n + 1), name: n.to_string() })
    };
    let db = with_tables(1, &[FOLDERS]).await;
    for count in [2, 12, 900, 2_100] {
        for in_transaction in [false, true] {
            for name in ["bulk_create_new", "bulk_get_or_create", "bulk_upsert"] {
                run(&db.outside, "SET foreign_key_checks = 0; DELETE FROM folders; SET foreign_key_checks = 1").await;
                let mut tx = upsertable::begin(&db.pool).await.unwrap();
                let rows = folders(count);
                let made = match name {
                    "bulk_create_new" => Folder::bulk_create_new(&mut tx, rows).await.map(|done| done.created),
                    "bulk_get_or_create" => Folder::bulk_get_or_create(&mut tx, rows).await.map(|all| all.len() as u64),
                    _ => Folder::bulk_upsert(&mut tx, rows).await.map(|done| done.created),
                };
                assert_eq!(made.unwrap(), count as u64, "{name} {count}");
                if in_transaction {
                    tx.commit().await.unwrap();
                } else {
                    tx.rollback().await.unwrap();
                    let rows = folders(count);
                    match name {
                        "bulk_create_new" => Folder::bulk_create_new(&db.pool, rows).await.map(drop),
                        "bulk_get_or_create" => Folder::bulk_get_or_create(&db.pool, rows).await.map(drop),
                        _ => Folder::bulk_upsert(&db.pool, rows).await.map(drop),
                    }
                    .unwrap();
                }
                assert_eq!(number(&db.outside, "SELECT count(*) FROM folders").await, count, "{name} {count}");
            }
        }
    }
    let orphan = Folder { id: -1, inside: Some(-2), name: String::new() };
    let error = Folder::bulk_create_new(&db.pool, [orphan]).await.unwrap_err();
    assert!(error.to_string().contains("foreign key constraint"), "{error}");
}

/// A counter that is used up is told at once.
///
/// It has the number of a deadlock on the counter, and is none.
#[tokio::test(flavor = "multi_thread")]
async fn r8_a_counter_that_is_used_up_is_told_at_once() {
    let full = PEOPLE.replace("id BIGINT AUTO_INCREMENT", "id BIGINT UNSIGNED AUTO_INCREMENT");
    let db = with_tables(1, &[&full, "ALTER TABLE people AUTO_INCREMENT = 18446744073709551615"]).await;
    run(&db.pool, "INSERT INTO people (id, email, age, about) VALUES (18446744073709551614, 'known', 1, '')").await;
    for name in ["get_or_create", "bulk_create_new", "bulk_get_or_create", "bulk_upsert"] {
        for in_transaction in [false, true] {
            // A statement that commits itself gives no sign of which it was, so it is tried again.
            if name == "get_or_create" && !in_transaction {
                continue;
            }
            let (outcome, seen) = if in_transaction {
                let mut tx = upsertable::begin(&db.pool).await.unwrap();
                let done = statements(call(name, &mut tx)).await;
                tx.commit().await.unwrap();
                done
            } else {
                statements(call(name, &db.pool)).await
            };
            let error = outcome.unwrap_err();
            assert!(!error.is_retryable(), "{name}: {error}");
            assert!(seen.len() < 25, "{name}: {seen:#?}");
            assert_eq!(number(&db.outside, "SELECT count(*) FROM people").await, 1, "{name}");
        }
    }
}
