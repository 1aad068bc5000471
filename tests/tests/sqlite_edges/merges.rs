//! Ways in which `bulk_create_new` creates rows on SQLite.
//!
//! One by one as they came, or sorted and looked for first: no outcome tells which.

use std::time::Duration;

use upsertable::{Upsertable as _, testing::statements};
use upsertable_tests::models::{Retweet, retweet};

use crate::{NewPerson, Person, assert_clean, by_email, call, in_file, in_memory, number, person, run, with_schema};

const COLUMNS: &str = "email TEXT NOT NULL UNIQUE, age INTEGER NOT NULL CHECK (age >= 0)";

const LOG: &str = "CREATE TABLE log (email TEXT)";
const TRIGGER: &str = "TRIGGER noted BEFORE INSERT ON people BEGIN INSERT INTO log VALUES (NEW.email); END";

/// Numbers of rows, and their order, for short and staged calls.
const CALLS: [(i64, bool); 5] = [(8, true), (900, true), (900, false), (5_000, true), (5_000, false)];

/// A row whose age is its number.
fn numbered(number: i64) -> NewPerson {
    person(&format!("{number:06}"), number)
}

/// Numbers in order, or each far from the one before.
fn numbers(rows: i64, sorted: bool) -> Vec<i64> {
    (0..rows).map(|number| if sorted { number } else { number * 7_919 % rows }).collect()
}

/// Tests if the rows went in as they came.
///
/// Nothing looked for them first.
fn as_they_came(seen: &[String]) -> bool {
    let inserts: Vec<&String> =
        seen.iter().filter(|sql| sql.contains("INSERT") && sql.contains("INTO `people`")).collect();
    assert_eq!(inserts.len(), 1, "{inserts:?}");
    !inserts[0].contains("GROUP BY")
}

#[tokio::test]
async fn r7_rows_that_are_there_leave_no_trace_whatever_else_is_wrong_with_them() {
    let plain = format!("CREATE TABLE people (id INTEGER PRIMARY KEY, {COLUMNS})");
    let counted = format!("CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, {COLUMNS})");
    // A CHECK that fails as such, and not as a constraint.
    let failing = plain.replace("age >= 0", "CASE WHEN age >= 0 THEN 1 ELSE json_extract('{' || age, '$') END");
    let tables = [
        (&plain, "SELECT 1".to_owned(), true),
        (&failing, "SELECT 1".to_owned(), true),
        (&counted, "SELECT 1".to_owned(), false),
        (&plain, format!("CREATE {TRIGGER}"), false),
    ];
    for (table, trigger, quiet) in tables {
        for (rows, sorted) in CALLS {
            for refused in [false, true] {
                for inside in [false, true] {
                    let case = format!("{table}; {trigger}; {rows} rows, sorted {sorted}, refused {refused}, {inside}");
                    let pool = in_memory(&[table, LOG]).await;
                    let known = (0..rows).step_by(4).map(numbered);
                    Person::bulk_create_new(&pool, known).await.unwrap();
                    run(&pool, &trigger).await;
                    // Each row comes twice, and only the first of those that are new may count.
                    let again = if refused { -1 } else { 1_000_000 };
                    let call = numbers(rows, sorted).into_iter().flat_map(|number| {
                        let first = if number % 4 == 0 { again } else { number };
                        [NewPerson { age: first, ..numbered(number) }, NewPerson { age: again, ..numbered(number) }]
                    });
                    let (done, seen) = if inside {
                        let mut tx = upsertable::begin(&pool).await.unwrap();
                        let done = statements(Person::bulk_create_new(&mut tx, call)).await;
                        tx.commit().await.unwrap();
                        done
                    } else {
                        statements(Person::bulk_create_new(&pool, call)).await
                    };
                    let done = done.unwrap_or_else(|error| panic!("{case}: {error}"));
                    let new = rows - (rows + 3) / 4;
                    assert_eq!((done.received, done.created), (2 * rows as u64, new as u64), "{case}");
                    assert_eq!(number(&pool, "SELECT count(*) FROM people").await, rows, "{case}");
                    assert_eq!(number(&pool, "SELECT max(id) FROM people").await, rows, "{case}: an id was used up");
                    let wrong = "SELECT count(*) FROM people WHERE age <> CAST(email AS INTEGER)";
                    assert_eq!(number(&pool, wrong).await, 0, "{case}");
                    let fired = if trigger.starts_with("CREATE") { new } else { 0 };
                    assert_eq!(number(&pool, "SELECT count(*) FROM log").await, fired, "{case}");
                    if !refused {
                        assert_eq!(as_they_came(&seen), quiet, "{case}: {seen:?}");
                    }
                    assert_clean(&pool, &case).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn b1_of_rows_that_go_in_as_they_came_one_that_is_refused_keeps_all_out() {
    for (rows, sorted) in CALLS {
        let pool = in_memory(&[&format!("CREATE TABLE people (id INTEGER PRIMARY KEY, {COLUMNS})")]).await;
        let refused =
            || numbers(rows, sorted).into_iter().map(|n| person(&n.to_string(), if n == rows - 2 { -1 } else { n }));
        Person::bulk_create_new(&pool, refused()).await.unwrap_err();
        Person::bulk_create_new(&mut *pool.acquire().await.unwrap(), refused()).await.unwrap_err();
        let mut tx = upsertable::begin(&pool).await.unwrap();
        Person::get_or_create(&mut tx, person("before", 1)).await.unwrap();
        Person::bulk_create_new(&mut tx, refused()).await.unwrap_err();
        tx.commit().await.unwrap();
        assert_eq!(number(&pool, "SELECT count(*) FROM people").await, 1, "{rows} rows, sorted {sorted}");
        assert_clean(&pool, "refused").await;
    }
}

/// Rows are looked for first where most are there.
///
/// Also where they come in no order and outgrow the cache. A few of the staged rows tell of all.
#[tokio::test]
async fn rows_are_looked_for_first_where_most_are_there_or_they_come_in_no_order_and_outgrow_the_cache() {
    for (cache, sorted, there, expected) in [
        ("-2000", true, 0, true),
        ("-2000", false, 0, true),
        ("-2000", true, 50, true),
        ("-2000", true, 100, false),
        ("-2000", false, 100, false),
        ("10", true, 0, true),
        ("10", true, 50, true),
        ("10", false, 0, false),
        ("10", false, 50, false),
        ("-40", false, 50, false),
    ] {
        let pool = in_memory(&[&format!("CREATE TABLE people (id INTEGER PRIMARY KEY, {COLUMNS})")]).await;
        run(&pool, &format!("PRAGMA cache_size = {cache}")).await;
        let known = (0..20_000).filter(|number| number % 100 < there).map(numbered);
        Person::bulk_create_new(&pool, known).await.unwrap();
        let (done, seen) =
            statements(Person::bulk_create_new(&pool, numbers(20_000, sorted).into_iter().map(numbered))).await;
        assert_eq!(done.unwrap().created, 200 * (100 - there as u64));
        assert_eq!(as_they_came(&seen), expected, "cache_size {cache}, sorted {sorted}, {there} % there: {seen:?}");
    }
}

#[tokio::test]
async fn r6_rows_that_go_in_as_they_came_are_compared_as_the_index_compares() {
    for rows in [8, 5_000] {
        let pool = in_memory(&[
            "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT NOT NULL, age INTEGER NOT NULL)",
            "CREATE UNIQUE INDEX i ON people (email COLLATE NOCASE)",
            "INSERT INTO people (email, age) VALUES ('A000003', 7)",
        ])
        .await;
        let call = (0..rows).flat_map(|n| [person(&format!("a{n:06}"), n), person(&format!("A{n:06}"), n)]);
        let (done, seen) = statements(Person::bulk_create_new(&pool, call)).await;
        assert_eq!(done.unwrap().created, rows as u64 - 1);
        assert!(as_they_came(&seen), "{seen:?}");
        assert_eq!(number(&pool, "SELECT count(*) FROM people").await, rows);
        assert_eq!(Person::find(&pool, by_email("A000003")).await.unwrap().map(|person| person.age), Some(7));
    }
}

/// Rows whose key has no unique index are refused.
#[tokio::test]
async fn b8_rows_that_would_go_in_as_they_came_are_refused_without_the_index() {
    for rows in [8, 5_000] {
        let pool = in_memory(&["CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, age INTEGER)"]).await;
        let error = Person::bulk_create_new(&pool, (0..rows).map(numbered)).await.unwrap_err();
        assert!(matches!(error, upsertable::Error::MissingUniqueIndex { .. }), "{error:?}");
        assert_eq!(number(&pool, "SELECT count(*) FROM people").await, 0);
        call("find", &pool).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_of_rows_with_one_key_a_short_call_keeps_the_first_and_uses_up_no_id() {
    let home = tempfile::tempdir().unwrap();
    let pool = in_file(&home, 2, Duration::ZERO).await;
    with_schema(&pool).await;
    for last in [2, 4] {
        let rows = (1..=last).flat_map(|number| [retweet(1, number), retweet(1, number), retweet(1, 1)]);
        assert_eq!(Retweet::bulk_create_new(&pool, rows).await.unwrap().created, 2);
    }
    assert_eq!(number(&pool, "SELECT max(id) FROM retweets").await, 4);
}
