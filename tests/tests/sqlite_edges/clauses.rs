//! Tables that say themselves what a conflict does.
//!
//! No statement of a call may leave it to them.

use sqlx::SqlitePool;
use upsertable::{Error, Upsertable};

use crate::{assert_clean, in_memory, number, run};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "seats")]
#[unique(code)]
struct Seat {
    #[upsertable(generated)]
    id: i64,
    code: String,
    place: i64,
    note: Option<String>,
}

fn seat(code: &str, place: i64) -> NewSeat {
    NewSeat { code: code.into(), place, note: Some("x".into()) }
}

const CLAUSES: [&str; 4] = ["IGNORE", "REPLACE", "FAIL", "ROLLBACK"];

/// A table with a conflict clause on each constraint.
///
/// One clause on the key, one on another index, one on NOT NULL and one on the primary key.
fn table(clause: &str) -> String {
    format!(
        "CREATE TABLE seats (id INTEGER PRIMARY KEY ON CONFLICT {clause}, code TEXT NOT NULL UNIQUE ON CONFLICT {clause}, \
         place INTEGER NOT NULL, note TEXT NOT NULL ON CONFLICT {clause} DEFAULT 'filled', UNIQUE (place) ON CONFLICT {clause})"
    )
}

/// A trigger whose statement says nothing of conflicts.
const TRIGGER: &str = "CREATE TRIGGER noted AFTER INSERT ON seats BEGIN INSERT INTO log VALUES (NEW.code); END";

async fn seats(clause: &str, more: &[&str]) -> SqlitePool {
    let pool = in_memory(&[&table(clause), "CREATE TABLE log (code TEXT)"]).await;
    run(&pool, "INSERT INTO seats (code, place, note) VALUES ('a', 1, 'kept'), ('b', 2, 'kept')").await;
    for sql in more {
        run(&pool, sql).await;
    }
    pool
}

/// Checks that nothing is lost, changed or made.
async fn assert_kept(pool: &SqlitePool, when: &str) {
    let kept = "SELECT count(*) FROM seats WHERE (code, place, note) IN (VALUES ('a', 1, 'kept'), ('b', 2, 'kept'))";
    assert_eq!(number(pool, kept).await, 2, "{when}");
    assert_eq!(number(pool, "SELECT count(*) FROM seats").await, 2, "{when}");
}

fn rows(many: bool) -> impl Iterator<Item = NewSeat> {
    (0..if many { 1_200 } else { 3 }).map(|number| seat(&format!("n{number}"), 100 + number))
}

#[tokio::test]
async fn r4_no_clause_of_a_table_decides_what_another_unique_index_refuses() {
    for clause in CLAUSES {
        for more in [&[][..], &[TRIGGER]] {
            for many in [false, true] {
                let pool = seats(clause, more).await;
                let when = format!("{clause}, {more:?}, {many}");
                let taken = || rows(many).chain([seat("c", 2)]);
                let both = || rows(many).chain([seat("a", 2)]);
                for (call, outcome) in [
                    ("get_or_create", Seat::get_or_create(&pool, seat("c", 2)).await.map(drop)),
                    ("upsert, new", Seat::upsert(&pool, seat("c", 2)).await.map(drop)),
                    ("upsert", Seat::upsert(&pool, seat("a", 2)).await.map(drop)),
                    ("bulk_create_new, one", Seat::bulk_create_new(&pool, [seat("c", 2)]).await.map(drop)),
                    ("bulk_create_new", Seat::bulk_create_new(&pool, taken()).await.map(drop)),
                    ("bulk_get_or_create", Seat::bulk_get_or_create(&pool, taken()).await.map(drop)),
                    ("bulk_upsert, new", Seat::bulk_upsert(&pool, taken()).await.map(drop)),
                    ("bulk_upsert", Seat::bulk_upsert(&pool, both()).await.map(drop)),
                ] {
                    let when = format!("{when}: {call}");
                    let error = outcome.expect_err(&when);
                    assert!(matches!(error, Error::OtherUnique { .. }), "{when}: {error}");
                    assert_kept(&pool, &when).await;
                }
                assert_clean(&pool, &when).await;
            }
        }
    }
}

#[tokio::test]
async fn r4_no_clause_of_a_table_decides_what_a_null_does() {
    for clause in CLAUSES {
        let pool = seats(clause, &[]).await;
        let null = |code: &str| NewSeat { note: None, ..seat(code, 9) };
        for many in [false, true] {
            let new = || rows(many).chain([null("c")]);
            for (call, outcome) in [
                ("get_or_create", Seat::get_or_create(&pool, null("c")).await.map(drop)),
                ("upsert, new", Seat::upsert(&pool, null("c")).await.map(drop)),
                ("upsert", Seat::upsert(&pool, null("a")).await.map(drop)),
                ("bulk_create_new", Seat::bulk_create_new(&pool, new()).await.map(drop)),
                ("bulk_get_or_create", Seat::bulk_get_or_create(&pool, new()).await.map(drop)),
                ("bulk_upsert", Seat::bulk_upsert(&pool, rows(many).chain([null("a")])).await.map(drop)),
            ] {
                let when = format!("{clause}, {many}: {call}");
                let error = outcome.expect_err(&when);
                assert!(error.to_string().contains("NOT NULL constraint failed"), "{when}: {error}");
                assert_kept(&pool, &when).await;
            }
        }
    }
}

#[tokio::test]
async fn a_transaction_goes_on_whatever_clause_the_table_has() {
    for clause in CLAUSES {
        let pool = seats(clause, &[]).await;
        let mut tx = upsertable::begin(&pool).await.unwrap();
        Seat::get_or_create(&mut tx, seat("before", 7)).await.unwrap();
        for call in 0..5 {
            let outcome = match call {
                0 => Seat::get_or_create(&mut tx, seat("c", 2)).await.map(drop),
                1 => Seat::upsert(&mut tx, seat("a", 2)).await.map(drop),
                2 => Seat::bulk_create_new(&mut tx, [seat("c", 2)]).await.map(drop),
                3 => Seat::bulk_get_or_create(&mut tx, [seat("d", 8), seat("c", 2)]).await.map(drop),
                _ => Seat::bulk_upsert(&mut tx, [seat("a", 2)]).await.map(drop),
            };
            assert!(matches!(outcome, Err(Error::OtherUnique { .. })), "{clause}, {call}");
        }
        tx.commit().await.unwrap();
        assert_eq!(number(&pool, "SELECT count(*) FROM seats").await, 3, "{clause}");
    }
}

#[tokio::test]
async fn every_call_works_where_a_table_has_clauses() {
    for clause in CLAUSES {
        for more in [&[][..], &[TRIGGER]] {
            let pool = seats(clause, more).await;
            assert!(!Seat::get_or_create(&pool, seat("a", 9)).await.unwrap().created, "{clause}");
            assert_kept(&pool, clause).await;
            assert!(Seat::get_or_create(&pool, seat("c", 3)).await.unwrap().created, "{clause}");
            let done = Seat::upsert(&pool, seat("c", 4)).await.unwrap();
            assert_eq!((done.row.place, done.created), (4, false), "{clause}");
            let done = Seat::bulk_create_new(&pool, [seat("a", 9), seat("d", 5), seat("d", 6)]).await.unwrap();
            assert_eq!(done.created, 1, "{clause}");
            let all = Seat::bulk_get_or_create(&pool, [seat("d", 9), seat("e", 6)]).await.unwrap();
            assert_eq!(all.iter().map(|one| one.row.place).collect::<Vec<_>>(), [5, 6], "{clause}");
            let done = Seat::bulk_upsert(&pool, [seat("e", 7), seat("f", 8)]).await.unwrap();
            assert_eq!((done.created, done.updated), (1, 1), "{clause}");
            assert_eq!(number(&pool, "SELECT sum(place) FROM seats").await, 1 + 2 + 4 + 5 + 7 + 8, "{clause}");
        }
    }
}

/// A statement's conflict clause counts for its triggers too.
///
/// <https://www.sqlite.org/lang_createtrigger.html>
#[tokio::test]
async fn what_a_trigger_says_of_its_own_conflicts_counts() {
    let table =
        "CREATE TABLE seats (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, place INTEGER NOT NULL, note TEXT)";
    for (says, counted) in [("IGNORE", 1), ("REPLACE", 1)] {
        for event in ["BEFORE INSERT", "AFTER INSERT", "BEFORE UPDATE", "AFTER UPDATE"] {
            let trigger = format!(
                "CREATE TRIGGER tells {event} ON seats BEGIN INSERT OR {says} INTO told VALUES ('seats', NEW.place); END"
            );
            let pool = in_memory(&[table, "CREATE TABLE told (what TEXT PRIMARY KEY, place INTEGER)", &trigger]).await;
            let when = format!("{says} {event}");
            for round in 0..3 {
                let one = |name: &str| seat(&format!("{name}{round}"), round);
                assert!(Seat::get_or_create(&pool, one("g")).await.expect(&when).created, "{when}");
                for created in [true, false] {
                    assert_eq!(Seat::upsert(&pool, one("u")).await.expect(&when).created, created, "{when}");
                }
                assert_eq!(Seat::bulk_create_new(&pool, [one("c")]).await.expect(&when).created, 1, "{when}");
                let rows = || [one("b"), one("d"), one("e")];
                assert_eq!(Seat::bulk_create_new(&pool, rows()).await.expect(&when).created, 3, "{when}");
                let more = || (0..1_500).map(|n| one(&format!("m{n}-")));
                assert_eq!(Seat::bulk_create_new(&pool, more()).await.expect(&when).created, 1_500, "{when}");
                assert_eq!(
                    Seat::bulk_get_or_create(&pool, [one("h"), one("i")]).await.expect(&when).len(),
                    2,
                    "{when}"
                );
                for created in [2, 0] {
                    let done = Seat::bulk_upsert(&pool, [one("j"), one("k")]).await.expect(&when);
                    assert_eq!((done.created, done.updated), (created, 2 - created), "{when}");
                }
                let mut tx = upsertable::begin(&pool).await.unwrap();
                for created in [true, false] {
                    assert_eq!(Seat::upsert(&mut tx, one("t")).await.expect(&when).created, created, "{when}");
                }
                tx.commit().await.unwrap();
            }
            assert_eq!(number(&pool, "SELECT count(*) FROM told").await, counted, "{when}");
            assert_clean(&pool, &when).await;
        }
    }
}
