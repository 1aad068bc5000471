//! Settings of a connection, which change no result.
//!
//! The calls give right answers, or an error that names the setting.

use std::fmt::Write as _;

use sqlx::{
    AssertSqlSafe, Executor as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tempfile::TempDir;
use upsertable::{Error, Outcome, Upsertable};

use crate::number;

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "items")]
#[unique(code, kind)]
struct Item {
    #[upsertable(generated)]
    id: i64,
    code: String,
    kind: i64,
    weight: f64,
    note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "counted")]
#[unique(k)]
struct Counted {
    k: i64,
    parent: Option<i64>,
}

fn item(number: i64, weight: f64) -> NewItem {
    NewItem {
        code: format!("Code_%{number}"),
        kind: number % 3,
        weight,
        note: (number % 2 == 0).then(|| format!("n {number}")),
    }
}

fn items(numbers: std::ops::Range<i64>, weight: f64) -> Vec<NewItem> {
    numbers.map(|number| item(number, weight)).collect()
}

fn counted(numbers: std::ops::Range<i64>) -> impl Iterator<Item = Counted> + Clone {
    numbers.map(|k| Counted { k, parent: (k > 0).then_some(k - 1) })
}

/// Makes every kind of call, with few and many rows.
///
/// The rows are known and new.
async fn work(pool: &SqlitePool, told: &mut String) -> Result<(), Error> {
    let outcome = |outcome: Outcome<Item>| (outcome.row.code, outcome.row.weight, outcome.row.note, outcome.created);
    for number in [1, 1] {
        let _ = writeln!(told, "{:?}", outcome(Item::get_or_create(pool, item(number, 0.1)).await?));
    }
    let made =
        Item::get_or_create_with(pool, ItemKey { code: "with".into(), kind: 1 }, async || Ok::<_, Error>(item(7, 1.0)));
    let _ = writeln!(told, "{:?}", outcome(made.await?));
    let _ = writeln!(told, "{:?}", outcome(Item::upsert(pool, item(1, 0.25)).await?));
    let _ = writeln!(told, "{:?}", outcome(Item::upsert(pool, item(2, 0.25)).await?));
    let _ = writeln!(told, "{:?}", Item::bulk_create_new(pool, items(0..60, 1.5)).await?);
    let all = Item::bulk_get_or_create(pool, items(40..100, 2.5)).await?;
    let _ = writeln!(told, "{:?}", all.into_iter().map(outcome).collect::<Vec<_>>());
    let _ = writeln!(told, "{:?}", Item::bulk_upsert(pool, items(80..140, 3.5)).await?);
    let found =
        Item::find_all(pool, items(0..160, 0.0).into_iter().map(|one| ItemKey { code: one.code, kind: one.kind }))
            .await?;
    let _ = writeln!(told, "{:?}", found.iter().map(|row| row.as_ref().map(|row| row.weight)).collect::<Vec<_>>());
    let _ = writeln!(told, "{:?}", Counted::bulk_create_new(pool, counted(0..2_000)).await?);
    let _ = writeln!(told, "{:?}", Counted::bulk_create_new(pool, counted(1_500..3_000)).await?);
    let _ = writeln!(told, "{:?}", Counted::bulk_create_new(pool, counted(2_990..2_999)).await?);
    let mut tx = upsertable::begin(pool).await?;
    let _ = writeln!(told, "{:?}", Item::bulk_upsert(&mut tx, items(120..160, 4.5)).await?);
    let _ = writeln!(told, "{:?}", outcome(Item::get_or_create(&mut tx, item(900, 4.5)).await?));
    tx.commit().await?;
    let done = Item::batches(pool)
        .filter("weight < ?")
        .bind(2.0)
        .size(7)
        .run(async |tx, item: Item| {
            sqlx::query("UPDATE items SET weight = 9 WHERE id = $1").bind(item.id).execute(&mut **tx).await.map(drop)
        })
        .await?;
    let _ = writeln!(told, "{} {} {}", done.done, done.failed, done.left);
    let _ = writeln!(told, "{:?}", Item::verify(pool).await?);
    Ok(())
}

const CREATE: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, code TEXT NOT NULL, kind INTEGER NOT NULL, weight REAL NOT NULL CHECK (weight > 0), \
                      note TEXT, UNIQUE (code, kind)); \
                      CREATE TABLE counted (k INTEGER NOT NULL UNIQUE, parent INTEGER REFERENCES counted (k)); \
                      CREATE TABLE log (code TEXT PRIMARY KEY); \
                      CREATE TRIGGER noted AFTER INSERT ON log BEGIN SELECT 1; END";
const ROWS: &str = "SELECT code || ' ' || kind || ' ' || weight || ' ' || coalesce(note, '') FROM items ORDER BY code";

/// Results of the calls, and stored rows, with this setting.
///
/// It is that of the connections.
async fn tried(setting: Option<(&str, &str)>, triggers: bool) -> (String, Vec<String>, Option<Error>) {
    let home = TempDir::new().unwrap();
    let options = SqliteConnectOptions::new().filename(home.path().join("settings.db")).create_if_missing(true);
    let plain = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.unwrap();
    plain.execute(CREATE).await.unwrap();
    if triggers {
        let noted = "CREATE TRIGGER kept AFTER INSERT ON items BEGIN INSERT OR IGNORE INTO log VALUES (NEW.kind); END";
        plain.execute(noted).await.unwrap();
    }
    plain.close().await;
    let set = setting.map(|(name, value)| format!("PRAGMA {name} = {value}"));
    let pool = SqlitePoolOptions::new()
        .max_connections(2)
        .after_connect(move |conn, _| {
            let set = set.clone();
            Box::pin(async move {
                if let Some(set) = set {
                    conn.execute(AssertSqlSafe(set)).await?;
                }
                Ok(())
            })
        })
        .connect_with(options.clone())
        .await
        .unwrap();
    let mut told = String::new();
    let error = work(&pool, &mut told).await.err();
    let left = number(&pool, "SELECT count(*) FROM temp.sqlite_schema").await;
    assert_eq!(left, 0, "{setting:?}");
    pool.close().await;
    let plain = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let rows = sqlx::query_scalar(ROWS).fetch_all(&plain).await.unwrap();
    plain.close().await;
    (told, rows, error)
}

/// Settings of a connection, with values.
///
/// Limits of memory count for the whole process, so they are wide.
const SETTINGS: &[(&str, &[&str])] = &[
    ("analysis_limit", &["1"]),
    ("auto_vacuum", &["0", "1", "2"]),
    ("automatic_index", &["0", "1"]),
    ("busy_timeout", &["0", "100"]),
    ("cache_size", &["1", "-1", "0", "100000"]),
    ("cache_spill", &["0", "1"]),
    ("case_sensitive_like", &["0", "1"]),
    ("cell_size_check", &["1"]),
    ("checkpoint_fullfsync", &["1"]),
    ("count_changes", &["0", "1"]),
    ("default_cache_size", &["1"]),
    ("defer_foreign_keys", &["0", "1"]),
    ("empty_result_callbacks", &["0", "1"]),
    ("foreign_keys", &["0", "1"]),
    ("full_column_names", &["0", "1"]),
    ("fullfsync", &["1"]),
    ("hard_heap_limit", &["4000000000"]),
    ("ignore_check_constraints", &["0", "1"]),
    ("journal_mode", &["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF"]),
    ("journal_size_limit", &["0"]),
    ("legacy_alter_table", &["0", "1"]),
    ("locking_mode", &["NORMAL"]),
    ("mmap_size", &["0", "10000000"]),
    ("query_only", &["0", "1"]),
    ("read_uncommitted", &["0", "1"]),
    ("recursive_triggers", &["0", "1"]),
    ("reverse_unordered_selects", &["0", "1"]),
    ("secure_delete", &["0", "1", "FAST"]),
    ("short_column_names", &["0", "1"]),
    ("soft_heap_limit", &["1000000"]),
    ("synchronous", &["0", "1", "2", "3"]),
    ("temp_store", &["0", "1", "2"]),
    ("threads", &["0", "4"]),
    ("trusted_schema", &["0", "1"]),
    ("wal_autocheckpoint", &["1"]),
    ("writable_schema", &["0", "1"]),
];

/// Pragmas that are no settings of a connection.
///
/// They say something, do something, or belong to the file.
const NO_SETTINGS: &[&str] = &[
    "application_id",
    "collation_list",
    "compile_options",
    "data_version",
    "database_list",
    "encoding",
    "foreign_key_check",
    "foreign_key_list",
    "freelist_count",
    "function_list",
    "incremental_vacuum",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "max_page_count",
    "module_list",
    "optimize",
    "page_count",
    "page_size",
    "pragma_list",
    "quick_check",
    "schema_version",
    "shrink_memory",
    "table_info",
    "table_list",
    "table_xinfo",
    "temp_store_directory",
    "user_version",
    "wal_checkpoint",
];

#[tokio::test(flavor = "multi_thread")]
async fn b9_no_setting_of_a_connection_changes_what_a_call_does() {
    let mut wrong = Vec::new();
    for triggers in [false, true] {
        let (told, rows, error) = tried(None, triggers).await;
        assert!(error.is_none() && rows.len() == 162, "{error:?} {} {told}", rows.len());
        for (name, values) in SETTINGS {
            for value in *values {
                let (now_told, now_rows, error) = tried(Some((name, value)), triggers).await;
                let when = format!("{name} = {value}, triggers: {triggers}");
                match error {
                    None if now_told == told && now_rows == rows => {}
                    None => {
                        let line = told.lines().zip(now_told.lines()).find(|(one, other)| one != other);
                        wrong.push(format!("{when}: another result: {line:?}"));
                    }
                    Some(error) if matches!(error, Error::Unsupported { .. }) && error.to_string().contains(name) => {}
                    Some(error) => wrong.push(format!("{when}: {error}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every pragma is tried or known to be no setting.
///
/// The list of settings is the library's own.
#[tokio::test]
async fn b9_every_pragma_is_tried_or_known_to_be_no_setting() {
    let pool = crate::in_memory(&[]).await;
    let all: Vec<String> =
        sqlx::query_scalar("SELECT name FROM pragma_pragma_list ORDER BY name").fetch_all(&pool).await.unwrap();
    let known =
        |name: &String| NO_SETTINGS.contains(&name.as_str()) || SETTINGS.iter().any(|(setting, _)| setting == name);
    let unknown: Vec<&String> = all.iter().filter(|name| !known(name)).collect();
    assert!(all.len() > 50 && unknown.is_empty(), "{unknown:?}");
}
