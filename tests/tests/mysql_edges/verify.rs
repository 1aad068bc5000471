//! `verify` against the server's catalogue.
//!
//! What it says holds, and the SQL that it gives puts things right.

use sqlx::{AssertSqlSafe, MySqlPool, types::Json};
use upsertable::{Error, Problem, Upsertable};
use upsertable_tests::{
    Fixture, OnMySql,
    models::{Setting, Word},
};

use crate::{CALLS, PEOPLE, Person, call, number, person, run, with_tables};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "songs")]
#[unique(title, artist)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    title: String,
    artist: i64,
    #[sqlx(rename = "length `in` s")]
    length: Option<f64>,
    lyrics: Option<String>,
}

fn song(title: &str, artist: i64) -> NewSong {
    NewSong { title: title.into(), artist, length: None, lyrics: None }
}

const ID: &str = "id BIGINT AUTO_INCREMENT PRIMARY KEY";
const TITLE: &str = "title VARCHAR(100) NOT NULL";
const REST: &str = "artist BIGINT NOT NULL, `length ``in`` s` DOUBLE, lyrics LONGTEXT";

fn problems(outcome: Result<upsertable::Verified, Error>) -> Vec<Problem> {
    match outcome {
        Err(Error::Schema { problems, .. }) => problems,
        other => panic!("{other:?}"),
    }
}

fn told(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.what.as_str()).collect()
}

/// Runs all suggested SQL, which leaves nothing to complain of.
async fn put_right(pool: &MySqlPool, problems: Vec<Problem>) {
    for problem in problems {
        run(pool, &problem.fix.unwrap_or_else(|| panic!("no SQL for: {}", problem.what))).await;
    }
    Song::verify(pool).await.unwrap();
}

async fn assert_calls_work(db: &Fixture<OnMySql>) {
    assert!(Song::get_or_create(&db.pool, song("a", 1)).await.unwrap().created);
    assert!(!Song::upsert(&db.pool, song("a", 1)).await.unwrap().created);
    assert_eq!(Song::bulk_create_new(&db.pool, [song("a", 1), song("b", 1)]).await.unwrap().created, 1);
    assert_eq!(Song::bulk_upsert(&db.pool, [song("a", 1), song("b", 2)]).await.unwrap().updated, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_as_the_model_needs_it_is_verified_on_every_handle() {
    let db = with_tables(1, &[&format!("CREATE TABLE songs ({ID}, {TITLE}, {REST}, UNIQUE (artist, title))")]).await;
    let warnings = Song::verify(&db.pool).await.unwrap().warnings;
    assert_eq!(told(&warnings), ["column title: it is declared varchar(100), which holds no more than 100 characters"]);
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    Song::verify(&mut tx).await.unwrap();
    tx.rollback().await.unwrap();
    Song::verify(&mut *db.pool.acquire().await.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_told_and_the_transaction_goes_on() {
    #[derive(Debug, sqlx::FromRow, Upsertable)]
    #[upsertable(schema = "no such schema", table = "songs")]
    #[unique(id)]
    struct Elsewhere {
        id: i64,
    }
    let db = with_tables(1, &[]).await;
    let mut tx = upsertable::begin(&db.pool).await.unwrap();
    assert_eq!(told(&problems(Song::verify(&mut tx).await)), ["there is no table `songs`"]);
    assert_eq!(told(&problems(Elsewhere::verify(&mut tx).await)), ["there is no table `no such schema`.`songs`"]);
    assert!(Word::get_or_create(&mut tx, Word { word: "on".into() }).await.unwrap().created);
    tx.commit().await.unwrap();
    assert_eq!(db.count("words").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_told_at_once_and_the_sql_puts_it_right() {
    let tables = [
        ID.to_owned(),
        format!("{ID}, {TITLE}"),
        format!("{ID}, {TITLE}, artist BIGINT NOT NULL, INDEX (title, artist), UNIQUE (title, artist, id)"),
        format!("{ID}, {TITLE}, {REST}, UNIQUE (title(10), artist)"),
        format!("{ID}, {TITLE}, {REST}, UNIQUE (title, id), UNIQUE (artist, id)"),
        format!(
            "{ID}, title VARCHAR(100) COLLATE utf8mb4_bin NOT NULL, {}",
            REST.replace("LONGTEXT", "LONGTEXT NOT NULL")
        ),
    ];
    for table in tables {
        let db = with_tables(1, &[&format!("CREATE TABLE songs ({table})")]).await;
        put_right(&db.pool, problems(Song::verify(&db.pool).await)).await;
        assert_calls_work(&db).await;
    }
}

/// The SQL that makes a column nullable changes nothing else.
///
/// What `MODIFY` is not told, it forgets: a key that compares otherwise is another key.
#[tokio::test(flavor = "multi_thread")]
async fn the_sql_that_lets_a_column_be_null_leaves_the_rest_of_it_as_it_was() {
    let create = |lyrics: &str| {
        let rest = REST.replace("LONGTEXT", lyrics);
        format!("CREATE TABLE songs ({ID}, {TITLE}, {rest}, UNIQUE (title, artist))")
    };
    let db = with_tables(1, &[&create("VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL")]).await;
    put_right(&db.pool, problems(Song::verify(&db.pool).await)).await;
    let same = "SELECT count(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'songs' \
                AND column_name = 'lyrics' AND column_type = 'varchar(9)' AND collation_name = 'latin1_bin' AND is_nullable = 'YES'";
    assert_eq!(number(&db.pool, same).await, 1);
    for lost in
        ["LONGTEXT NOT NULL COMMENT 'x'", "VARCHAR(9) NOT NULL DEFAULT 'x'", "LONGTEXT NOT NULL CHECK (lyrics <> '')"]
    {
        run(&db.pool, "DROP TABLE songs").await;
        run(&db.pool, &create(lost)).await;
        let found = problems(Song::verify(&db.pool).await);
        assert!(found.len() == 1 && found[0].fix.is_none() && found[0].what.contains("is NOT NULL"), "{found:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_does_not_count_is_told_with_the_reason() {
    let indexes = "UNIQUE first (title(10), artist), UNIQUE more (title, artist, id), INDEX plain (title, artist)";
    let db = with_tables(1, &[&format!("CREATE TABLE songs ({ID}, {TITLE}, {REST}, {indexes})")]).await;
    let found = problems(Song::verify(&db.pool).await);
    assert_eq!(
        told(&found),
        [
            "there is no unique index on (title, artist); first does not count: it covers only the first 10 characters of title"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_in_the_way_of_the_index_are_counted_and_listed_as_the_column_compares() {
    let db = with_tables(1, &[&format!("CREATE TABLE songs ({ID}, {TITLE}, {REST})")]).await;
    // Spaces at the end count in MySQL's default collation.
    let alike = if db.server.is_mysql() { "A" } else { "A " };
    let rows = format!("('a', 71), ('{alike}', 71), ('a', 72), ('b', 71), ('b', 71), ('b', 71)");
    run(&db.pool, &format!("INSERT INTO songs (title, artist) VALUES {rows}")).await;
    let found = problems(Song::verify(&db.pool).await);
    let what = &found[0].what;
    assert!(what.contains("2 keys stand in its way"), "{what}");
    assert!(!what.contains('7'), "no value of a row is told: {what}");
    let list = AssertSqlSafe(what[what.find("SELECT").unwrap()..].to_owned());
    let mut listed: Vec<i64> = sqlx::query_as::<_, (String, i64, i64)>(list)
        .fetch_all(&db.pool)
        .await
        .unwrap()
        .iter()
        .map(|row| row.2)
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, [2, 3]);
    run(&db.pool, "DELETE FROM songs WHERE id > 1").await;
    put_right(&db.pool, found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_an_insert_cannot_give_or_leave_out() {
    let table = "id BIGINT PRIMARY KEY, title VARCHAR(100) AS (CONCAT(artist)) STORED, artist BIGINT NOT NULL, `length ``in`` s` DOUBLE, \
                 lyrics LONGTEXT, label LONGTEXT NOT NULL, kept BIGINT NOT NULL DEFAULT 1, made BIGINT AS (artist + 1), \
                 at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, free BIGINT, word VARCHAR(9) NOT NULL DEFAULT 'NULL', UNIQUE (title, artist)";
    let db = with_tables(1, &[&format!("CREATE TABLE songs ({table})")]).await;
    assert_eq!(
        told(&problems(Song::verify(&db.pool).await)),
        [
            "column id is `generated` in the model, and the database has nothing to fill it with",
            "column title is computed by the database, and the field `title` is not `generated`",
            "column label is NOT NULL without a default, and the model does not supply it",
        ]
    );
    run(&db.pool, "DROP TABLE songs").await;
    run(&db.pool, &format!("CREATE TABLE songs ({ID}, title BIGINT NOT NULL, {REST}, UNIQUE (title, artist))")).await;
    let found = problems(Song::verify(&db.pool).await);
    let bigint = if db.server.is_mysql() { "bigint" } else { "bigint(20)" };
    assert_eq!(
        told(&found),
        [format!("column title: it is declared {bigint}, from which sqlx reads no field of VARCHAR")]
    );
}

/// A default of NULL fills nothing.
///
/// A column that is `generated` and can be NULL has nothing to fill it with: its default is no value.
#[tokio::test(flavor = "multi_thread")]
async fn a_default_of_null_fills_nothing() {
    let table = "id BIGINT UNIQUE, title VARCHAR(100) NOT NULL";
    let db = with_tables(1, &[&format!("CREATE TABLE songs ({table}, {REST}, UNIQUE (title, artist))")]).await;
    let found = problems(Song::verify(&db.pool).await);
    assert_eq!(told(&found), ["column id is `generated` in the model, and the database has nothing to fill it with"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_and_a_temporary_table_are_told_for_what_they_are() {
    let db =
        with_tables(1, &[&format!("CREATE TABLE real_songs ({ID}, {TITLE}, {REST}, UNIQUE (title, artist))")]).await;
    run(&db.pool, "CREATE VIEW songs AS SELECT * FROM real_songs").await;
    let found = problems(Song::verify(&db.pool).await);
    assert!(found.len() == 1 && found[0].fix.is_none() && found[0].what.starts_with("`songs` is a view"), "{found:#?}");
    let refused = Song::get_or_create(&db.pool, song("a", 1)).await.unwrap_err();
    assert!(matches!(refused, Error::MissingUniqueIndex { .. }), "{refused}");
    run(&db.pool, "DROP VIEW songs").await;
    for hidden in [false, true] {
        if hidden {
            run(&db.pool, "CREATE TABLE songs LIKE real_songs").await;
            Song::verify(&db.pool).await.unwrap();
        }
        run(&db.pool, "CREATE TEMPORARY TABLE songs LIKE real_songs").await;
        let found = problems(Song::verify(&db.pool).await);
        assert!(found.len() == 1 && found[0].what.starts_with("`songs` is a temporary table"), "{hidden}: {found:#?}");
        run(&db.pool, "DROP TEMPORARY TABLE songs").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_is_like_any_other() {
    let partitioned = format!(
        "CREATE TABLE songs (id BIGINT AUTO_INCREMENT, {TITLE}, {REST}, UNIQUE (title, artist), INDEX (id)) PARTITION BY HASH (artist) PARTITIONS 4"
    );
    let db = with_tables(1, &[&partitioned]).await;
    Song::verify(&db.pool).await.unwrap();
    assert_calls_work(&db).await;
}

/// An ignored index counts, and no call depends on it.
///
/// It keeps its key unique, and a query that is told to use it fails.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_queries_ignore_counts_and_no_call_depends_on_it() {
    let db = with_tables(1, &[PEOPLE]).await;
    if sqlx::query("ALTER TABLE people ALTER INDEX email IGNORED").execute(&db.pool).await.is_err() {
        run(&db.pool, "ALTER TABLE people ALTER INDEX email INVISIBLE").await;
    }
    Person::verify(&db.pool).await.unwrap();
    for name in CALLS {
        run(&db.pool, "DELETE FROM people").await;
        Person::get_or_create(&db.pool, person("known", 1)).await.unwrap();
        call(name, &db.pool).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut tx = upsertable::begin(&db.pool).await.unwrap();
        call(name, &mut tx).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        tx.commit().await.unwrap();
        let expected = if name.starts_with("find") || name == "upsert" { 1 } else { 2 };
        assert_eq!(number(&db.pool, "SELECT count(*) FROM people").await, expected, "{name}");
    }
    run(&db.pool, "ALTER TABLE people ADD UNIQUE INDEX a_second (email)").await;
    call("bulk_upsert", &db.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn null_matches_null_on_no_table() {
    let db = with_tables(1, &[]).await;
    let found = problems(Setting::verify(&db.pool).await);
    assert!(found.iter().any(|problem| problem.fix.is_none() && problem.what.contains("PostgreSQL 15")), "{found:#?}");
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "a_table_whose_name_is_as_long_as_the_server_allows_a_name_to_be_")]
#[unique(first_column_of_the_key, second_column_of_the_key)]
struct LongName {
    first_column_of_the_key: i64,
    second_column_of_the_key: i64,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_a_table_with_a_long_name_gets_a_name_that_is_allowed() {
    let name = "a_table_whose_name_is_as_long_as_the_server_allows_a_name_to_be_";
    let db = with_tables(1, &[&format!("CREATE TABLE {name} (first_column_of_the_key BIGINT NOT NULL)")]).await;
    for problem in problems(LongName::verify(&db.pool).await) {
        run(&db.pool, &problem.fix.unwrap()).await;
    }
    assert_eq!(LongName::verify(&db.pool).await.unwrap().warnings, []);
}

/// Names of columns are compared as the server compares them.
///
/// The server takes names that differ in case for one.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_columns_are_compared_as_the_server_compares_them() {
    #[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
    #[upsertable(table = "shouted")]
    #[unique(été)]
    struct Shouted {
        été: i64,
        hiver: i64,
    }
    let db = with_tables(1, &["CREATE TABLE shouted (`ÉTÉ` BIGINT PRIMARY KEY, HIVER BIGINT NOT NULL)"]).await;
    assert_eq!(Shouted::verify(&db.pool).await.unwrap().warnings, []);
    assert_eq!(Shouted::bulk_create_new(&db.pool, [Shouted { été: 1, hiver: 2 }]).await.unwrap().created, 1);
}

#[derive(Debug, Clone, PartialEq, sqlx::Type)]
#[sqlx(rename_all = "snake_case")]
enum Mood {
    Calm,
}

/// Types for a table's one column `v`, each with a value.
const COLUMNS: [(&str, &str); 29] = [
    ("TINYINT", "1"),
    ("BIGINT", "1"),
    ("INT UNSIGNED", "1"),
    ("BIGINT UNSIGNED", "1"),
    ("BIT(8)", "b'1'"),
    ("YEAR", "1999"),
    ("FLOAT", "1"),
    ("DOUBLE", "1"),
    ("DECIMAL(65,30)", "1"),
    ("CHAR(36)", "'1'"),
    ("VARCHAR(9)", "'1'"),
    ("TINYTEXT", "'1'"),
    ("LONGTEXT", "'1'"),
    ("LONGTEXT CHARACTER SET latin1", "'1'"),
    ("SET('1')", "'1'"),
    ("ENUM('calm')", "'calm'"),
    ("BINARY(1)", "'1'"),
    ("VARBINARY(9)", "'1'"),
    ("TINYBLOB", "'1'"),
    ("LONGBLOB", "'1'"),
    ("JSON", "'1'"),
    ("DATE", "'2001-02-03'"),
    ("TIME", "'04:05:06'"),
    ("TIME(6)", "'04:05:06'"),
    ("DATETIME", "'2001-02-03 04:05:06'"),
    ("DATETIME(6)", "'2001-02-03 04:05:06'"),
    ("TIMESTAMP", "'2001-02-03 04:05:06'"),
    ("TIMESTAMP(6)", "'2001-02-03 04:05:06'"),
    ("REAL", "1"),
];

macro_rules! reads {
    ($($test:ident: $field:ty),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            #[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
            #[upsertable(table = "one")]
            #[unique(k)]
            struct One {
                k: i64,
                v: $field,
            }
            let db = with_tables(1, &[]).await;
            let mut refused = 0;
            for (declared, value) in COLUMNS {
                // Filled later, so that sqlx does not take it for one without a default.
                run(&db.pool, "DROP TABLE IF EXISTS one").await;
                run(&db.pool, &format!("CREATE TABLE one (k BIGINT PRIMARY KEY, v {declared} NULL)")).await;
                run(&db.pool, &format!("INSERT INTO one VALUES (1, {value})")).await;
                let verified = One::verify(&db.pool).await;
                let found = One::find(&db.pool, OneKey { k: 1 }).await;
                refused += usize::from(verified.is_err());
                assert_eq!(verified.is_ok(), found.is_ok(), "{declared}: {verified:?}, {found:?}");
            }
            assert!((1..COLUMNS.len()).contains(&refused), "{refused}");
        }
    )+};
}

// Each says by verifying what the driver then does.
reads! {
    verify_knows_what_is_read_as_bool: bool,
    verify_knows_what_is_read_as_i8: i8,
    verify_knows_what_is_read_as_i64: i64,
    verify_knows_what_is_read_as_u64: u64,
    verify_knows_what_is_read_as_f32: f32,
    verify_knows_what_is_read_as_f64: f64,
    verify_knows_what_is_read_as_text: String,
    verify_knows_what_is_read_as_bytes: Vec<u8>,
    verify_knows_what_is_read_as_json: Json<i64>,
    verify_knows_what_is_read_as_an_enum: Mood,
    verify_knows_what_is_read_as_a_date: chrono::NaiveDate,
    verify_knows_what_is_read_as_a_time: chrono::NaiveTime,
    verify_knows_what_is_read_as_a_moment: chrono::DateTime<chrono::Utc>,
    verify_knows_what_is_read_as_a_local_time: chrono::NaiveDateTime,
    verify_knows_what_is_read_as_a_decimal: sqlx::types::BigDecimal,
}
