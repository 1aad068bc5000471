//! Names, schemas, kinds of tables and indexes.

use upsertable::{Outcome, Upsertable};
use upsertable_tests::{OnSqlite, TestDb as _};

use crate::{in_memory, run};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "the \"order\" of [things].all")]
#[unique(group, select)]
struct Order {
    #[upsertable(generated)]
    #[sqlx(rename = "from \"here\"")]
    id: i64,
    group: i64,
    #[sqlx(rename = "select.all `of` it?")]
    select: String,
    r#where: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_words_quotes_and_dots_are_names_like_others() {
    let pool = in_memory(&[
        r#"CREATE TABLE "the ""order"" of [things].all" ("from ""here""" INTEGER PRIMARY KEY, "group" INTEGER NOT NULL,
           "select.all `of` it?" TEXT NOT NULL, "where" TEXT)"#,
    ])
    .await;
    let new = |select: &str| NewOrder { group: 1, select: select.into(), r#where: None };
    let error = Order::bulk_create_new(&pool, [new("a")]).await.unwrap_err();
    let upsertable::Error::MissingUniqueIndex { create, .. } = error else { panic!("{error}") };
    run(&pool, &create).await;
    assert!(Order::get_or_create(&pool, new("a")).await.unwrap().created);
    assert!(!Order::get_or_create(&pool, new("a")).await.unwrap().created);
    assert_eq!(Order::bulk_create_new(&pool, [new("a"), new("b"), new("b")]).await.unwrap().created, 1);
    let found = Order::find(&pool, OrderKey { group: 1, select: "b".into() }).await.unwrap().unwrap();
    assert_eq!((found.select.as_str(), found.r#where), ("b", None));
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "songs", schema = "music")]
#[unique(title)]
struct Song {
    title: String,
    score: i64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_an_attached_schema() {
    let song = |title: &str, score| Song { title: title.into(), score };
    let pool = in_memory(&[
        "ATTACH ':memory:' AS music",
        // A table of the same name stands in the way of whoever forgets the schema.
        "CREATE TABLE songs (title TEXT, score TEXT)",
        "CREATE TABLE music.songs (title TEXT NOT NULL UNIQUE, score INTEGER NOT NULL)",
    ])
    .await;
    assert!(Song::get_or_create(&pool, song("a", 1)).await.unwrap().created);
    assert_eq!(Song::bulk_create_new(&pool, [song("a", 2), song("b", 2)]).await.unwrap().created, 1);
    let counts: (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM music.songs), (SELECT count(*) FROM main.songs)")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(counts, (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn b8_the_index_named_for_an_attached_schema_works() {
    let pool = in_memory(&[
        "ATTACH ':memory:' AS music",
        "CREATE TABLE music.songs (title TEXT NOT NULL, score INTEGER NOT NULL)",
    ])
    .await;
    let song = || Song { title: "a".into(), score: 1 };
    let error = Song::bulk_create_new(&pool, [song()]).await.unwrap_err();
    let upsertable::Error::MissingUniqueIndex { create, .. } = error else { panic!("{error}") };
    run(&pool, &create).await;
    assert_eq!(Song::bulk_create_new(&pool, [song()]).await.unwrap().created, 1);
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "places")]
#[unique(country, code)]
struct Place {
    country: String,
    code: i64,
    name: String,
    #[upsertable(generated)]
    label: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_table() {
    let place = |country: &str, code| NewPlace { country: country.into(), code, name: "Foo".into() };
    let columns = "country TEXT NOT NULL, code INTEGER NOT NULL, name TEXT NOT NULL, label TEXT NOT NULL GENERATED ALWAYS AS (country || code)";
    for (kind, table) in [
        (
            "a STRICT table with a stored column",
            format!("CREATE TABLE places ({columns} STORED, UNIQUE (country, code)) STRICT"),
        ),
        (
            "a key that is the primary key",
            format!("CREATE TABLE places ({columns} VIRTUAL, PRIMARY KEY (country, code))"),
        ),
        ("a key in the other order", format!("CREATE TABLE places ({columns} VIRTUAL, UNIQUE (code, country))")),
        ("no row id", format!("CREATE TABLE places ({columns} VIRTUAL, PRIMARY KEY (country, code)) WITHOUT ROWID")),
        ("names in upper case", format!("CREATE TABLE PLACES ({columns} VIRTUAL, UNIQUE (COUNTRY, CODE))")),
    ] {
        let pool = in_memory(&[&table]).await;
        let made = Place::get_or_create(&pool, place("de", 1)).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!((made.created, made.row.label.as_str()), (true, "de1"), "{kind}");
        assert!(!Place::get_or_create(&pool, place("de", 1)).await.unwrap().created, "{kind}");
        let rows = [place("de", 2), place("de", 1), place("fr", 1), place("fr", 1)];
        let done = Place::bulk_create_new(&pool, rows).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(done.created, 2, "{kind}");
    }
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "numbered")]
#[unique(number)]
struct Numbered {
    number: i64,
    name: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_id_can_be_the_key() {
    let pool = in_memory(&["CREATE TABLE numbered (number INTEGER PRIMARY KEY, name TEXT NOT NULL)"]).await;
    let new = |number| Numbered { number, name: number.to_string() };
    assert!(Numbered::get_or_create(&pool, new(7)).await.unwrap().created);
    assert!(!Numbered::get_or_create(&pool, new(7)).await.unwrap().created);
    let done = Numbered::bulk_create_new(&pool, (0..3_000).map(|number| new(number % 1_500))).await.unwrap();
    assert_eq!((done.received, done.created), (3_000, 1_499));
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "people")]
#[unique(email)]
struct Person {
    email: String,
    age: i64,
}

fn person(email: &str, age: i64) -> Person {
    Person { email: email.into(), age }
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_an_index_that_compares_otherwise_than_its_column_decides() {
    let pool = in_memory(&[
        "CREATE TABLE people (email TEXT NOT NULL, age INTEGER NOT NULL)",
        "CREATE UNIQUE INDEX people_email ON people (email COLLATE NOCASE)",
    ])
    .await;
    assert!(Person::get_or_create(&pool, person("Ann@x", 1)).await.unwrap().created);
    let found = Person::get_or_create(&pool, person("ann@X", 2)).await.unwrap();
    assert_eq!(found, Outcome { row: person("Ann@x", 1), created: false });
    let done =
        Person::bulk_create_new(&pool, [person("ANN@x", 3), person("bob@x", 3), person("Bob@x", 4)]).await.unwrap();
    assert_eq!(done.created, 1);
    let kept: Vec<Person> = sqlx::query_as("SELECT * FROM people ORDER BY age").fetch_all(&pool).await.unwrap();
    assert_eq!(kept, [person("Ann@x", 1), person("bob@x", 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn b6_an_index_that_compares_otherwise_than_its_column_is_used() {
    let pool = in_memory(&[
        "CREATE TABLE people (email TEXT NOT NULL, age INTEGER NOT NULL)",
        "CREATE UNIQUE INDEX people_email ON people (email COLLATE NOCASE)",
    ])
    .await;
    let (done, seen) = upsertable::testing::statements(Person::bulk_create_new(&pool, [person("a", 1)])).await;
    assert_eq!(done.unwrap().created, 1);
    let mut conn = pool.acquire().await.unwrap();
    let plan = OnSqlite::merge_plan(&mut conn, &seen, "people").await;
    assert!(!plan.scans_target, "{}", plan.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_triggers_write_are_not_counted() {
    let pool = in_memory(&[
        "CREATE TABLE people (email TEXT NOT NULL UNIQUE, age INTEGER NOT NULL)",
        "CREATE TABLE log (line TEXT)",
        "CREATE TRIGGER logged AFTER INSERT ON people BEGIN INSERT INTO log VALUES ('a'), ('b'); END",
    ])
    .await;
    Person::get_or_create(&pool, person("a", 1)).await.unwrap();
    let done = Person::bulk_create_new(&pool, ["a", "b", "c"].map(|email| person(email, 1))).await.unwrap();
    assert_eq!((done.received, done.created), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_drops_the_row_is_neither_created_nor_found() {
    let pool = in_memory(&[
        "CREATE TABLE people (email TEXT NOT NULL UNIQUE, age INTEGER NOT NULL)",
        "CREATE TRIGGER dropped BEFORE INSERT ON people WHEN NEW.age < 0 BEGIN SELECT RAISE(IGNORE); END",
    ])
    .await;
    let error = Person::get_or_create(&pool, person("a", -1)).await.unwrap_err();
    assert!(matches!(error, upsertable::Error::KeyMismatch { .. }), "{error}");
    let done = Person::bulk_create_new(&pool, [person("a", -1), person("b", 1)]).await.unwrap();
    assert_eq!((done.received, done.created), (2, 1));
}
