//! What only SQLite has, tried in every call: attached databases, kinds of tables and indexes, deferred transactions, databases that are full
//! or cannot be written, and the plans of all statements.

// Counts and numbers of the tests are small.
#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection as _, Row as _, Sqlite, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tempfile::TempDir;
use upsertable::{
    BulkUpserted, Ending, Error, Handle, Outcome, Transaction, TransactionOptions, Upsertable, testing::statements,
};
use upsertable_tests::{OnSqlite, TestDb as _};

/// A database in memory, with one connection.
async fn in_memory(tables: &[&str]) -> SqlitePool {
    let options = SqlitePoolOptions::new().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = options.connect_with(SqliteConnectOptions::new().in_memory(true)).await.unwrap();
    for table in tables {
        run(&pool, table).await;
    }
    pool
}

/// A database in a file.
async fn in_file(home: &TempDir, connections: u32, busy_timeout: Duration) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(home.path().join("edges.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(busy_timeout);
    // The first connection alone turns on the write-ahead log.
    drop(SqliteConnection::connect_with(&options).await.unwrap());
    let pool = SqlitePoolOptions::new().max_connections(connections).idle_timeout(None).max_lifetime(None);
    pool.connect_with(options).await.unwrap()
}

async fn run(pool: &SqlitePool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn number(pool: &SqlitePool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(pool)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn assert_clean(pool: &SqlitePool, when: &str) {
    let mut conn = pool.acquire().await.unwrap();
    assert!(!OnSqlite::in_transaction(&mut conn).await, "{when}: a transaction is open");
    assert_eq!(OnSqlite::temporary_tables(&mut conn).await, Vec::<String>::new(), "{when}: a temporary table is left");
}

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

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "people")]
#[unique(email)]
struct Person {
    #[upsertable(generated)]
    id: i64,
    email: String,
    age: i64,
}

fn person(email: &str, age: i64) -> NewPerson {
    NewPerson { email: email.into(), age }
}

fn by_email(email: &str) -> PersonKey {
    PersonKey { email: email.into() }
}

const PEOPLE: &str = "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE, age INTEGER NOT NULL CHECK (age >= 0))";

/// A column that compares with case, under an index that does not.
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
    // As a number '1' and '01' are one, and as a text two; a type that SQLite has never heard of counts as a number.
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
    assert!(matches!(error, Error::Vanished { .. }), "{error}");
    // There is no row to answer with.
    let error = Person::bulk_get_or_create(&mut tx, rows()).await.unwrap_err();
    assert!(matches!(error, Error::Vanished { .. }), "{error}");
    tx.commit().await.unwrap();
    assert_eq!(*told.lock().unwrap(), ["b"]);
    assert_clean(&pool, "after a trigger").await;
}

/// The calls that write, and those that only read.
const WRITES: [&str; 5] = ["get_or_create", "upsert", "bulk_create_new", "bulk_get_or_create", "bulk_upsert"];
const READS: [&str; 2] = ["find", "find_all"];

async fn call<'h>(name: &str, db: impl Handle<'h, Sqlite>) -> Result<(), Error> {
    let rows = || [person("new", 2), person("known", 2)];
    match name {
        "find" => Person::find(db, by_email("known")).await.map(drop),
        "find_all" => Person::find_all(db, [by_email("known"), by_email("new")]).await.map(drop),
        "get_or_create" => Person::get_or_create(db, person("new", 2)).await.map(drop),
        "upsert" => Person::upsert(db, person("known", 2)).await.map(drop),
        "bulk_create_new" => Person::bulk_create_new(db, rows()).await.map(drop),
        "bulk_get_or_create" => Person::bulk_get_or_create(db, rows()).await.map(drop),
        _ => Person::bulk_upsert(db, rows()).await.map(drop),
    }
}

/// A limit that only what hangs exceeds.
async fn in_time<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_mins(1), work).await.expect("it hangs")
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_a_deferred_transaction_that_has_read_gets_a_retryable_error_when_another_has_written() {
    for other_writes in [false, true] {
        for name in READS.into_iter().chain(WRITES) {
            let home = tempfile::tempdir().unwrap();
            let pool = in_file(&home, 2, Duration::from_mins(5)).await;
            run(&pool, PEOPLE).await;
            run(&pool, "INSERT INTO people (email, age) VALUES ('known', 1)").await;
            let mut theirs = pool.begin().await.unwrap();
            let read: i64 = sqlx::query_scalar("SELECT count(*) FROM people").fetch_one(&mut *theirs).await.unwrap();
            assert_eq!(read, 1);
            if other_writes {
                run(&pool, "INSERT INTO people (email, age) VALUES ('other', 1)").await;
            }
            let outcome = in_time(call(name, &mut *theirs)).await;
            if other_writes && WRITES.contains(&name) {
                let error = outcome.expect_err(name);
                assert!(error.is_retryable() && !error.is_unique_violation(), "{name}: {error}");
            } else {
                outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            // The transaction is still one, and reads on.
            let read: i64 = sqlx::query_scalar("SELECT count(*) FROM people WHERE email = 'known'")
                .fetch_one(&mut *theirs)
                .await
                .unwrap();
            assert_eq!(read, 1, "{name}");
            assert_eq!(OnSqlite::temporary_tables(&mut theirs).await, Vec::<String>::new(), "{name}");
            theirs.rollback().await.unwrap();
            assert_eq!(number(&pool, "SELECT count(*) FROM people").await, 1 + i64::from(other_writes), "{name}");
            // Begun anew it works.
            let mut theirs = pool.begin().await.unwrap();
            in_time(call(name, &mut *theirs)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            theirs.commit().await.unwrap();
            assert_clean(&pool, name).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_so_does_a_transaction_begun_with_plain_sql_and_one_of_ours_that_began_without_the_lock() {
    for name in WRITES {
        let home = tempfile::tempdir().unwrap();
        let pool = in_file(&home, 2, Duration::from_mins(5)).await;
        run(&pool, PEOPLE).await;
        run(&pool, "INSERT INTO people (email, age) VALUES ('known', 1)").await;

        let mut conn = pool.acquire().await.unwrap();
        sqlx::raw_sql("BEGIN; SELECT count(*) FROM people").execute(&mut *conn).await.unwrap();
        run(&pool, "INSERT INTO people (email, age) VALUES ('other', 1)").await;
        let error = in_time(call(name, &mut *conn)).await.expect_err(name);
        assert!(error.is_retryable(), "{name}: {error}");
        sqlx::raw_sql("ROLLBACK").execute(&mut *conn).await.unwrap();
        assert_eq!(OnSqlite::temporary_tables(&mut conn).await, Vec::<String>::new(), "{name}");
        drop(conn);

        let mut tx = TransactionOptions::new().read_only().begin(&pool).await.unwrap();
        Person::find(&mut tx, by_email("known")).await.unwrap();
        run(&pool, "INSERT INTO people (email, age) VALUES ('another', 1)").await;
        let error = in_time(call(name, &mut tx)).await.expect_err(name);
        assert!(error.is_retryable(), "{name}: {error}");
        // Nothing of it is written, and what is read is as it was.
        assert!(Person::find(&mut tx, by_email("another")).await.unwrap().is_none(), "{name}");
        tx.commit().await.unwrap();
        assert_eq!(number(&pool, "SELECT count(*) FROM people").await, 3, "{name}");
        assert_clean(&pool, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c6_a_transaction_whose_begin_is_not_let_in_is_tried_again() {
    let home = tempfile::tempdir().unwrap();
    let pool = in_file(&home, 3, Duration::ZERO).await;
    run(&pool, PEOPLE).await;
    let mut writer = upsertable::begin(&pool).await.unwrap();
    Person::upsert(&mut writer, person("known", 1)).await.unwrap();

    let runs = AtomicU32::new(0);
    let work = async |tx: &mut Transaction<Sqlite>| {
        runs.fetch_add(1, Ordering::SeqCst);
        Person::upsert(tx, person("known", 2)).await.map(|outcome| outcome.created)
    };
    let quick = || TransactionOptions::new().backoff(Duration::from_millis(1), Duration::from_millis(1));
    let (refused, seen) = statements(quick().attempts(3).run(&pool, work)).await;
    assert!(refused.unwrap_err().is_retryable());
    assert_eq!(
        (seen, runs.load(Ordering::SeqCst)),
        (vec!["BEGIN IMMEDIATE".to_owned(); 3], 0),
        "the closure has not been run"
    );

    let waiting = quick().attempts(1_000_000).run(&pool, work);
    let (created, ()) = tokio::join!(waiting, async { writer.commit().await.map(drop).unwrap() });
    assert!(!created.unwrap());
    assert_eq!((runs.into_inner(), number(&pool, "SELECT age FROM people").await), (1, 2));
}

#[tokio::test]
async fn every_call_on_a_database_that_cannot_be_written() {
    let home = tempfile::tempdir().unwrap();
    let pool = in_file(&home, 1, Duration::ZERO).await;
    run(&pool, PEOPLE).await;
    run(&pool, "INSERT INTO people (email, age) VALUES ('known', 1)").await;
    run(&pool, "PRAGMA journal_mode = DELETE").await;
    pool.close().await;
    let options = SqliteConnectOptions::new().filename(home.path().join("edges.db")).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();

    assert!(!Person::get_or_create(&pool, person("known", 2)).await.unwrap().created);
    for name in READS {
        call(name, &pool).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in WRITES {
        let mut errors = vec![call(name, &pool).await.expect_err(name)];
        let mut theirs = pool.begin().await.unwrap();
        errors.push(call(name, &mut *theirs).await.expect_err(name));
        theirs.rollback().await.unwrap();
        let mut tx = TransactionOptions::new().read_only().begin(&pool).await.unwrap();
        errors.push(call(name, &mut tx).await.expect_err(name));
        assert!(Person::find(&mut tx, by_email("known")).await.unwrap().is_some(), "{name}: the transaction goes on");
        tx.commit().await.unwrap();
        for error in errors {
            assert!(matches!(error, Error::Sql(_)) && !error.is_retryable(), "{name}: {error}");
            assert!(error.to_string().contains("readonly"), "{name}: {error}");
        }
        assert_clean(&pool, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bulk_call_on_a_full_disk() {
    let home = tempfile::tempdir().unwrap();
    let pool = in_file(&home, 1, Duration::from_secs(30)).await;
    run(&pool, PEOPLE).await;
    run(&pool, "INSERT INTO people (email, age) VALUES ('known', 1)").await;
    run(&pool, &format!("PRAGMA max_page_count = {}", number(&pool, "PRAGMA page_count").await + 20)).await;
    let rows = || (0..500).map(|number| person(&format!("{number:01000}"), number));
    for name in ["bulk_create_new", "bulk_get_or_create", "bulk_upsert"] {
        macro_rules! fill {
            ($handle:expr) => {
                match name {
                    "bulk_create_new" => Person::bulk_create_new($handle, rows()).await.map(drop),
                    "bulk_get_or_create" => Person::bulk_get_or_create($handle, rows()).await.map(drop),
                    _ => Person::bulk_upsert($handle, rows()).await.map(drop),
                }
            };
        }
        let is_full = |outcome: Result<(), Error>| {
            let error = outcome.expect_err(name);
            assert!(error.to_string().contains("full") && !error.is_retryable(), "{name}: {error}");
        };
        is_full(fill!(&pool));
        assert_clean(&pool, name).await;

        let mut conn = pool.acquire().await.unwrap();
        is_full(fill!(&mut *conn));
        drop(conn);
        assert_clean(&pool, name).await;

        let mut tx = upsertable::begin(&pool).await.unwrap();
        Person::upsert(&mut tx, person("known", 7)).await.unwrap();
        is_full(fill!(&mut tx));
        // SQLite may have ended the transaction for it. Then that is told, and else it goes on.
        let goes_on = match Person::upsert(&mut tx, person("known", 8)).await {
            Ok(_) => true,
            Err(Error::Ended { reason: Ending::Server, .. }) => false,
            Err(error) => panic!("{name}: {error}"),
        };
        assert_eq!(tx.commit().await.is_ok(), goes_on, "{name}");
        assert_clean(&pool, name).await;
        assert_eq!(number(&pool, "SELECT age FROM people").await, if goes_on { 8 } else { 1 }, "{name}");
        run(&pool, "UPDATE people SET age = 1").await;
    }
    run(&pool, "PRAGMA max_page_count = 100000").await;
    assert_eq!(Person::bulk_upsert(&pool, rows()).await.unwrap().created, 500);
}

/// The steps of all statements that read a table from end to end.
async fn scans(pool: &SqlitePool, seen: &[String], table: &str) -> Vec<String> {
    let mut conn = pool.acquire().await.unwrap();
    let create = seen.iter().find(|sql| sql.starts_with("CREATE"));
    if let Some(create) = create {
        sqlx::raw_sql(AssertSqlSafe(create.clone())).execute(&mut *conn).await.unwrap();
    }
    let mut scans = Vec::new();
    let mut explained = 0;
    for sql in seen.iter().filter(|sql| ["SELECT", "INSERT", "UPDATE", "WITH"].iter().any(|verb| sql.starts_with(verb)))
    {
        // What has a condition that is false reads nothing, whatever its plan says.
        if !sql.contains(table) || sql.ends_with("WHERE false") {
            continue;
        }
        explained += 1;
        for step in sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(&mut *conn).await.unwrap()
        {
            let step: String = step.get("detail");
            let name = step.split(' ').nth(1).unwrap_or_default();
            if (name == "t" || name == table) && (step.starts_with("SCAN") || step.contains("AUTOMATIC")) {
                scans.push(format!("{step}: {sql}"));
            }
        }
    }
    assert!(explained > 0, "{seen:?}");
    if create.is_some() {
        sqlx::raw_sql("DROP TABLE temp.upsertable_staged").execute(&mut *conn).await.unwrap();
    }
    scans
}

#[tokio::test]
async fn b6_no_statement_of_any_call_reads_the_whole_table() {
    let pool = in_memory(&[PEOPLE]).await;
    let mut seen = Vec::new();
    for name in READS.into_iter().chain(WRITES) {
        let (outcome, statements) = statements(call(name, &pool)).await;
        outcome.unwrap();
        seen.push((name, statements));
    }
    let mut tx = upsertable::begin(&pool).await.unwrap();
    Person::after_commit(&mut tx, async |_| {});
    let (done, with_hook) = statements(Person::bulk_create_new(&mut tx, [person("hooked", 1)])).await;
    assert_eq!(done.unwrap().created, 1);
    seen.push(("bulk_create_new with a hook", with_hook));
    tx.rollback().await.unwrap();
    let (found, many) =
        statements(Person::find_all(&pool, (0..2_000).map(|number| by_email(&number.to_string())))).await;
    found.unwrap();
    seen.push(("find_all of many", many));

    run(&pool, "DELETE FROM people").await;
    // The worst that a planner can know: nothing, then that the table is empty, then that it was when the table has grown.
    for state in ["", "ANALYZE", "grown since"] {
        if state == "grown since" {
            Person::bulk_create_new(&pool, (0..5_000).map(|number| person(&format!("x{number}"), 1))).await.unwrap();
        } else {
            run(&pool, state).await;
        }
        for (name, statements) in &seen {
            assert_eq!(scans(&pool, statements, "people").await, Vec::<String>::new(), "{name}, {state:?}");
        }
    }
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "zoned")]
#[unique(at)]
struct Zoned {
    at: chrono::DateTime<chrono::FixedOffset>,
    temp: f64,
}

#[tokio::test]
async fn r6_a_moment_with_its_offset_is_a_text_and_two_texts_are_two_keys() {
    let pool = in_memory(&["CREATE TABLE zoned (at TEXT NOT NULL UNIQUE, temp REAL NOT NULL)"]).await;
    let at = |text: &str| Zoned { at: text.parse().unwrap(), temp: 1.0 };
    // One moment, told in New York and in London; and by a program that writes Z for the offset 0.
    assert!(Zoned::get_or_create(&pool, at("2013-11-03T01:00:00-04:00")).await.unwrap().created);
    assert!(Zoned::get_or_create(&pool, at("2013-11-03T05:00:00+00:00")).await.unwrap().created);
    run(&pool, "INSERT INTO zoned (at, temp) VALUES ('2013-11-03T05:00:00Z', 1.0)").await;
    assert!(
        !Zoned::get_or_create(&pool, at("2013-11-03T05:00:00Z")).await.unwrap().created,
        "it is written with +00:00"
    );
    assert_eq!(
        Zoned::bulk_create_new(&pool, [at("2013-11-03T05:00:00Z"), at("2013-11-03T06:00:00+01:00")])
            .await
            .unwrap()
            .created,
        1
    );
    assert_eq!(number(&pool, "SELECT count(*) FROM zoned").await, 4);
}
