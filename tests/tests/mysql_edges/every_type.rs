//! Every type that sqlx has for MySQL.
//!
//! Each is in the columns that sqlx reads it from: each bulk call stores what an INSERT of the same values stores, byte for byte, and gives
//! back what a SELECT gives.

use std::{
    fmt::{Debug, Write as _},
    net::Ipv4Addr,
};

use sqlx::{
    AssertSqlSafe, Executor as _, FromRow, MySql, MySqlConnection, MySqlPool,
    mysql::{
        MySqlArguments, MySqlRow,
        types::{MySqlTime, MySqlTimeSign},
    },
    query::Query,
    types::{BigDecimal, Decimal, Json},
};
use upsertable::{Handle, On, Upsertable};
use upsertable_tests::{Fixture, OnMySql};

use crate::{run, settings::pool_set_to, with_tables};

/// A row of a key and a value.
///
/// One of them is of the type that is tried.
trait Pair: Upsertable<New = Self> + On<MySql> + for<'r> FromRow<'r, MySqlRow> + Clone + PartialEq + Debug {
    type Value;
    const NAME: &'static str;

    /// One of the values, with a number in the other column.
    fn new(number: usize, values: &[Option<Self::Value>]) -> Self;
    /// Makes a row with that key and another value.
    fn other(number: usize, values: &[Option<Self::Value>]) -> Self;
    /// Number of rows after which the keys come again.
    fn keys(values: &[Option<Self::Value>]) -> usize;
    fn has_key_of(&self, other: &Self) -> bool;
    fn bound(&self, sql: String) -> Query<'static, MySql, MySqlArguments>;
}

macro_rules! types {
    ($($name:ident: $kind:ty),* $(,)?) => { $(#[allow(clippy::float_cmp, reason = "a float that changed is another")]
    mod $name {
        use super::*;

        #[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
        #[upsertable(table = "as_key")]
        #[unique(k)]
        pub(super) struct AsKey {
            k: $kind,
            v: i64,
        }

        #[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
        #[upsertable(table = "beside")]
        #[unique(k)]
        pub(super) struct Beside {
            k: i64,
            v: Option<$kind>,
        }

        impl Pair for AsKey {
            type Value = $kind;
            const NAME: &'static str = "as_key";

            fn new(number: usize, values: &[Option<$kind>]) -> Self {
                // NULL is no key.
                let values: Vec<_> = values.iter().flatten().collect();
                Self { k: values[number % values.len()].clone(), v: number as i64 }
            }

            fn other(number: usize, values: &[Option<$kind>]) -> Self {
                Self { v: -1, ..Self::new(number, values) }
            }

            fn keys(values: &[Option<$kind>]) -> usize {
                values.iter().flatten().count()
            }

            fn has_key_of(&self, other: &Self) -> bool {
                self.k == other.k
            }

            fn bound(&self, sql: String) -> Query<'static, MySql, MySqlArguments> {
                sqlx::query(AssertSqlSafe(sql)).bind(self.k.clone()).bind(self.v)
            }
        }

        impl Pair for Beside {
            type Value = $kind;
            const NAME: &'static str = "beside";

            fn new(number: usize, values: &[Option<$kind>]) -> Self {
                Self { k: (number % Self::keys(values)) as i64, v: values[number % values.len()].clone() }
            }

            fn other(number: usize, values: &[Option<$kind>]) -> Self {
                Self { v: values[(number + 1) % values.len()].clone(), ..Self::new(number, values) }
            }

            fn keys(values: &[Option<$kind>]) -> usize {
                // A key that comes again has another value.
                2 * values.len() + 1
            }

            fn has_key_of(&self, other: &Self) -> bool {
                self.k == other.k
            }

            fn bound(&self, sql: String) -> Query<'static, MySql, MySqlArguments> {
                sqlx::query(AssertSqlSafe(sql)).bind(self.k).bind(self.v.clone())
            }
        }
    })* };
}

types! {
    signed_1: i8, signed_2: i16, signed_4: i32, signed_8: i64,
    unsigned_1: u8, unsigned_2: u16, unsigned_4: u32, unsigned_8: u64,
    boolean: bool, float: f32, double: f64, decimal: Decimal, big_decimal: BigDecimal,
    text: String, bytes: Vec<u8>, address: Ipv4Addr,
    chrono_date: chrono::NaiveDate, chrono_time: chrono::NaiveTime, chrono_local: chrono::NaiveDateTime,
    chrono_moment: chrono::DateTime<chrono::Utc>, span: MySqlTime,
    time_date: sqlx::types::time::Date, time_time: sqlx::types::time::Time, time_local: sqlx::types::time::PrimitiveDateTime,
    time_moment: sqlx::types::time::OffsetDateTime,
    uuid_bytes: uuid::Uuid, uuid_hyphenated: uuid::fmt::Hyphenated, uuid_simple: uuid::fmt::Simple,
    json: Json<serde_json::Value>, json_value: serde_json::Value,
}

/// A column that is tried.
#[derive(Clone, Copy)]
struct Column {
    declared: &'static str,
    /// True if an index holds it and finds what was sent.
    is_key: bool,
    /// True if the column gives back what went in.
    is_exact: bool,
}

/// A column that can be in a key too.
const fn key(declared: &'static str) -> Column {
    Column { declared, is_key: true, is_exact: true }
}

/// A column that cannot be in a key.
const fn beside(declared: &'static str) -> Column {
    Column { declared, is_key: false, is_exact: true }
}

/// A column that pads, rounds or converts.
const fn lossy(declared: &'static str) -> Column {
    Column { declared, is_key: false, is_exact: false }
}

const CALLS: [&str; 3] = ["bulk_create_new", "bulk_get_or_create", "bulk_upsert"];
const HANDLES: [&str; 3] = ["pool", "transaction", "connection"];

/// Numbers of rows: few, and so many that they are staged.
///
/// In a caller's transaction they are staged from fewer on than on a pool.
fn sizes(handle: &str) -> &'static [usize] {
    match handle {
        "pool" => &[6, 1_030],
        "transaction" => &[6, 40],
        _ => &[6],
    }
}

async fn call<'h, R: Pair>(name: &str, db: impl Handle<'h, MySql>, rows: Vec<R>) -> Result<Vec<R>, upsertable::Error> {
    match name {
        "bulk_create_new" => R::bulk_create_new(db, rows).await.map(|_| Vec::new()),
        "bulk_get_or_create" => {
            let outcomes = R::bulk_get_or_create(db, rows).await?;
            Ok(outcomes.into_iter().map(|outcome| outcome.row).collect())
        }
        _ => R::bulk_upsert(db, rows).await.map(|_| Vec::new()),
    }
}

/// Contents of the columns.
///
/// Of a FLOAT the text has six digits only.
async fn stored(pool: &MySqlPool, table: &str, declared: &str) -> Vec<String> {
    let as_bytes = |name: &str| {
        let number = if declared.starts_with("FLOAT") { format!(", {name} + 0e0") } else { String::new() };
        format!("COALESCE(HEX(CAST({name} AS BINARY)), 'NULL'){number}")
    };
    let all = format!("SELECT CAST(CONCAT_WS(' ', {}, {}) AS CHAR) FROM {table}", as_bytes("k"), as_bytes("v"));
    let rows = sqlx::query_scalar(AssertSqlSafe(all)).fetch_all(pool).await;
    let mut rows: Vec<String> = rows.unwrap_or_else(|error| panic!("{declared}: {error}"));
    rows.sort_unstable();
    rows
}

/// Inserts the rows, of which the last with one key stays.
async fn insert<'r, R: Pair>(
    conn: &mut MySqlConnection,
    table: &str,
    rows: impl Iterator<Item = &'r R>,
) -> Result<(), sqlx::Error> {
    for row in rows {
        row.bound(format!("REPLACE INTO {table} (k, v) VALUES (?, ?)")).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Compares rows made by a call and by plain INSERTs.
///
/// Gives what is not the same.
async fn compare_call<R: Pair>(
    (pool, outside): (&MySqlPool, &MySqlPool),
    (name, handle, size): (&str, &str, usize),
    column: Column,
    values: &[Option<R::Value>],
) -> Result<(), String> {
    let table = R::NAME;
    let keys = R::keys(values).min(size);
    let rows: Vec<R> = (0..size).map(|number| R::new(number, values)).collect();
    // Every second key is there before.
    let known: Vec<R> = (0..keys).step_by(2).map(|number| R::other(number, values)).collect();
    let plain = async {
        let mut tx = outside.begin().await?;
        tx.execute(AssertSqlSafe(format!("DELETE FROM {table}; DELETE FROM plain"))).await?;
        insert(&mut tx, table, known.iter()).await?;
        if name == "bulk_upsert" {
            insert(&mut tx, "plain", known.iter().chain(&rows[size - keys..])).await?;
        } else {
            insert(&mut tx, "plain", rows[..keys].iter().chain(&known)).await?;
        }
        tx.commit().await
    };
    plain.await.map_err(|error| format!("a plain INSERT: {error}"))?;
    let given = match handle {
        "pool" => call(name, pool, rows.clone()).await,
        "transaction" => {
            let mut tx = upsertable::begin(pool).await.map_err(|error| error.to_string())?;
            let given = call(name, &mut tx, rows.clone()).await;
            tx.commit().await.map_err(|error| error.to_string())?;
            given
        }
        _ => call(name, &mut *pool.acquire().await.unwrap(), rows.clone()).await,
    };
    let given = given.map_err(|error| error.to_string())?;
    let (ours, plain) =
        (stored(outside, table, column.declared).await, stored(outside, "plain", column.declared).await);
    if ours != plain {
        let differ = ours.iter().zip(&plain).find(|(ours, plain)| ours != plain);
        return Err(format!("{} rows of {}, first {differ:?}", ours.len(), plain.len()));
    }
    let plain: Vec<R> =
        sqlx::query_as("SELECT k, v FROM plain").fetch_all(outside).await.map_err(|error| error.to_string())?;
    for (given, asked) in given.iter().zip(&rows) {
        if !given.has_key_of(asked) || !plain.contains(given) {
            return Err(format!("gave {given:?} for {asked:?}"));
        }
    }
    let changed = plain.iter().find(|row| column.is_exact && !rows.contains(row) && !known.contains(row));
    changed.map_or(Ok(()), |row| Err(format!("no {row:?} went in")))
}

/// Tries the values in columns and collects what went wrong.
async fn try_type<K: Pair, B: Pair<Value = K::Value>>(
    db: &Fixture<OnMySql>,
    columns: &[Column],
    values: &[Option<K::Value>],
    wrong: &mut Vec<String>,
) {
    for column in columns {
        let declared = column.declared;
        let plain = |key: &str, value: &str| format!("(k {key} NOT NULL, v {value} NULL, UNIQUE KEY k (k))");
        let mut shapes = vec![(B::NAME, plain("BIGINT", declared))];
        if column.is_key {
            shapes.push((K::NAME, plain(declared, "BIGINT")));
        }
        for (table, shape) in shapes {
            let mut sql = String::new();
            for name in [table, "plain"] {
                let _ =
                    write!(sql, "DROP TABLE IF EXISTS {name}; CREATE TABLE {name} {shape} DEFAULT CHARSET = utf8mb4;");
            }
            run(&db.outside, &sql).await;
            // Statements prepared for the table before are not for this one.
            let (pool, outside) =
                (pool_set_to(&db.pool, "DO 0").await.unwrap(), pool_set_to(&db.pool, "DO 0").await.unwrap());
            for handle in HANDLES {
                for &size in sizes(handle) {
                    for name in CALLS {
                        let (pools, how) = ((&pool, &outside), (name, handle, size));
                        let same = if table == K::NAME {
                            compare_call::<K>(pools, how, *column, values).await
                        } else {
                            compare_call::<B>(pools, how, *column, values).await
                        };
                        if let Err(error) = same {
                            wrong.push(format!("{declared}, {table}, {name} of {size} rows, {handle}: {error}"));
                        }
                    }
                }
            }
            pool.close().await;
            outside.close().await;
        }
    }
}

/// Tries values of the type, and NULL, in each column.
macro_rules! try_all {
    ($($name:ident [$($value:expr),* $(,)?] in $columns:expr;)*) => {{
        let db = with_tables(1, &[]).await;
        let mut wrong = Vec::new();
        $(
            let mut values = vec![$(Some($value)),*];
            values.push(None);
            try_type::<$name::AsKey, $name::Beside>(&db, &$columns, &values, &mut wrong).await;
        )*
        assert!(wrong.is_empty(), "{} of\n{}", wrong.len(), wrong.join("\n"));
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_numbers_are_stored_as_an_insert_stores_them() {
    try_all! {
        signed_1 [i8::MIN, -1, 0, 1, i8::MAX] in [key("TINYINT"), key("BIGINT")];
        signed_2 [i16::MIN, -1, 0, 1, i16::MAX] in [key("SMALLINT"), key("MEDIUMINT")];
        signed_4 [-8_388_608, -1, 0, 1, 8_388_607] in [key("MEDIUMINT")];
        signed_4 [i32::MIN, -1, 0, 1, i32::MAX] in [key("INT"), key("BIGINT")];
        signed_8 [i64::MIN, -1, 0, 1, i64::MAX] in [key("BIGINT")];
        boolean [true, false] in [key("BOOLEAN"), key("BIT(1)")];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_without_a_sign_are_stored_as_an_insert_stores_them() {
    try_all! {
        unsigned_1 [0, 1, 127, 128, u8::MAX] in [key("TINYINT UNSIGNED"), key("BIGINT UNSIGNED"), key("BIT(8)"), key("BIT(64)")];
        unsigned_2 [0, 1, 255, 256, u16::MAX] in [key("SMALLINT UNSIGNED"), key("BIT(16)")];
        unsigned_2 [0, 1901, 2000, 2026, 2155] in [key("YEAR")];
        unsigned_4 [0, 1, 65_536, 16_777_215] in [key("MEDIUMINT UNSIGNED"), key("BIT(24)")];
        unsigned_4 [0, 1, 48, u32::MAX] in [key("INT UNSIGNED"), key("BIT(33)")];
        unsigned_8 [0, 1, 1 << 63, u64::MAX] in [key("BIGINT UNSIGNED"), key("BIT(64)")];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_with_a_point_are_stored_as_an_insert_stores_them() {
    let decimal = |text: &str| text.parse::<Decimal>().unwrap();
    let big = |text: &str| text.parse::<BigDecimal>().unwrap();
    try_all! {
        float [0.1, -0.1, 0.0, 16_777_217.0, f32::MAX, f32::MIN_POSITIVE] in [key("FLOAT"), key("DOUBLE")];
        float [0.126, -0.124, 0.0] in [lossy("FLOAT(10, 2)"), lossy("DOUBLE(10, 2)")];
        double [0.1, -0.1, 0.0, 9_007_199_254_740_993.0, f64::MAX, f64::MIN_POSITIVE] in [key("DOUBLE")];
        double [0.1, -0.1, 0.0, 16_777_217.0] in [lossy("FLOAT"), lossy("DOUBLE(20, 2)")];
        decimal [decimal("0"), decimal("-1.5"), decimal("0.000001"), decimal("12345678901234.123456")] in [key("DECIMAL(20, 6)"), key("DECIMAL(65, 30)")];
        decimal [decimal("0.005"), decimal("-1.555"), decimal("7.4999999")] in [lossy("DECIMAL(10, 2)"), lossy("DECIMAL(10)")];
        decimal [decimal("0"), decimal("1.5"), decimal("7.499")] in [lossy("DECIMAL(10, 2) UNSIGNED ZEROFILL")];
        big_decimal [big("0"), big("-99999999999999999999999999999999999.999999999999999999999999999999"), big("1e-30"), big("1e34")] in [key("DECIMAL(65, 30)")];
        big_decimal [big("1e-40"), big("123456.7890123")] in [lossy("DECIMAL(20, 4)")];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_stored_as_an_insert_stores_them() {
    let long = "é🦀\\'\"\0".repeat(2_000);
    let medium = "é🦀".repeat(30);
    try_all! {
        text [String::new(), "a".into(), "é".into(), "🦀 \0'\\".into(), " lead".into(), medium.clone()] in [
            key("VARCHAR(100)"), key("VARCHAR(100) COLLATE utf8mb4_bin"), key("VARCHAR(100) COLLATE utf8mb4_unicode_520_ci"), key("CHAR(100)"),
            beside("TINYTEXT"), beside("TEXT"), beside("MEDIUMTEXT"), beside("LONGTEXT"), beside("LONGTEXT CHARACTER SET utf16"), key("VARCHAR(100) CHARACTER SET utf32"),
        ];
        text [long.clone(), String::new()] in [beside("TEXT"), beside("MEDIUMTEXT"), beside("LONGTEXT COLLATE utf8mb4_bin")];
        text ["a".into(), "é".into(), "ÿ€".into(), "~ \t".into()] in [
            key("VARCHAR(20) CHARACTER SET latin1"), key("VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin"), key("CHAR(20) CHARACTER SET latin1"),
            key("VARCHAR(20) CHARACTER SET ucs2"), key("VARCHAR(20) CHARACTER SET utf8mb3"), beside("TEXT CHARACTER SET latin1"),
        ];
        text ["a ".into(), "b  ".into(), "c".into()] in [lossy("CHAR(10)"), lossy("CHAR(10) CHARACTER SET latin1"), key("VARCHAR(10)"), key("VARCHAR(10) COLLATE utf8mb4_bin")];
        text ["one".into(), "two".into(), "zwölf".into()] in [key("ENUM('two', 'zwölf', 'one')"), key("ENUM('two', 'zwölf', 'one') CHARACTER SET latin1")];
        text [String::new(), "z".into(), "z,a".into(), "z,a,m".into()] in [key("SET('z', 'a', 'm')"), key("SET('z', 'a', 'm') CHARACTER SET latin1 COLLATE latin1_bin")];
        text ["a,z".into(), "M".into()] in [lossy("SET('z', 'a', 'm')")];
        text ["TWO".into(), "one ".into()] in [lossy("ENUM('one', 'two')")];
        address [Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST] in [key("VARCHAR(15)"), key("CHAR(15) CHARACTER SET ascii")];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_stored_as_an_insert_stores_them() {
    let id = |number| uuid::Uuid::from_u128(number);
    let (one, two) = (id(0x5c_00_27), id(u128::MAX - 0x20));
    try_all! {
        bytes [vec![], vec![0], vec![0xff, 0, 0x27, 0x5c], b"text".to_vec(), vec![0xc3, 0x28]] in [
            key("VARBINARY(20)"), beside("TINYBLOB"), beside("BLOB"), beside("MEDIUMBLOB"), beside("LONGBLOB"), lossy("BINARY(8)"),
        ];
        bytes [vec![0x20; 8], vec![0; 8], vec![0xff; 8]] in [key("BINARY(8)")];
        bytes [vec![0xff; 60_000], vec![1]] in [beside("BLOB"), beside("LONGBLOB")];
        bytes [b"text".to_vec(), "é".into()] in [beside("VARCHAR(20)"), beside("LONGTEXT")];
        uuid_bytes [one, two, uuid::Uuid::nil()] in [key("BINARY(16)"), key("VARBINARY(16)"), beside("BLOB")];
        uuid_hyphenated [one.hyphenated(), two.hyphenated()] in [key("CHAR(36)"), key("VARCHAR(36) CHARACTER SET ascii"), beside("TEXT")];
        uuid_simple [one.simple(), two.simple()] in [key("CHAR(32)"), key("VARCHAR(40) CHARACTER SET latin1")];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_and_times_of_chrono_are_stored_as_an_insert_stores_them() {
    use chrono::{DateTime, NaiveDate, NaiveTime};
    let span = |sign| MySqlTime::new(sign, 100, 59, 58, 999_999).unwrap();
    let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).unwrap();
    let time = |hour, minute, second, micro| NaiveTime::from_hms_micro_opt(hour, minute, second, micro).unwrap();
    let moment = |second: i64, micro: u32| DateTime::from_timestamp(second, micro * 1_000).unwrap();
    let moments =
        [moment(1, 0), moment(1_700_000_000, 0), moment(1_700_000_000, 123_456), moment(2_147_483_646, 999_999)];
    let (first, last) =
        (day(1000, 1, 1).and_time(NaiveTime::MIN), day(9999, 12, 30).and_time(time(23, 59, 59, 999_999)));
    try_all! {
        chrono_date [day(1000, 1, 1), day(2024, 2, 29), day(9999, 12, 31)] in [key("DATE")];
        chrono_time [NaiveTime::MIN, time(12, 34, 56, 789_012), time(1, 2, 3, 0), time(23, 59, 59, 999_999)] in [key("TIME(6)")];
        chrono_time [NaiveTime::MIN, time(12, 34, 56, 789_512), time(1, 2, 3, 500)] in [lossy("TIME"), lossy("TIME(3)")];
        chrono_local [first, last, moments[1].naive_utc(), moments[2].naive_utc()] in [key("DATETIME(6)"), lossy("DATETIME"), lossy("DATETIME(3)")];
        chrono_moment [moments[0], moments[1], moments[2], moments[3]] in [key("TIMESTAMP(6)"), key("DATETIME(6)"), lossy("DATETIME(1)")];
        chrono_moment [moments[0], moments[1], moments[2]] in [lossy("TIMESTAMP"), lossy("TIMESTAMP(3)")];
        span [MySqlTime::ZERO, span(MySqlTimeSign::Negative), span(MySqlTimeSign::Positive)] in [key("TIME(6)"), lossy("TIME(2)")];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_and_times_of_time_are_stored_as_an_insert_stores_them() {
    use sqlx::types::time::{Date, OffsetDateTime, PrimitiveDateTime, Time};
    let day = |year, ordinal| Date::from_ordinal_date(year, ordinal).unwrap();
    let time = |hour, minute, second, micro| Time::from_hms_micro(hour, minute, second, micro).unwrap();
    let local = |date, time| PrimitiveDateTime::new(date, time);
    let moment = |second: i64, micro: u64| {
        OffsetDateTime::from_unix_timestamp(second).unwrap() + std::time::Duration::from_micros(micro)
    };
    try_all! {
        time_date [day(1000, 1), day(2024, 60), day(9999, 365)] in [key("DATE")];
        time_time [Time::MIDNIGHT, time(12, 34, 56, 789_012), time(23, 59, 59, 999_999)] in [key("TIME(6)")];
        time_time [Time::MIDNIGHT, time(12, 34, 56, 789_512)] in [lossy("TIME(3)")];
        time_local [local(day(1000, 1), Time::MIDNIGHT), local(day(2024, 60), time(12, 34, 56, 789_012))] in [key("DATETIME(6)"), lossy("DATETIME")];
        time_moment [moment(1, 0), moment(1_700_000_000, 123_456)] in [key("TIMESTAMP(6)"), key("DATETIME(6)"), lossy("TIMESTAMP")];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_stored_as_an_insert_stores_it() {
    use serde_json::json;
    let value = |number: usize| {
        [
            json!({"a": [1, 2.5, null, true], "é🦀": "\"\\\u{0}'"}),
            json!([]),
            json!("text"),
            json!(18_446_744_073_709_551_615_u64),
            json!(-7),
        ][number]
            .clone()
    };
    let columns = [
        beside("JSON"),
        beside("TEXT"),
        beside("LONGTEXT"),
        beside("LONGBLOB"),
        beside("VARBINARY(200)"),
        key("VARCHAR(200) COLLATE utf8mb4_bin"),
    ];
    try_all! {
        json [Json(value(0)), Json(value(1)), Json(value(2)), Json(value(3)), Json(value(4))] in columns;
        json_value [value(0), value(1), value(2), value(3), value(4)] in columns;
        json_value [json!({"é": "ÿ"}), json!(null)] in [beside("TEXT CHARACTER SET latin1")];
    }
}

/// MariaDB's own types are stored as an INSERT stores them.
///
/// They are sent as text.
#[tokio::test(flavor = "multi_thread")]
async fn types_of_mariadb_are_stored_as_an_insert_stores_them() {
    let id = |number| uuid::Uuid::from_u128(number).hyphenated();
    if with_tables(1, &[]).await.server.is_mysql() {
        return;
    }
    try_all! {
        text ["::".into(), "::1".into(), "2001:db8::ff00:42:8329".into()] in [key("INET6")];
        text ["127.0.0.1".into(), "255.255.255.255".into()] in [key("INET4")];
        text ["00000000-0000-0000-0000-000000000001".into(), "123e4567-e89b-12d3-a456-426655440000".into()] in [key("UUID")];
        uuid_hyphenated [id(1), id(u128::MAX)] in [key("UUID")];
        text ["123E4567E89B12D3A456426655440000".into()] in [lossy("UUID")];
    }
}
