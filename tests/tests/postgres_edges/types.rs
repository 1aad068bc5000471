//! A value of every type, by way of every call.
//!
//! By every way into the staging table, too.

use std::{fmt::Debug, str::FromStr};

use sqlx::{
    postgres::types::{Oid, PgCiText, PgHstore, PgInterval, PgLTree, PgMoney, PgPoint, PgRange, PgTimeTz},
    types::{BigDecimal, BitVec, Decimal, Json, ipnetwork::IpNetwork, mac_address::MacAddress, time},
};
use upsertable::{Error, On, Outcome, Upsertable, testing::statements};
use upsertable_tests::{Fixture, OnPostgres};

use crate::{MANY, copies, fixture, texts};

/// Types that every server knows, without arrays.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "plain")]
#[unique(k, text)]
struct Plain {
    k: i64,
    text: String,
    flag: bool,
    tiny: i8,
    small: i16,
    int: i32,
    single: f32,
    double: f64,
    bytes: Vec<u8>,
    uuid: uuid::Uuid,
    date: chrono::NaiveDate,
    time: chrono::NaiveTime,
    local: chrono::NaiveDateTime,
    moment: chrono::DateTime<chrono::Utc>,
    other_moment: time::OffsetDateTime,
    other_date: time::Date,
    timetz: PgTimeTz,
    span: PgInterval,
    decimal: Decimal,
    big: BigDecimal,
    inet: IpNetwork,
    cidr: IpNetwork,
    mac: MacAddress,
    bits: BitVec,
    json: Json<Vec<String>>,
    textual: serde_json::Value,
    range: PgRange<i64>,
    decimals: PgRange<Decimal>,
    money: PgMoney,
    oid: Oid,
    point: PgPoint,
    short: String,
    padded: String,
    maybe_text: Option<String>,
    maybe_int: Option<i32>,
    maybe_moment: Option<chrono::DateTime<chrono::Utc>>,
    maybe_json: Option<Json<Vec<String>>>,
    maybe_range: Option<PgRange<i64>>,
    maybe_decimal: Option<Decimal>,
}

const PLAIN: &str = r#"CREATE TABLE plain (k BIGINT NOT NULL, text TEXT NOT NULL, flag BOOL, tiny "char", small INT2, int INT4, single FLOAT4,
    double FLOAT8, bytes BYTEA, uuid UUID, date DATE, time TIME, local TIMESTAMP, moment TIMESTAMPTZ, other_moment TIMESTAMPTZ, other_date DATE,
    timetz TIMETZ, span INTERVAL, decimal NUMERIC, big NUMERIC, inet INET, cidr CIDR, mac MACADDR, bits VARBIT, json JSONB, textual JSON,
    range INT8RANGE, decimals NUMRANGE, money MONEY, oid OID, point POINT, short VARCHAR(10), padded CHAR(5), maybe_text TEXT, maybe_int INT4,
    maybe_moment TIMESTAMPTZ, maybe_json JSONB, maybe_range INT8RANGE, maybe_decimal NUMERIC(20, 3), UNIQUE (k, text))"#;

fn plain(k: i64) -> Plain {
    let nulls = k % 3 == 0;
    let moment = chrono::DateTime::from_timestamp(1_700_000_000 + k, 123_456_000).unwrap();
    let words = vec!["it's \"ü\"".to_owned(), "back\\slash".to_owned(), k.to_string()];
    let decimal = Decimal::from_str("-12345.678").unwrap() + Decimal::from(k);
    Plain {
        k,
        text: format!("t\t{}'\\", k % 7),
        flag: k % 2 == 0,
        tiny: -3,
        small: i16::MIN,
        int: i32::MAX,
        single: 0.1,
        double: if k % 2 == 0 { f64::MIN_POSITIVE } else { -1.0e300 },
        bytes: vec![0, 255, b'\'', b'\\', (k % 200) as u8],
        uuid: uuid::Uuid::from_u128(k as u128),
        date: moment.date_naive(),
        time: moment.time(),
        local: moment.naive_utc(),
        moment,
        other_moment: time::OffsetDateTime::from_unix_timestamp(1_600_000_000 + k).unwrap(),
        other_date: time::Date::from_ordinal_date(2024, 60).unwrap(),
        timetz: PgTimeTz {
            time: time::Time::from_hms(1, 2, 3).unwrap(),
            offset: time::UtcOffset::from_hms(2, 0, 0).unwrap(),
        },
        span: PgInterval { months: 1, days: -2, microseconds: k },
        decimal,
        big: BigDecimal::from_str("123456789012345678901234567890.0001").unwrap(),
        inet: IpNetwork::from_str("10.1.2.3/8").unwrap(),
        cidr: IpNetwork::from_str("10.0.0.0/8").unwrap(),
        mac: MacAddress::new([1, 2, 3, 4, 5, (k % 200) as u8]),
        bits: BitVec::from_bytes(&[0b1010_0001, (k % 200) as u8]),
        json: Json(words.clone()),
        textual: serde_json::json!({"b": 1, "a": [k, null, "x"]}),
        range: PgRange::from(k..k + 10),
        decimals: PgRange { start: std::ops::Bound::Excluded(decimal), end: std::ops::Bound::Unbounded },
        money: PgMoney(123_456),
        oid: Oid(4_000_000_000),
        point: PgPoint { x: 1.5, y: -2.25 },
        short: "ten chars!".into(),
        padded: "five5".into(),
        maybe_text: (!nulls).then(String::new),
        maybe_int: (!nulls).then_some(-7),
        maybe_moment: (!nulls).then_some(moment),
        maybe_json: (!nulls).then_some(Json(words)),
        maybe_range: (!nulls).then(|| PgRange::from(1..2)),
        maybe_decimal: (!nulls).then_some(decimal),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, sqlx::Type)]
#[sqlx(type_name = "mood", rename_all = "snake_case")]
enum Mood {
    Calm,
    VeryLoud,
}

#[derive(Debug, Clone, PartialEq, sqlx::Type)]
#[sqlx(transparent)]
struct Isbn(String);

/// Types that only this server has, and arrays.
///
/// The arrays are of those that every server has.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "custom")]
#[unique(k, mood)]
struct Custom {
    k: i64,
    mood: Mood,
    isbn: Isbn,
    folded: PgCiText,
    tree: PgLTree,
    pairs: PgHstore,
    numbers: Vec<i64>,
    words: Vec<String>,
    holes: Vec<Option<i32>>,
    documents: Vec<Json<Vec<String>>>,
    ranges: Vec<PgRange<i32>>,
    maybe_mood: Option<Mood>,
    maybe_isbn: Option<Isbn>,
    maybe_numbers: Option<Vec<i64>>,
}

const CUSTOM: [&str; 5] = [
    "CREATE EXTENSION IF NOT EXISTS ltree SCHEMA public",
    "CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public",
    "CREATE TYPE mood AS ENUM ('calm', 'very_loud')",
    "CREATE DOMAIN isbn AS TEXT CHECK (VALUE LIKE '978%')",
    "CREATE TABLE custom (k BIGINT NOT NULL, mood mood NOT NULL, isbn isbn, folded CITEXT, tree LTREE, pairs HSTORE, numbers INT8[], words TEXT[],
        holes INT4[], documents JSONB[], ranges INT4RANGE[], maybe_mood mood, maybe_isbn isbn, maybe_numbers INT8[], UNIQUE (k, mood))",
];

fn custom(k: i64) -> Custom {
    let nulls = k % 3 == 0;
    let isbn = || Isbn(format!("978-{k}"));
    Custom {
        k,
        mood: if k % 2 == 0 { Mood::Calm } else { Mood::VeryLoud },
        isbn: isbn(),
        folded: PgCiText(format!("Word {k}")),
        tree: PgLTree::from_str(&format!("Top.Science.n{k}")).unwrap(),
        pairs: PgHstore([("a".to_owned(), Some(k.to_string())), ("b".to_owned(), None)].into()),
        numbers: if k % 5 == 0 { Vec::new() } else { vec![k, -k] },
        words: vec!["a,b".into(), "{\"c\"}".into(), "NULL".into()],
        holes: vec![None, Some(3)],
        documents: vec![Json(vec![k.to_string()])],
        ranges: vec![PgRange::from(1..4)],
        maybe_mood: (!nulls).then_some(Mood::Calm),
        maybe_isbn: (!nulls).then(isbn),
        maybe_numbers: (!nulls).then(|| vec![k]),
    }
}

#[derive(Debug, Clone, PartialEq, sqlx::Type)]
#[sqlx(type_name = "place")]
struct Place {
    name: String,
    mood: Option<Mood>,
    at: Vec<f64>,
}

/// Types only this server has, with numbers of types inside them.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "nested")]
#[unique(k)]
struct Nested {
    k: i64,
    place: Place,
    moods: Vec<Mood>,
    maybe_place: Option<Place>,
    maybe_moods: Option<Vec<Mood>>,
}

const NESTED: [&str; 3] = [
    "CREATE TYPE mood AS ENUM ('calm', 'very_loud')",
    "CREATE TYPE place AS (name TEXT, mood mood, at FLOAT8[])",
    "CREATE TABLE nested (k BIGINT NOT NULL UNIQUE, place place, moods mood[], maybe_place place, maybe_moods mood[])",
];

fn nested(k: i64) -> Nested {
    let nulls = k % 3 == 0;
    let place = Place { name: format!("({k}, \"x\")"), mood: (!nulls).then_some(Mood::VeryLoud), at: vec![0.5, 0.25] };
    Nested {
        k,
        place: place.clone(),
        moods: vec![Mood::Calm, Mood::VeryLoud],
        maybe_place: (!nulls).then_some(place),
        maybe_moods: (!nulls).then(|| vec![Mood::VeryLoud]),
    }
}

/// Texts that the server stores, in the order of keys.
async fn stored(db: &Fixture<OnPostgres>, table: &str, keys: std::ops::Range<i64>) -> Vec<String> {
    let (from, to) = (keys.start, keys.end);
    texts(&db.pool, &format!("SELECT t::text FROM {table} AS t WHERE k >= {from} AND k < {to} ORDER BY k")).await
}

/// Checks that each call stores rows as a plain INSERT would.
///
/// It gives them back as they went in.
async fn every_call<M>(db: &Fixture<OnPostgres>, table: &str, row: fn(i64) -> M, by_copy: bool) -> Result<(), Error>
where
    M: On<sqlx::Postgres, New = M> + Clone + PartialEq + Debug,
{
    const FEW: i64 = 8;
    let few = || (0..FEW).map(row);
    let clear = async || db.run(&format!("DELETE FROM {table}")).await;
    for created in [true, false] {
        for row in few() {
            assert_eq!(M::get_or_create(&db.pool, row.clone()).await?, Outcome { row, created });
        }
    }
    let expected = stored(db, table, 0..FEW).await;
    for created in [false, true] {
        for row in few() {
            assert_eq!(M::upsert(&db.pool, row.clone()).await?, Outcome { row, created });
        }
        assert_eq!(stored(db, table, 0..FEW).await, expected);
        clear().await;
    }

    for (count, handle) in [(FEW, "pool"), (MANY, "pool"), (MANY, "connection"), (MANY, "transaction")] {
        let rows = || (0..count).map(row);
        for call in 0..3 {
            clear().await;
            for created in [true, false] {
                let made = if created { count as u64 } else { 0 };
                let mut conn = db.pool.acquire().await?;
                let mut tx = upsertable::begin(&db.pool).await?;
                let work = async {
                    match (call, handle) {
                        (0, "pool") => assert_eq!(M::bulk_create_new(&db.pool, rows()).await?.created, made),
                        (0, "connection") => assert_eq!(M::bulk_create_new(&mut *conn, rows()).await?.created, made),
                        (0, _) => assert_eq!(M::bulk_create_new(&mut tx, rows()).await?.created, made),
                        (1, "pool") => check(&M::bulk_get_or_create(&db.pool, rows()).await?, row, created),
                        (1, "connection") => check(&M::bulk_get_or_create(&mut *conn, rows()).await?, row, created),
                        (1, _) => check(&M::bulk_get_or_create(&mut tx, rows()).await?, row, created),
                        (_, "pool") => assert_eq!(M::bulk_upsert(&db.pool, rows()).await?.created, made),
                        (_, "connection") => assert_eq!(M::bulk_upsert(&mut *conn, rows()).await?.created, made),
                        (_, _) => assert_eq!(M::bulk_upsert(&mut tx, rows()).await?.created, made),
                    }
                    Ok::<_, Error>(())
                };
                let (done, seen) = statements(work).await;
                done?;
                tx.commit().await?;
                let expected_copies = usize::from(by_copy && count == MANY && handle != "connection");
                assert_eq!(
                    copies(&seen),
                    expected_copies,
                    "{handle}, call {call}, created {created}, {count}: {:?}",
                    seen.iter().map(|s| s.chars().take(60).collect::<String>()).collect::<Vec<_>>()
                );
                assert_eq!(stored(db, table, 0..FEW).await, expected, "{handle}, call {call}");
                assert_eq!(db.count(table).await, count);
            }
        }
    }
    Ok(())
}

fn check<M: PartialEq + Debug>(outcomes: &[Outcome<M>], row: fn(i64) -> M, created: bool) {
    for (k, outcome) in (0..).zip(outcomes) {
        assert_eq!((&outcome.row, outcome.created), (&row(k), created));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_types_that_every_server_knows() {
    let db = fixture(3, &[PLAIN]).await;
    every_call(&db, "plain", plain, true).await.unwrap();
    Plain::verify(&db.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_types_that_this_server_has() {
    let db = fixture(3, &CUSTOM).await;
    every_call(&db, "custom", custom, true).await.unwrap();
    Custom::verify(&db.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_with_types_of_this_server_inside_them() {
    let db = fixture(3, &NESTED).await;
    every_call(&db, "nested", nested, false).await.unwrap();
    Nested::verify(&db.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r4_what_a_plain_insert_refuses_every_way_into_the_table_refuses() {
    let db = fixture(2, &CUSTOM).await;
    db.run(PLAIN).await;
    let long = |k| Plain { short: "eleven char".into(), ..plain(k) };
    let wrong = |k| Custom { isbn: Isbn("977".into()), ..custom(k) };
    for count in [1, 20, MANY] {
        let last = count - 1;
        let plains = (0..count).map(move |k| if k == last { long(k) } else { plain(k) });
        let customs = (0..count).map(move |k| if k == last { wrong(k) } else { custom(k) });
        let error = Plain::bulk_create_new(&db.pool, plains.clone()).await.unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
        let error = Plain::bulk_upsert(&db.pool, plains).await.unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
        let error = Custom::bulk_create_new(&db.pool, customs).await.unwrap_err();
        assert!(error.to_string().contains("violates check constraint"), "{error}");
        assert_eq!((db.count("plain").await, db.count("custom").await), (0, 0));
    }
    assert!(Plain::get_or_create(&db.pool, long(1)).await.is_err());
    db.assert_pool_clean("after rows that were refused").await;
}
