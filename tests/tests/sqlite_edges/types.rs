//! A value of every type, and what of it is equal.

use sqlx::AssertSqlSafe;
use upsertable::{Error, Outcome, Upsertable};

use crate::{in_memory, number, run};

#[derive(Debug, Clone, Copy, PartialEq, sqlx::Type)]
#[sqlx(rename_all = "snake_case")]
enum Mood {
    Calm,
    VeryLoud,
}

#[derive(Debug, Clone, Copy, PartialEq, sqlx::Type)]
#[repr(i32)]
enum Level {
    Low = 1,
    High = 20,
}

#[derive(Debug, Clone, PartialEq, sqlx::Type)]
#[sqlx(transparent)]
struct Isbn(String);

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Tags {
    words: Vec<String>,
}

/// A column of every type that sqlx knows on SQLite.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "kinds")]
#[unique(uuid, moment, blob, isbn, flag, level)]
struct Kind {
    uuid: uuid::Uuid,
    moment: chrono::DateTime<chrono::Utc>,
    blob: Vec<u8>,
    isbn: Isbn,
    flag: bool,
    level: Level,
    tiny: i8,
    small: i16,
    int: i32,
    big: i64,
    byte: u8,
    word: u16,
    long: u32,
    single: f32,
    double: f64,
    text: String,
    date: chrono::NaiveDate,
    time: chrono::NaiveTime,
    local: chrono::NaiveDateTime,
    hyphenated: uuid::fmt::Hyphenated,
    mood: Mood,
    tags: sqlx::types::Json<Tags>,
    #[sqlx(json)]
    more_tags: Tags,
    maybe_text: Option<String>,
    maybe_blob: Option<Vec<u8>>,
    maybe_int: Option<i64>,
    maybe_double: Option<f64>,
    maybe_uuid: Option<uuid::Uuid>,
    maybe_moment: Option<chrono::DateTime<chrono::Utc>>,
    maybe_mood: Option<Mood>,
    maybe_tags: Option<sqlx::types::Json<Tags>>,
}

/// A row with NULL wherever it may be, or nowhere.
///
/// Numbers are at their ends.
fn kind(number: u8, nulls: bool) -> Kind {
    let uuid = uuid::Uuid::from_bytes([number; 16]);
    let tags = Tags { words: vec!["it's".into(), "\"ü\"".into(), number.to_string()] };
    let moment = chrono::DateTime::from_timestamp(1_700_000_000 + i64::from(number), 123_456_789).unwrap();
    Kind {
        uuid,
        moment,
        blob: vec![0, number, 255, b'\''],
        isbn: Isbn(format!("01{number}")),
        flag: number.is_multiple_of(2),
        level: if number.is_multiple_of(2) { Level::Low } else { Level::High },
        tiny: i8::MIN,
        small: i16::MIN,
        int: i32::MIN,
        big: if number.is_multiple_of(2) { i64::MIN } else { i64::MAX },
        byte: u8::MAX,
        word: u16::MAX,
        long: u32::MAX,
        single: 0.1,
        double: if number.is_multiple_of(2) { f64::MIN_POSITIVE } else { -1.0e300 },
        text: format!("0{number}"),
        date: moment.date_naive(),
        time: moment.time(),
        local: moment.naive_utc(),
        hyphenated: uuid.hyphenated(),
        mood: Mood::VeryLoud,
        tags: sqlx::types::Json(tags.clone()),
        more_tags: tags.clone(),
        maybe_text: (!nulls).then(|| "1".into()),
        maybe_blob: (!nulls).then(|| vec![0, 1]),
        maybe_int: (!nulls).then_some(7),
        maybe_double: (!nulls).then_some(0.5),
        maybe_uuid: (!nulls).then_some(uuid),
        maybe_moment: (!nulls).then_some(moment),
        maybe_mood: (!nulls).then_some(Mood::Calm),
        maybe_tags: (!nulls).then_some(sqlx::types::Json(tags)),
    }
}

#[tokio::test]
async fn r4_a_value_of_every_type_comes_back_from_every_call_and_is_stored_alike() {
    let columns = "uuid BLOB NOT NULL, moment TEXT NOT NULL, blob BLOB NOT NULL, isbn TEXT NOT NULL, flag BOOLEAN NOT NULL, level INTEGER NOT NULL, \
         tiny INTEGER, small INTEGER, int INTEGER, big INTEGER, byte INTEGER, word INTEGER, long INTEGER, single REAL, double REAL, text TEXT, date TEXT, \
         time TEXT, local TEXT, hyphenated TEXT, mood TEXT, tags TEXT, more_tags TEXT, maybe_text TEXT, maybe_blob BLOB, maybe_int INTEGER, \
         maybe_double REAL, maybe_uuid BLOB, maybe_moment TEXT, maybe_mood TEXT, maybe_tags TEXT";
    let unique = "UNIQUE (uuid, moment, blob, isbn, flag, level)";
    for table in [
        format!("CREATE TABLE kinds ({columns}, {unique})"),
        format!("CREATE TABLE kinds ({}, {unique}) STRICT", columns.replace("BOOLEAN", "INTEGER")),
        format!(
            "CREATE TABLE kinds ({}, {unique})",
            columns
                .replace("moment TEXT", "moment DATETIME")
                .replace("date TEXT", "date DATE")
                .replace("tags TEXT", "tags JSON")
        ),
        format!(
            "CREATE TABLE kinds ({}, {unique})",
            columns.replace("REAL", "DOUBLE PRECISION").replace("TEXT", "VARCHAR(20)")
        ),
    ] {
        let pool = in_memory(&[&table]).await;
        let kinds: Vec<Kind> = (0..8).map(|number| kind(number, number.is_multiple_of(3))).collect();
        let rows = || kinds.iter().cloned();
        // The stored form of each value, by the call that stored it.
        let mut stored: Vec<(&str, Vec<String>)> = Vec::new();
        for call in ["get_or_create", "upsert", "bulk_create_new", "bulk_get_or_create", "bulk_upsert"] {
            run(&pool, "DELETE FROM kinds").await;
            for round in 0..2 {
                let created = round == 0;
                match call {
                    "get_or_create" => {
                        for row in rows() {
                            assert_eq!(
                                Kind::get_or_create(&pool, row.clone()).await.unwrap(),
                                Outcome { row, created }
                            );
                        }
                    }
                    "upsert" => {
                        for row in rows() {
                            assert_eq!(Kind::upsert(&pool, row.clone()).await.unwrap(), Outcome { row, created });
                        }
                    }
                    "bulk_create_new" => {
                        let done = Kind::bulk_create_new(&pool, rows().chain(rows())).await.unwrap();
                        assert_eq!((done.received, done.created), (16, if created { 8 } else { 0 }));
                    }
                    "bulk_get_or_create" => {
                        let outcomes = Kind::bulk_get_or_create(&pool, rows()).await.unwrap();
                        assert_eq!(outcomes, rows().map(|row| Outcome { row, created }).collect::<Vec<_>>());
                    }
                    _ => {
                        let done = Kind::bulk_upsert(&pool, rows().chain(rows())).await.unwrap();
                        assert_eq!(
                            (done.received, done.created, done.updated),
                            if created { (16, 8, 0) } else { (16, 0, 8) }
                        );
                    }
                }
            }
            let found = Kind::find_all(&pool, rows().map(|row| row.key())).await.unwrap();
            assert_eq!(found, rows().map(Some).collect::<Vec<_>>(), "{call}");
            let names: Vec<String> =
                sqlx::query_scalar("SELECT name FROM pragma_table_info('kinds')").fetch_all(&pool).await.unwrap();
            let values = names
                .iter()
                .map(|name| format!("typeof({name}) || quote({name})"))
                .collect::<Vec<_>>()
                .join(" || ' ' || ");
            let sql = format!("SELECT {values} FROM kinds ORDER BY uuid");
            stored.push((call, sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&pool).await.unwrap()));
        }
        for (call, values) in &stored {
            assert_eq!(*values, stored[0].1, "{call} stores otherwise than {}: {table}", stored[0].0);
        }
        assert_eq!(Kind::find(&pool, kind(3, true).key()).await.unwrap(), Some(kind(3, true)));
    }
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "numbers")]
#[unique(number)]
struct Float {
    number: f64,
    note: i64,
}

#[tokio::test]
async fn r6_the_database_decides_which_floating_numbers_are_equal() {
    for declared in ["REAL", "DOUBLE PRECISION", ""] {
        let pool =
            in_memory(&[&format!("CREATE TABLE numbers (number {declared} NOT NULL UNIQUE, note INTEGER NOT NULL)")])
                .await;
        let rows = [
            (0.0, 1),
            (-0.0, 2),
            (0.1 + 0.2, 3),
            (0.3, 4),
            (1.0, 5),
            (9_007_199_254_740_993.0, 6),
            (9_007_199_254_740_992.0, 7),
        ];
        let rows = || rows.map(|(number, note)| Float { number, note });
        let outcomes = Float::bulk_get_or_create(&pool, rows()).await.unwrap();
        let notes: Vec<(i64, bool)> = outcomes.iter().map(|outcome| (outcome.row.note, outcome.created)).collect();
        assert_eq!(
            notes,
            [(1, true), (1, false), (3, true), (4, true), (5, true), (6, true), (6, false)],
            "{declared}"
        );
        for row in rows() {
            assert!(!Float::get_or_create(&pool, row.clone()).await.unwrap().created, "{declared}: {row:?}");
        }
        // SQLite stores NULL for what is no number, and the table has none of it.
        let none = Float { number: f64::NAN, note: 8 };
        assert!(matches!(Float::get_or_create(&pool, none.clone()).await, Err(Error::Sql(_))), "{declared}");
        assert!(matches!(Float::upsert(&pool, none.clone()).await, Err(Error::Sql(_))), "{declared}");
        for error in [
            Float::bulk_create_new(&pool, [none.clone()]).await.unwrap_err(),
            Float::bulk_get_or_create(&pool, [none.clone()]).await.unwrap_err(),
            Float::bulk_upsert(&pool, [none.clone()]).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Sql(_)), "{declared}: {error}");
        }
        assert_eq!(number(&pool, "SELECT count(*) FROM numbers").await, 5, "{declared}");
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
