//! Equality of texts, for every kind of text.

use upsertable::{Error, Outcome, Upsertable, testing::statements};
use upsertable_tests::{Fixture, OnPostgres};

use crate::{MANY, copies, fixture, texts};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "labels")]
#[unique(shelf, code)]
pub(super) struct Label {
    shelf: i64,
    code: String,
    note: String,
}

fn label(code: &str, note: &str) -> Label {
    Label { shelf: 1, code: code.into(), note: note.into() }
}

pub(super) fn label_on(shelf: i64, code: &str) -> Label {
    Label { shelf, code: code.into(), note: String::new() }
}

fn key(code: &str) -> LabelKey {
    LabelKey { shelf: 1, code: code.into() }
}

/// A column, texts that are equal in it, and one as read.
///
/// The one is the first of them, read back.
pub(super) const KINDS: [(&str, [&str; 3], &str); 6] = [
    ("CITEXT", ["Case", "case", "CASE"], "Case"),
    ("CHAR(8)", ["pad", "pad ", "pad   "], "pad     "),
    ("VARCHAR(3)", ["abc", "abc ", "abc   "], "abc"),
    ("folded", ["Case", "case", "CASE"], "Case"),
    ("TEXT COLLATE caseless", ["Case", "case", "CASE"], "Case"),
    ("VARCHAR(9) COLLATE caseless", ["Case", "case", "CASE"], "Case"),
];

pub(super) async fn table_of(column: &str) -> Fixture<OnPostgres> {
    let create = format!(
        "CREATE TABLE labels (shelf BIGINT NOT NULL, code {column} NOT NULL, note TEXT NOT NULL, UNIQUE (shelf, code))"
    );
    let collation = "CREATE COLLATION caseless (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false)";
    fixture(2, &["CREATE DOMAIN folded AS CITEXT CHECK (VALUE <> '')", collation, &create]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_the_column_decides_what_is_equal_in_every_call() {
    for (column, [first, second, third], read) in KINDS {
        // `varchar(n)` cuts the stored text, not the one that is asked for.
        let asks_alike = column != "VARCHAR(3)";
        let db = table_of(column).await;
        let made = Label::get_or_create(&db.pool, label(first, "1")).await.unwrap();
        assert!(made.created && made.row.code == read, "{column}: {made:?}");
        if asks_alike {
            for code in [second, third] {
                let outcome = Label::get_or_create(&db.pool, label(code, "2")).await.unwrap();
                assert_eq!(outcome, Outcome { row: made.row.clone(), created: false }, "{column}");
                assert_eq!(Label::find(&db.pool, key(code)).await.unwrap().as_ref(), Some(&made.row), "{column}");
                let updated = Label::upsert(&db.pool, label(code, "3")).await.unwrap();
                assert_eq!((updated.row.note.as_str(), updated.created), ("3", false), "{column}");
                Label::upsert(&db.pool, label(first, "1")).await.unwrap();
            }
            let found = Label::find_all(&db.pool, [third, "none", second, first].map(key)).await.unwrap();
            let found: Vec<bool> = found.iter().map(Option::is_some).collect();
            assert_eq!(found, [true, false, true, true], "{column}");
        }

        let batch = || [label(second, "4"), label(third, "5"), label("new", "6"), label("new", "7")];
        let all = Label::bulk_get_or_create(&db.pool, batch()).await.unwrap();
        let all: Vec<(&str, bool)> = all.iter().map(|row| (row.row.note.as_str(), row.created)).collect();
        assert_eq!(all, [("1", false), ("1", false), ("6", true), ("6", false)], "{column}");
        assert_eq!(Label::bulk_create_new(&db.pool, batch()).await.unwrap().created, 0, "{column}");
        let done = Label::bulk_upsert(&db.pool, batch()).await.unwrap();
        assert_eq!((done.created, done.updated), (0, 2), "{column}");
        assert_eq!(texts(&db.pool, "SELECT note FROM labels ORDER BY 1").await, ["5", "7"], "{column}");

        // Into an empty table, where the staged rows are compared with each other only: the first wins, or the last.
        db.run("DELETE FROM labels").await;
        assert_eq!(Label::bulk_create_new(&db.pool, batch()).await.unwrap().created, 2, "{column}");
        assert_eq!(texts(&db.pool, "SELECT note FROM labels ORDER BY 1").await, ["4", "6"], "{column}");
        db.run("DELETE FROM labels").await;
        let done = Label::bulk_upsert(&db.pool, batch()).await.unwrap();
        assert_eq!((done.created, done.updated), (2, 0), "{column}");
        assert_eq!(texts(&db.pool, "SELECT note FROM labels ORDER BY 1").await, ["5", "7"], "{column}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_the_column_decides_among_many_rows_too() {
    for (column, _, _) in KINDS.into_iter().filter(|(column, ..)| *column != "VARCHAR(3)") {
        let db = table_of(column).await;
        let rows = || {
            (0..MANY).map(|number| {
                let code = format!("{}{}", if number % 2 == 0 { "w" } else { "W" }, number / 2);
                label(&code, &number.to_string())
            })
        };
        let caseless = !column.starts_with("CHAR");
        let expected = if caseless { MANY / 2 } else { MANY };
        let (done, seen) = statements(Label::bulk_create_new(&db.pool, rows())).await;
        assert_eq!((done.unwrap().created, copies(&seen)), (expected as u64, 1), "{column}");
        if caseless {
            assert_eq!(
                db.number("SELECT count(*) FROM labels WHERE note::int % 2 = 0").await,
                expected,
                "the first wins"
            );
        }
        assert_eq!(Label::bulk_create_new(&db.pool, rows()).await.unwrap().created, 0, "{column}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_a_text_too_long_for_its_column_is_refused_and_not_found() {
    let db = table_of("VARCHAR(3)").await;
    Label::get_or_create(&db.pool, label("abc", "1")).await.unwrap();
    assert_eq!(Label::find(&db.pool, key("abcdef")).await.unwrap(), None);
    let refused = [
        Label::get_or_create(&db.pool, label("abcdef", "2")).await.map(drop),
        Label::upsert(&db.pool, label("abcdef", "2")).await.map(drop),
        Label::bulk_create_new(&db.pool, [label("abcdef", "2")]).await.map(drop),
        Label::bulk_get_or_create(&db.pool, [label("abcdef", "2")]).await.map(drop),
        Label::bulk_upsert(&db.pool, [label("abcdef", "2")]).await.map(drop),
    ];
    for error in refused {
        let Err(Error::Sql(error)) = error else { panic!("a text that was cut") };
        assert_eq!(
            error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref(),
            Some("22001"),
            "{error}"
        );
    }
    db.assert_pool_clean("after texts that were too long").await;
}

/// A text is never taken for a value of another type.
///
/// Its field is a text, and its column is not: the bytes of the text must not be taken for a number.
#[tokio::test(flavor = "multi_thread")]
async fn r4_a_text_is_never_taken_for_a_value_of_another_type() {
    let db = table_of("BIGINT").await;
    db.run("INSERT INTO labels VALUES (1, x'3132333435363738'::bigint, 'the bytes of 12345678')").await;
    let refused = [
        Label::find(&db.pool, key("12345678")).await.map(drop),
        Label::get_or_create(&db.pool, label("87654321", "x")).await.map(drop),
        Label::upsert(&db.pool, label("87654321", "x")).await.map(drop),
        Label::bulk_create_new(&db.pool, [label("87654321", "x")]).await.map(drop),
        Label::bulk_upsert(&db.pool, [label("87654321", "x")]).await.map(drop),
    ];
    for (call, refused) in refused.into_iter().enumerate() {
        assert!(matches!(refused, Err(Error::Sql(_))), "call {call}: {refused:?}");
    }
    assert_eq!(db.count("labels").await, 1);
    assert!(matches!(Label::verify(&db.pool).await, Err(Error::Schema { .. })));
}
