//! A value of every type, staged and not.

use upsertable::Upsertable;

use crate::{number, with_tables};

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

/// A column of every type, each with and without NULL.
///
/// The types are those that sqlx knows on MySQL with the features of this package.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "kinds")]
#[unique(uuid, moment, blob, isbn, choice, day, big, unsigned)]
struct Kind {
    uuid: uuid::Uuid,
    moment: chrono::DateTime<chrono::Utc>,
    blob: Vec<u8>,
    isbn: Isbn,
    choice: String,
    day: chrono::NaiveDate,
    big: i64,
    unsigned: u64,
    flag: bool,
    level: Level,
    tiny: i8,
    small: i16,
    int: i32,
    byte: u8,
    word: u16,
    long: u32,
    single: f32,
    double: f64,
    text: String,
    time: chrono::NaiveTime,
    local: chrono::NaiveDateTime,
    hyphenated: uuid::fmt::Hyphenated,
    tags: sqlx::types::Json<Tags>,
    #[sqlx(json)]
    more_tags: Tags,
    latin: String,
    /// An enum of Rust's.
    ///
    /// sqlx reads it from a column that can be NULL and is in no index only.
    mood: Mood,
    maybe_uuid: Option<uuid::Uuid>,
    maybe_moment: Option<chrono::DateTime<chrono::Utc>>,
    maybe_blob: Option<Vec<u8>>,
    maybe_mood: Option<Mood>,
    maybe_day: Option<chrono::NaiveDate>,
    maybe_big: Option<i64>,
    maybe_unsigned: Option<u64>,
    maybe_flag: Option<bool>,
    maybe_single: Option<f32>,
    maybe_double: Option<f64>,
    maybe_text: Option<String>,
    maybe_time: Option<chrono::NaiveTime>,
    maybe_local: Option<chrono::NaiveDateTime>,
}

const KINDS: &str = "CREATE TABLE kinds (uuid BINARY(16) NOT NULL, moment TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), \
    `blob` VARBINARY(20) NOT NULL, isbn VARCHAR(20) NOT NULL, choice ENUM('one', 'two') NOT NULL, day DATE NOT NULL, big BIGINT NOT NULL, \
    `unsigned` BIGINT UNSIGNED NOT NULL, flag BOOLEAN NOT NULL, level INT NOT NULL, tiny TINYINT NOT NULL, small SMALLINT NOT NULL, `int` INT NOT NULL, \
    byte TINYINT UNSIGNED NOT NULL, word SMALLINT UNSIGNED NOT NULL, `long` INT UNSIGNED NOT NULL, single FLOAT NOT NULL, `double` DOUBLE NOT NULL, \
    text LONGTEXT NOT NULL, time TIME(6) NOT NULL, local DATETIME(6) NOT NULL, hyphenated CHAR(36) NOT NULL, tags JSON NOT NULL, more_tags JSON NOT NULL, \
    latin VARCHAR(20) CHARACTER SET latin1 NOT NULL, mood ENUM('calm', 'very_loud'), maybe_uuid BINARY(16), maybe_moment TIMESTAMP(6) NULL, maybe_blob LONGBLOB, \
    maybe_mood ENUM('calm', 'very_loud'), maybe_day DATE, maybe_big BIGINT, maybe_unsigned BIGINT UNSIGNED, maybe_flag BOOLEAN, maybe_single FLOAT, \
    maybe_double DOUBLE, maybe_text LONGTEXT, maybe_time TIME(6), maybe_local DATETIME(6), \
    UNIQUE (uuid, moment, `blob`, isbn, choice, day, big, `unsigned`)) DEFAULT CHARSET = utf8mb4";

fn kind(number: i64, maybe: bool) -> Kind {
    let moment = chrono::DateTime::from_timestamp(1_700_000_000 + number, 123_456_000).unwrap();
    let uuid = uuid::Uuid::from_u128(number.unsigned_abs().into());
    let words = || Tags { words: vec![format!("word \"{number}\""), "é🦀".into()] };
    let local = moment.naive_utc();
    let mood = if number % 2 == 0 { Mood::Calm } else { Mood::VeryLoud };
    Kind {
        uuid,
        moment,
        blob: vec![0, 255, number as u8],
        isbn: Isbn(format!("isbn é {number}")),
        choice: if number % 2 == 0 { "one" } else { "two" }.into(),
        day: local.date(),
        big: i64::MIN + number,
        unsigned: u64::MAX - number.unsigned_abs(),
        flag: number % 2 == 0,
        level: if number % 2 == 0 { Level::Low } else { Level::High },
        tiny: i8::MIN,
        small: i16::MIN,
        int: i32::MIN,
        byte: u8::MAX,
        word: u16::MAX,
        long: u32::MAX,
        single: 0.1 + f32::from(number as i16),
        double: 0.1 + f64::from(number as i32),
        text: format!("text 🦀 {number}\0'\\"),
        time: local.time(),
        local,
        hyphenated: uuid.hyphenated(),
        tags: sqlx::types::Json(words()),
        more_tags: words(),
        latin: "é".into(),
        mood,
        maybe_uuid: maybe.then_some(uuid),
        maybe_moment: maybe.then_some(moment),
        maybe_blob: maybe.then(|| vec![0, 255]),
        maybe_mood: maybe.then_some(mood),
        maybe_day: maybe.then(|| local.date()),
        maybe_big: maybe.then_some(-1),
        maybe_unsigned: maybe.then_some(u64::MAX),
        maybe_flag: maybe.then_some(true),
        maybe_single: maybe.then_some(0.1),
        maybe_double: maybe.then_some(0.1),
        maybe_text: maybe.then(|| "é🦀".into()),
        maybe_time: maybe.then(|| local.time()),
        maybe_local: maybe.then_some(local),
    }
}

fn key(kind: &Kind) -> KindKey {
    kind.key()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_every_type_comes_back_from_every_call_as_it_went_in() {
    let db = with_tables(1, &[KINDS]).await;
    let rows = |from: i64| (from..from + 6).map(|number| kind(number, number % 3 != 0));
    for new in rows(0) {
        let outcome = Kind::get_or_create(&db.pool, new.clone()).await.unwrap();
        assert!(outcome.created);
        assert_eq!(outcome.row, new);
        assert_eq!(Kind::upsert(&db.pool, new.clone()).await.unwrap().row, new);
        assert_eq!(Kind::find(&db.pool, key(&new)).await.unwrap(), Some(new));
    }
    assert_eq!(Kind::bulk_create_new(&db.pool, rows(0).chain(rows(10))).await.unwrap().created, 6);
    let outcomes = Kind::bulk_get_or_create(&db.pool, rows(10).chain(rows(20))).await.unwrap();
    for (outcome, row) in outcomes.into_iter().zip(rows(10).chain(rows(20))) {
        assert_eq!(outcome.row, row);
    }
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    let changed: Vec<Kind> =
        rows(20).chain(rows(30)).map(|row| Kind { text: "changed".into(), maybe_text: None, ..row }).collect();
    let done = Kind::bulk_upsert(&mut tx, changed.clone()).await.unwrap();
    assert_eq!((done.created, done.updated), (6, 6));
    tx.commit().await.unwrap();
    let all: Vec<Kind> = rows(0).chain(rows(10)).chain(changed).collect();
    let found = Kind::find_all(&db.pool, all.iter().map(key)).await.unwrap();
    assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), all);
    assert_eq!(number(&db.pool, "SELECT count(*) FROM kinds").await, 24);
    Kind::verify(&db.pool).await.unwrap();
}

/// A value that the column cannot hold is refused everywhere.
///
/// Wherever it stands; one of a row that is there is not looked at.
#[tokio::test(flavor = "multi_thread")]
async fn r4_a_value_that_the_column_cannot_hold_is_refused_in_every_row() {
    let db = with_tables(1, &[KINDS]).await;
    let bad = [
        ("text that latin1 has not", Kind { latin: "🦀".into(), ..kind(1, true) }),
        ("text that is too long", Kind { latin: "x".repeat(21), ..kind(1, true) }),
    ];
    for (what, bad) in bad {
        Kind::get_or_create(&db.pool, bad.clone()).await.expect_err(what);
        for place in [0, 2, 5] {
            let mut rows: Vec<Kind> = (10..16).map(|number| kind(number, true)).collect();
            rows[place] = bad.clone();
            Kind::bulk_create_new(&db.pool, rows.clone()).await.expect_err(what);
            Kind::bulk_upsert(&db.pool, rows.clone()).await.expect_err(what);
            let mut tx = upsertable::begin(&db.pool).await.unwrap();
            Kind::bulk_get_or_create(&mut tx, rows).await.expect_err(what);
            tx.commit().await.unwrap();
            assert_eq!(number(&db.pool, "SELECT count(*) FROM kinds").await, 0, "{what}");
        }
        Kind::get_or_create(&db.pool, kind(1, true)).await.unwrap();
        assert!(!Kind::get_or_create(&db.pool, bad.clone()).await.unwrap().created);
        assert_eq!(Kind::bulk_create_new(&db.pool, [kind(2, true), bad]).await.unwrap().created, 1);
        crate::run(&db.pool, "DELETE FROM kinds").await;
    }
}
