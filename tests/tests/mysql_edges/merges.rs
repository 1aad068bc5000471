//! Facts that a merge must not take on trust.
//!
//! Whether keys are distinct, and what the server knows of a table.

use upsertable::{BulkCreated, Upsertable, testing::statements};
use upsertable_tests::{OnMySql, TestDb as _, race};

use crate::{PEOPLE, Person, number, person, run, with_tables};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "samples")]
#[unique(a, b)]
struct Sample {
    #[upsertable(generated)]
    id: i64,
    a: i64,
    b: i32,
    value: i64,
}

fn samples(rows: std::ops::Range<i64>) -> impl Iterator<Item = NewSample> + Clone + Send {
    rows.map(|number| NewSample { a: number * 7_919 % 10_007, b: number as i32, value: number })
}

const SAMPLES: &str = "CREATE TABLE samples (id BIGINT AUTO_INCREMENT PRIMARY KEY, a BIGINT NOT NULL, b INT NOT NULL, \
                       value BIGINT NOT NULL, UNIQUE (a, b))";

/// Numbers of rows, with and without a staging table.
const SIZES: [i64; 4] = [1, 3, 700, 3_000];

/// Two numbers that are one key once stored are one.
///
/// The client takes them for two keys, the column does not.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_one_key_once_they_are_stored_are_one() {
    const LARGE: i64 = 1 << 53;
    let db = with_tables(1, &[&SAMPLES.replace("a BIGINT", "a DOUBLE")]).await;
    for rows in SIZES {
        for (there, sorted) in [(false, false), (false, true), (true, false), (true, true)] {
            run(&db.pool, "TRUNCATE samples").await;
            let first = NewSample { a: LARGE, b: 1, value: -1 };
            if there {
                Sample::bulk_create_new(&db.pool, [first.clone()]).await.unwrap();
            }
            let second = NewSample { a: LARGE + 1, value: -2, ..first.clone() };
            let rise = |row: NewSample| NewSample { a: if sorted { row.value } else { row.a }, ..row };
            let all = samples(0..rows).map(rise).chain([first, second]);
            let done = Sample::bulk_create_new(&db.pool, all).await.unwrap();
            let created = rows as u64 + u64::from(!there);
            assert_eq!(done, BulkCreated { received: rows as u64 + 2, created }, "{rows} rows, there: {there}");
            assert_eq!(
                number(&db.pool, "SELECT COUNT(*) FROM samples WHERE value = -1").await,
                1,
                "{rows} rows, there: {there}, sorted: {sorted}"
            );
            assert_eq!(number(&db.pool, "SELECT COUNT(*) FROM samples").await, rows + 1, "{rows} rows, there: {there}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_numbers_that_come_twice_the_first_wins_and_no_id_is_used_up() {
    let db = with_tables(1, &[SAMPLES]).await;
    for rows in SIZES {
        run(&db.pool, "TRUNCATE samples").await;
        let again = samples(0..rows).map(|row| NewSample { value: -1, ..row });
        let done = Sample::bulk_create_new(&db.pool, samples(0..rows).chain(again.clone())).await.unwrap();
        assert_eq!(done, BulkCreated { received: rows as u64 * 2, created: rows as u64 });
        assert_eq!(number(&db.pool, "SELECT COUNT(*) FROM samples WHERE value < 0").await, 0, "{rows} rows");
        let next = number(&db.pool, "SELECT MAX(id) + 1 FROM samples").await;
        let none = Sample::bulk_create_new(&db.pool, again).await.unwrap();
        assert_eq!(none.created, 0);
        let last = NewSample { a: -1, b: -1, value: 0 };
        let row = Sample::get_or_create(&db.pool, last).await.unwrap().row;
        // InnoDB takes ids for an INSERT .. SELECT in powers of two.
        let taken = if rows * 2 > 1_024 { rows } else { 0 };
        assert!(row.id <= next + taken, "{rows} rows: {} after {next}", row.id);
    }
}

/// Rows that come in the order of their key are not sorted.
///
/// Of numbers alone the client knows how they sort.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_in_the_order_of_their_key_are_not_sorted_again() {
    const ROWS: i64 = 3_000;
    let db = with_tables(1, &[SAMPLES, PEOPLE]).await;
    let pair = |number: i64| NewSample { a: number / 2 - 500, b: (number % 2) as i32 - 1, value: number };
    let rising = || (0..ROWS).map(pair);
    let (last, first) = (pair(ROWS), pair(0));
    for (rows, sorted, distinct) in [
        (rising().collect::<Vec<_>>(), true, true),
        (rising().chain([last.clone()]).collect(), true, true),
        (rising().rev().collect(), false, true),
        ([last.clone()].into_iter().chain(rising()).collect(), false, true),
        (rising().chain([first]).collect(), false, false),
        (rising().chain([last.clone(), last]).collect(), false, false),
    ] {
        for there in [0, 1_000, ROWS] {
            run(&db.pool, "TRUNCATE samples").await;
            Sample::bulk_create_new(&db.pool, rising().rev().take(there as usize)).await.unwrap();
            let keys: std::collections::BTreeSet<(i64, i32)> = rows.iter().map(|row| (row.a, row.b)).collect();
            let (done, seen) = statements(Sample::bulk_create_new(&db.pool, rows.clone())).await;
            assert_eq!(
                done.unwrap(),
                BulkCreated { received: rows.len() as u64, created: keys.len() as u64 - there as u64 }
            );
            assert_eq!(number(&db.pool, "SELECT COUNT(*) FROM samples").await, keys.len() as i64);
            let merges: Vec<&String> = seen.iter().filter(|sql| sql.starts_with("INSERT INTO `samples`")).collect();
            let ways: Vec<_> =
                merges.iter().map(|sql| (!sql.contains("ORDER BY"), !sql.contains("ROW_NUMBER"))).collect();
            assert_eq!(ways, [(sorted, distinct)], "{merges:?}");
        }
    }
    let people = (0..ROWS).map(|number| person(&format!("{number:06}"), number));
    let (done, seen) = statements(Person::bulk_create_new(&db.pool, people)).await;
    assert_eq!(done.unwrap().created, ROWS as u64);
    assert!(seen.iter().any(|sql| sql.contains("ROW_NUMBER")), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_column_s_collation_says_which_texts_are_one_key() {
    let db = with_tables(1, &[PEOPLE]).await;
    for rows in SIZES {
        run(&db.pool, "DELETE FROM people").await;
        let others = (0..rows).map(|number| person(&format!("{number}"), number));
        let alike =
            ["Case", "case", "CASE ", "c\u{e4}se"].iter().zip(1_000_000..).map(|(email, age)| person(email, age));
        let done = Person::bulk_create_new(&db.pool, others.chain(alike.clone())).await.unwrap();
        // MariaDB's default collation compares as if spaces were added at the end, MySQL's does not.
        let pads = !db.server.is_mysql();
        let (keys, sum) = if pads { (1, 1_000_000) } else { (2, 1_000_000 + 1_000_002) };
        assert_eq!(done.created, rows as u64 + keys, "{rows} rows");
        let ages = "SELECT SUM(age) FROM people WHERE age >= 1000000";
        assert_eq!(number(&db.pool, &format!("SELECT CAST(({ages}) AS SIGNED)")).await, sum, "{rows} rows");
        assert_eq!(Person::bulk_create_new(&db.pool, alike).await.unwrap().created, 0, "{rows} rows");
        // Cut at its end, as a column cuts spaces, it is the same key where they do not count; cut elsewhere it is refused.
        let spaces = || [person(&format!("case{}", " ".repeat(20)), 0)];
        let done = Person::bulk_create_new(&db.pool, spaces()).await.unwrap();
        assert_eq!(done.created, u64::from(!pads), "{rows} rows");
        assert_eq!(Person::bulk_create_new(&db.pool, spaces()).await.unwrap().created, 0, "{rows} rows");
        Person::bulk_create_new(&db.pool, [person("longer than ten", 0)]).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b3_calls_over_the_same_numbers_make_each_row_once() {
    const CALLERS: i64 = 4;
    const ROUNDS: i64 = 6;
    let db = with_tables(CALLERS as u32, &[SAMPLES]).await;
    for rows in SIZES {
        run(&db.pool, "TRUNCATE samples").await;
        let done = race(&db.pool, 0..CALLERS, move |caller, pool, start| async move {
            let mut created = 0;
            for round in 0..ROUNDS {
                let mut mine: Vec<NewSample> = samples(round * rows..(round + 1) * rows).collect();
                if caller % 2 == 0 {
                    mine.reverse();
                }
                start.wait().await;
                created += Sample::bulk_create_new(&pool, mine).await.unwrap().created;
            }
            created
        })
        .await;
        let created: u64 = done.into_iter().sum();
        assert_eq!(created, (ROUNDS * rows) as u64, "{rows} rows");
        assert_eq!(number(&db.pool, "SELECT COUNT(*) FROM samples").await, ROUNDS * rows, "{rows} rows");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b6_no_size_of_a_call_reads_the_whole_table() {
    let db = with_tables(1, &[SAMPLES]).await;
    for rows in SIZES {
        run(&db.pool, "TRUNCATE samples").await;
        let (_, distinct) = statements(Sample::bulk_create_new(&db.pool, samples(0..rows))).await;
        run(&db.pool, "TRUNCATE samples").await;
        let twice = samples(0..rows).chain(samples(0..1));
        let (_, with_repeats) = statements(Sample::bulk_create_new(&db.pool, twice)).await;
        run(&db.pool, "TRUNCATE samples").await;
        for state in ["never analysed", "analysed when empty", "grown since"] {
            match state {
                "never analysed" => {}
                "analysed when empty" => run(&db.pool, "ANALYZE TABLE samples").await,
                _ => drop(Sample::bulk_create_new(&db.pool, samples(0..9_000)).await.unwrap()),
            }
            let mut conn = db.pool.acquire().await.unwrap();
            for statements in [&distinct, &with_repeats] {
                let plan = OnMySql::merge_plan(&mut conn, statements, "samples").await;
                assert!(!plan.scans_target, "{rows} rows, {state}:\n{}", plan.text);
            }
        }
    }
}

/// A key that does not fit is refused, even without strict mode.
///
/// A session that is not strict cuts the texts of an INSERT: not those of a key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_fit_is_refused_in_a_session_that_cuts_texts() {
    let db = with_tables(1, &[PEOPLE]).await;
    for rows in SIZES {
        run(&db.pool, "SET sql_mode = ''").await;
        let long = (0..rows).map(|number| person(&format!("longer than ten {number}"), number));
        Person::bulk_create_new(&db.pool, long).await.unwrap_err();
        run(&db.pool, "SET sql_mode = DEFAULT").await;
        assert_eq!(number(&db.pool, "SELECT COUNT(*) FROM people").await, 0, "{rows} rows");
    }
}

/// A transaction that is late for a row counts all others.
///
/// The row that another has made since the transaction's snapshot comes last in the order of the keys.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_transaction_that_is_late_for_a_row_all_others_are_counted() {
    let db = with_tables(2, &[SAMPLES]).await;
    for rows in [2, 17, 100, 1_000, 3_000] {
        run(&db.pool, "TRUNCATE samples").await;
        let last = NewSample { a: 20_000, b: 1, value: 1 };
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        assert_eq!(Sample::find(&mut tx, SampleKey { a: last.a, b: last.b }).await.unwrap(), None);
        Sample::get_or_create(&db.pool, last.clone()).await.unwrap();
        let done = Sample::bulk_create_new(&mut tx, samples(0..rows).chain([last])).await.unwrap();
        assert_eq!(done, BulkCreated { received: rows as u64 + 1, created: rows as u64 });
        tx.commit().await.unwrap();
        assert_eq!(number(&db.pool, "SELECT COUNT(*) FROM samples").await, rows + 1);
    }
}
