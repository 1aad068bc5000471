//! Settings of a connection, which change no result.
//!
//! The calls give right answers, or an error that names the setting.

use sqlx::{
    Executor as _,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tempfile::TempDir;
use upsertable::Error;
use upsertable_tests::{
    OnSqlite,
    settings::{ITEMS, every_call, pool_set_to},
};

use crate::number;

const CREATE: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, code TEXT NOT NULL, kind INTEGER NOT NULL, weight REAL NOT NULL CHECK (weight > 0), \
                      note TEXT, UNIQUE (code, kind)); \
                      CREATE TABLE numbers (k INTEGER NOT NULL UNIQUE, parent INTEGER REFERENCES numbers (k)); \
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
    let set = setting.map_or("SELECT 1".to_owned(), |(name, value)| format!("PRAGMA {name} = {value}"));
    let pool = pool_set_to(&options, 2, &set).await.unwrap();
    let mut told = String::new();
    let error = every_call::<OnSqlite>(&pool, str::to_owned, &mut told).await.err();
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
        assert!(error.is_none() && rows.len() == ITEMS, "{error:?} {} {told}", rows.len());
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
