//! `verify`: everything that is wrong with a table, in one error.

use upsertable::{Error, Problem, Upsertable};

use crate::{in_memory, run};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "songs")]
#[unique(title, artist)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    title: String,
    artist: i64,
    #[sqlx(rename = "length in s")]
    length: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "artists")]
#[unique(id)]
struct Artist {
    id: i64,
    name: String,
}

const GOOD: &str = r#"CREATE TABLE songs (id INTEGER PRIMARY KEY, title TEXT NOT NULL, artist BIGINT NOT NULL, "length in s" REAL,
    UNIQUE (artist, title))"#;

async fn problems(statements: &[&str]) -> Vec<Problem> {
    let pool = in_memory(statements).await;
    match Song::verify(&pool).await {
        Err(Error::Schema { model, problems, .. }) => {
            assert_eq!(model, "Song");
            problems
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_table_that_is_as_the_model_needs_it_has_no_warnings() {
    let pool = in_memory(&[GOOD]).await;
    assert_eq!(Song::verify(&pool).await.unwrap().warnings, []);
    let mut tx = upsertable::begin(&pool).await.unwrap();
    assert_eq!(Song::verify(&mut tx).await.unwrap().warnings, []);
}

#[tokio::test]
async fn a_missing_table() {
    let found = problems(&[]).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].what.contains("no table \"songs\""), "{}", found[0]);
}

#[tokio::test]
async fn everything_is_told_at_once_and_the_sql_puts_it_right() {
    let table = "CREATE TABLE songs (id INTEGER PRIMARY KEY, title TEXT NOT NULL, artist BIGINT NOT NULL)";
    let found = problems(&[table]).await;
    assert_eq!(found.len(), 2, "{found:#?}");
    let pool = in_memory(&[table]).await;
    for problem in found {
        let fix = problem.fix.unwrap_or_else(|| panic!("no fix for: {}", problem.what));
        run(&pool, &fix).await;
    }
    Song::verify(&pool).await.unwrap();
}

#[tokio::test]
async fn duplicates_in_the_way_of_the_index_are_counted_and_listed() {
    let pool = in_memory(&[
        r#"CREATE TABLE songs (id INTEGER PRIMARY KEY, title TEXT NOT NULL, artist BIGINT NOT NULL, "length in s" REAL)"#,
        "INSERT INTO songs (title, artist) VALUES ('a', 1), ('a', 1), ('a', 2), ('b', 1), ('b', 1), ('b', 1)",
    ])
    .await;
    let Err(Error::Schema { problems, .. }) = Song::verify(&pool).await else { panic!("the index is missing") };
    let what = &problems[0].what;
    assert!(what.contains("2 keys stand in its way"), "{what}");
    let list = &what[what.find("SELECT").unwrap()..];
    let listed: Vec<(String, i64, i64)> =
        sqlx::query_as(sqlx::AssertSqlSafe(list.to_owned())).fetch_all(&pool).await.unwrap();
    assert_eq!(listed, [("a".to_owned(), 1, 2), ("b".to_owned(), 1, 3)]);
    assert!(!what.contains('7'), "no value of a row is told");
}

#[tokio::test]
async fn an_index_that_does_not_count_is_told_with_the_reason() {
    let found = problems(&[
        r#"CREATE TABLE songs (id INTEGER PRIMARY KEY, title TEXT NOT NULL, artist BIGINT NOT NULL, "length in s" REAL)"#,
        "CREATE UNIQUE INDEX half ON songs (title, artist) WHERE artist > 0",
        "CREATE UNIQUE INDEX more ON songs (title, artist, id)",
        "CREATE INDEX plain ON songs (title, artist)",
    ])
    .await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].what.contains("half does not count: it is partial"), "{}", found[0]);
}

#[tokio::test]
async fn columns_that_cannot_hold_or_be_left_out() {
    let found = problems(&[r#"CREATE TABLE songs (id TEXT PRIMARY KEY, title TEXT NOT NULL, artist TEXT NOT NULL,
        "length in s" REAL NOT NULL, label TEXT NOT NULL, UNIQUE (title, artist))"#])
    .await;
    let told: Vec<&str> = found.iter().map(|problem| problem.what.as_str()).collect();
    for part in [
        "column id is `generated`",
        "column artist: it is declared TEXT",
        "column length in s is NOT NULL",
        "column label is NOT NULL",
    ] {
        assert!(told.iter().any(|what| what.contains(part)), "{part}: {told:#?}");
    }
}

#[tokio::test]
async fn what_only_may_surprise_is_a_warning() {
    let pool = in_memory(&[
        r#"CREATE TABLE songs (id INTEGER PRIMARY KEY, title TEXT NOT NULL, artist BIGINT, "length in s" INTEGER,
        UNIQUE (title, artist))"#,
    ])
    .await;
    let warnings = Song::verify(&pool).await.unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(warnings[0].what.contains("column artist can be NULL"));
    assert!(warnings[1].what.contains("column length in s: it is declared INTEGER"));
}

#[tokio::test]
async fn a_key_that_is_the_row_id_has_no_index_and_needs_none() {
    let pool = in_memory(&["CREATE TABLE artists (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"]).await;
    assert_eq!(Artist::verify(&pool).await.unwrap().warnings, []);
}

#[tokio::test]
async fn several_models_in_one_error() {
    let pool = in_memory(&["CREATE TABLE artists (id INTEGER, name TEXT NOT NULL)"]).await;
    let Err(Error::Schema { problems, .. }) = upsertable::verify_all!(&pool; Song, Artist).await else { panic!() };
    let told: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("Song: ") && told[1].starts_with("Artist: "), "{told:#?}");
    let both = in_memory(&[GOOD, "CREATE TABLE artists (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"]).await;
    upsertable::verify_all!(&both; Song, Artist).await.unwrap();
}
