//! Kinds of tables and indexes, attached databases, types of columns, triggers.

use std::sync::{Arc, Mutex};

use sqlx::SqlitePool;
use upsertable::{BulkUpserted, Error, Outcome, Upsertable};

use crate::{PEOPLE, Person, assert_clean, by_email, in_memory, number, person, run};

/// A place, whose label the database makes of its other columns.
macro_rules! place {
    ($model:ident, $new:ident, $key:ident, $($table:tt)*) => {
        #[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
        #[upsertable($($table)*)]
        #[unique(country, code)]
        struct $model {
            country: String,
            code: i64,
            name: String,
            #[upsertable(create_only)]
            founded: i64,
            #[upsertable(generated)]
            label: String,
        }

        impl $model {
            /// Tries every call on an empty table.
            async fn try_every_call(pool: &SqlitePool, kind: &str) {
                let new = |code: i64, name: &str| $new { country: "de".into(), code, name: name.into(), founded: code };
                let row = |code: i64, name: &str| $model {
                    country: "de".into(), code, name: name.into(), founded: code, label: format!("de{code}"),
                };
                let key = |code: i64| $key { country: "de".into(), code };
                let outcome = |row, created| Outcome { row, created };

                assert_eq!($model::get_or_create(pool, new(1, "a")).await.expect(kind), outcome(row(1, "a"), true), "{kind}");
                assert_eq!($model::get_or_create(pool, new(1, "b")).await.expect(kind), outcome(row(1, "a"), false), "{kind}");
                assert_eq!($model::upsert(pool, new(2, "a")).await.expect(kind), outcome(row(2, "a"), true), "{kind}");
                let changed = $new { founded: 99, ..new(2, "b") };
                assert_eq!($model::upsert(pool, changed).await.expect(kind), outcome(row(2, "b"), false), "{kind}");
                let done = $model::bulk_create_new(pool, [new(3, "a"), new(3, "b"), new(1, "c")]).await.expect(kind);
                assert_eq!((done.received, done.created), (3, 1), "{kind}");
                let rows = $model::bulk_get_or_create(pool, [new(4, "a"), new(3, "x"), new(4, "b")]).await.expect(kind);
                let expected = [outcome(row(4, "a"), true), outcome(row(3, "a"), false), outcome(row(4, "a"), false)];
                assert_eq!(rows, expected, "{kind}");
                let rows = [new(5, "a"), new(4, "z"), $new { founded: 99, ..new(5, "z") }];
                let done = $model::bulk_upsert(pool, rows).await.expect(kind);
                assert_eq!(done, BulkUpserted { received: 3, created: 1, updated: 1 }, "{kind}");
                let found = $model::find_all(pool, (1..7).map(key)).await.expect(kind);
                let expected = [row(1, "a"), row(2, "b"), row(3, "a"), row(4, "z"), row(5, "z")];
                assert_eq!(found, expected.into_iter().map(Some).chain([None]).collect::<Vec<_>>(), "{kind}");
                assert_eq!($model::find(pool, key(5)).await.expect(kind), Some(row(5, "z")), "{kind}");
                assert_clean(pool, kind).await;
            }
        }
    };
}

place!(Place, NewPlace, PlaceKey, table = "places");
place!(FarPlace, NewFarPlace, FarPlaceKey, table = "places", schema = "the atlas");

const COLUMNS: &str = "country TEXT NOT NULL, code INTEGER NOT NULL, name TEXT NOT NULL, founded INTEGER NOT NULL, \
     label TEXT NOT NULL GENERATED ALWAYS AS (country || code)";

#[tokio::test]
async fn every_call_on_every_kind_of_table() {
    for (kind, table) in [
        ("a plain table", format!("CREATE TABLE places ({COLUMNS} VIRTUAL, UNIQUE (country, code))")),
        (
            "a STRICT table with a stored column",
            format!("CREATE TABLE places ({COLUMNS} STORED, UNIQUE (country, code)) STRICT"),
        ),
        (
            "a key that is the primary key",
            format!("CREATE TABLE places ({COLUMNS} VIRTUAL, PRIMARY KEY (country, code))"),
        ),
        ("a key in the other order", format!("CREATE TABLE places ({COLUMNS} VIRTUAL, UNIQUE (code, country))")),
        ("no row id", format!("CREATE TABLE places ({COLUMNS} VIRTUAL, PRIMARY KEY (country, code)) WITHOUT ROWID")),
        (
            "no row id, STRICT",
            format!("CREATE TABLE places ({COLUMNS} STORED, PRIMARY KEY (code, country)) STRICT, WITHOUT ROWID"),
        ),
        ("names in upper case", format!("CREATE TABLE PLACES ({COLUMNS} VIRTUAL, UNIQUE (COUNTRY, CODE))")),
        ("a temporary table", format!("CREATE TEMPORARY TABLE places ({COLUMNS} VIRTUAL, UNIQUE (country, code))")),
    ] {
        let pool = in_memory(&[&table]).await;
        if kind == "a temporary table" {
            // It is the caller's, and stays.
            assert!(
                Place::get_or_create(&pool, NewPlace { country: "x".into(), code: 1, name: "x".into(), founded: 1 })
                    .await
                    .unwrap()
                    .created
            );
            let rows = (0..10).map(|code| NewPlace { country: "x".into(), code, name: "x".into(), founded: 1 });
            assert_eq!(Place::bulk_create_new(&pool, rows).await.unwrap().created, 9);
            continue;
        }
        Place::try_every_call(&pool, kind).await;
    }
}

#[tokio::test]
async fn every_call_on_a_table_of_an_attached_database() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("atlas.db").display().to_string();
    let pool = in_memory(&[
        &format!("ATTACH '{file}' AS \"the atlas\""),
        // A table of the same name, without the key, stands in the way of whoever forgets the schema.
        "CREATE TABLE places (country TEXT, code INTEGER, name TEXT, founded INTEGER, label TEXT)",
        &format!("CREATE TABLE \"the atlas\".places ({COLUMNS} VIRTUAL, UNIQUE (country, code))"),
    ])
    .await;
    FarPlace::try_every_call(&pool, "an attached database").await;
    assert_eq!(number(&pool, "SELECT count(*) FROM main.places").await, 0);

    // Missing there and present here, the index is missing.
    run(&pool, "CREATE UNIQUE INDEX here ON places (country, code)").await;
    run(&pool, &format!("DROP TABLE \"the atlas\".places; CREATE TABLE \"the atlas\".places ({COLUMNS} VIRTUAL)"))
        .await;
    let new = || NewFarPlace { country: "de".into(), code: 1, name: "a".into(), founded: 1 };
    for error in [
        FarPlace::get_or_create(&pool, new()).await.unwrap_err(),
        FarPlace::upsert(&pool, new()).await.unwrap_err(),
        FarPlace::bulk_create_new(&pool, [new()]).await.unwrap_err(),
        FarPlace::bulk_get_or_create(&pool, [new()]).await.unwrap_err(),
        FarPlace::bulk_upsert(&pool, [new()]).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::MissingUniqueIndex { .. }), "{error}");
    }
    assert_eq!(number(&pool, "SELECT count(*) FROM \"the atlas\".places").await, 0);
}

/// A table whose column compares with case, unlike its index.
async fn of_two_minds() -> SqlitePool {
    in_memory(&[
        "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT NOT NULL, age INTEGER NOT NULL)",
        "CREATE UNIQUE INDEX people_email ON people (email COLLATE NOCASE)",
    ])
    .await
}

#[tokio::test]
async fn r6_an_index_that_compares_otherwise_than_its_column_decides_in_an_upsert() {
    let pool = of_two_minds().await;
    let ann = Person::upsert(&pool, person("Ann@x", 1)).await.unwrap();
    assert!(ann.created);
    let updated = Person::upsert(&pool, person("ANN@x", 2)).await.unwrap();
    assert_eq!(updated, Outcome { row: Person { age: 2, ..ann.row }, created: false });
}

#[tokio::test]
async fn r6_an_index_that_compares_otherwise_than_its_column_decides_in_the_bulk_calls() {
    let pool = of_two_minds().await;
    assert!(Person::get_or_create(&pool, person("Ann@x", 2)).await.unwrap().created);
    let rows = [person("ann@x", 3), person("bob@x", 3), person("Bob@x", 4)];
    let given = Person::bulk_get_or_create(&pool, rows.clone()).await.unwrap();
    let plainly: Vec<_> =
        given.iter().map(|outcome| (outcome.row.email.as_str(), outcome.row.age, outcome.created)).collect();
    assert_eq!(plainly, [("Ann@x", 2, false), ("bob@x", 3, true), ("bob@x", 3, false)]);
    let done = Person::bulk_upsert(&pool, rows).await.unwrap();
    assert_eq!(done, BulkUpserted { received: 3, created: 0, updated: 2 });
    assert_eq!(number(&pool, "SELECT sum(age) FROM people").await, 3 + 4);
}

#[tokio::test]
async fn r6_an_index_that_compares_otherwise_than_its_column_decides_in_get_or_create_with() {
    let pool = of_two_minds().await;
    for (email, created) in [("Ann@x", true), ("ANN@X", false)] {
        let made = Person::get_or_create_with(&pool, by_email(email), async || Ok::<_, Error>(person("", 1))).await;
        let made = made.unwrap();
        assert_eq!((made.row.email.as_str(), made.created), ("Ann@x", created));
    }
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "numbered")]
#[unique(number)]
struct Numbered {
    number: i64,
    name: String,
}

#[tokio::test]
async fn in_every_call_the_row_id_can_be_the_key() {
    let pool = in_memory(&["CREATE TABLE numbered (number INTEGER PRIMARY KEY, name TEXT NOT NULL)"]).await;
    let new = |number: i64, name: &str| Numbered { number, name: name.into() };
    assert_eq!(Numbered::upsert(&pool, new(7, "a")).await.unwrap(), Outcome { row: new(7, "a"), created: true });
    assert_eq!(Numbered::upsert(&pool, new(7, "b")).await.unwrap(), Outcome { row: new(7, "b"), created: false });
    let rows = Numbered::bulk_get_or_create(&pool, [new(-1, "a"), new(7, "c"), new(-1, "b")]).await.unwrap();
    assert_eq!(rows.iter().map(|outcome| outcome.created).collect::<Vec<_>>(), [true, false, false]);
    let done = Numbered::bulk_upsert(&pool, [new(7, "d"), new(8, "a"), new(8, "b")]).await.unwrap();
    assert_eq!(done, BulkUpserted { received: 3, created: 1, updated: 1 });
    let found = Numbered::find_all(&pool, [8, 7, 6, -1].map(|number| NumberedKey { number })).await.unwrap();
    assert_eq!(found, [Some(new(8, "b")), Some(new(7, "d")), None, Some(new(-1, "a"))]);
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "typed")]
#[unique(code)]
struct Typed {
    #[upsertable(generated)]
    id: i64,
    code: String,
    value: i64,
}

#[tokio::test]
async fn r6_a_column_s_type_decides_too_what_is_equal() {
    // '1' and '01' are one number and two texts; a type that SQLite has never heard of counts as a number.
    for (declared, equal) in
        [("TEXT", false), ("VARCHAR(10)", false), ("", false), ("BLOB", false), ("STRING", true), ("NUMERIC", true)]
    {
        let table = format!(
            "CREATE TABLE typed (id INTEGER PRIMARY KEY, code {declared} NOT NULL UNIQUE, value INTEGER NOT NULL)"
        );
        let pool = in_memory(&[&table]).await;
        let rows = || [("1", 1), ("01", 2), ("1.0", 3)].map(|(code, value)| NewTyped { code: code.into(), value });
        let one = u64::from(equal);
        assert_eq!(
            Typed::bulk_create_new(&pool, rows()).await.unwrap().created,
            if equal { 1 } else { 3 },
            "{declared}"
        );
        let done = Typed::bulk_upsert(&pool, rows()).await.unwrap();
        assert_eq!((done.created, done.updated), (0, 3 - 2 * one), "{declared}");
        run(&pool, "DELETE FROM typed").await;
        let done = Typed::bulk_upsert(&pool, rows()).await.unwrap();
        assert_eq!((done.created, done.updated), (3 - 2 * one, 0), "{declared}");
        assert_eq!(number(&pool, "SELECT max(value) FROM typed").await, 3, "the last wins: {declared}");
        assert_eq!(number(&pool, "SELECT min(value) FROM typed").await, if equal { 3 } else { 1 }, "{declared}");
    }
}

#[tokio::test]
async fn a_column_that_is_not_there_is_never_read_as_its_name() {
    // SQLite takes a name in double quotes for a text where there is no such column.
    for broken in [
        "ALTER TABLE people RENAME COLUMN age TO years",
        "ALTER TABLE people RENAME COLUMN id TO number",
        "ALTER TABLE people RENAME COLUMN email TO address",
    ] {
        let pool =
            in_memory(&["CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, age TEXT)"]).await;
        run(&pool, "INSERT INTO people (email, age) VALUES ('email', '1')").await;
        run(&pool, broken).await;
        let refused = [
            Person::find(&pool, by_email("email")).await.map(drop),
            Person::find_all(&pool, [by_email("email")]).await.map(drop),
            Person::get_or_create(&pool, person("email", 2)).await.map(drop),
            Person::upsert(&pool, person("email", 2)).await.map(drop),
            Person::upsert(&pool, person("new", 2)).await.map(drop),
            Person::bulk_get_or_create(&pool, [person("email", 2)]).await.map(drop),
        ];
        for (call, refused) in refused.into_iter().enumerate() {
            let error = refused.expect_err(broken);
            assert!(matches!(error, Error::Sql(_) | Error::MissingUniqueIndex { .. }), "{broken}: {call}: {error}");
            assert!(
                error.to_string().contains("column") || matches!(error, Error::MissingUniqueIndex { .. }),
                "{broken}: {call}: {error}"
            );
        }
        assert_eq!(number(&pool, "SELECT count(*) FROM people").await, 1, "{broken}");
        assert_clean(&pool, broken).await;
    }
}

#[tokio::test]
async fn a_row_that_a_trigger_drops_is_neither_created_nor_told() {
    let pool = in_memory(&[
        PEOPLE,
        "CREATE TRIGGER dropped BEFORE INSERT ON people WHEN NEW.age = 13 BEGIN SELECT RAISE(IGNORE); END",
    ])
    .await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut tx = upsertable::begin(&pool).await.unwrap();
    let notes = Arc::clone(&told);
    Person::after_commit(&mut tx, async move |people: Arc<[Person]>| {
        notes.lock().unwrap().extend(people.iter().map(|person| person.email.clone()));
    });
    let rows = || [person("a", 13), person("b", 1), person("c", 13)];
    let done = Person::bulk_create_new(&mut tx, rows()).await.unwrap();
    assert_eq!((done.received, done.created), (3, 1));
    let done = Person::bulk_upsert(&mut tx, rows()).await.unwrap();
    assert_eq!((done.created, done.updated), (0, 1));
    let error = Person::upsert(&mut tx, person("d", 13)).await.unwrap_err();
    assert!(matches!(error, Error::KeyMismatch { .. }), "{error}");
    // There is no row to answer with.
    let error = Person::bulk_get_or_create(&mut tx, rows()).await.unwrap_err();
    assert!(matches!(error, Error::KeyMismatch { .. }), "{error}");
    tx.commit().await.unwrap();
    assert_eq!(*told.lock().unwrap(), ["b"]);
    assert_clean(&pool, "after a trigger").await;
}

/// A model with a column that the database fills in.
///
/// With NULL where it has nothing else.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "people")]
#[unique(email)]
struct Noted {
    email: String,
    #[upsertable(generated)]
    note: Option<String>,
}

#[tokio::test]
async fn verify_takes_null_for_what_fills_a_column() {
    let pool = in_memory(&["CREATE TABLE people (email TEXT NOT NULL UNIQUE, note TEXT)"]).await;
    let verified = Noted::verify(&pool).await.unwrap();
    assert!(verified.warnings.is_empty(), "{verified:?}");
    assert_eq!(Noted::get_or_create(&pool, NewNoted { email: "a".into() }).await.unwrap().row.note, None);
    run(&pool, "DROP TABLE people; CREATE TABLE people (email TEXT NOT NULL UNIQUE, note TEXT NOT NULL)").await;
    let error = Noted::verify(&pool).await.unwrap_err();
    assert!(error.to_string().contains("nothing to fill it with"), "{error}");
}

#[tokio::test]
async fn a_view_and_a_partial_index_are_told_with_what_helps() {
    let pool =
        in_memory(&[PEOPLE, "ALTER TABLE people RENAME TO behind", "CREATE VIEW people AS SELECT * FROM behind"]).await;
    let error = Person::verify(&pool).await.unwrap_err();
    assert!(error.to_string().contains("view") && error.to_string().contains("name the table behind it"), "{error}");
    let error = Person::get_or_create(&pool, person("a", 1)).await.unwrap_err();
    assert!(error.to_string().contains("view"), "{error}");

    let pool = in_memory(&[
        "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT NOT NULL, age INTEGER NOT NULL)",
        "CREATE UNIQUE INDEX some ON people (email) WHERE age > 0",
    ])
    .await;
    let error = Person::verify(&pool).await.unwrap_err();
    assert!(error.to_string().contains("make one without WHERE"), "{error}");
}
