//! Settings that a session may have.
//!
//! A call gives what it gives by default, or an error that names the setting. Nothing between the two.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, MySql, MySqlPool};
use upsertable::{Error, Handle, Transaction, Upsertable};

use crate::{run, with_tables};

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "things")]
#[unique(name)]
struct Thing {
    #[upsertable(generated)]
    id: i64,
    name: String,
    at: chrono::DateTime<chrono::Utc>,
    amount: sqlx::types::Decimal,
    ratio: f64,
    count: u64,
    note: String,
}

const THINGS: &str = "CREATE TABLE things (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(700) NOT NULL UNIQUE, \
    at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), amount DECIMAL(20, 6) NOT NULL, ratio DOUBLE NOT NULL, \
    count BIGINT UNSIGNED NOT NULL, note LONGTEXT NOT NULL) DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin";

/// A row whose number the caller gives.
///
/// The table would else count it.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "numbered")]
#[unique(id)]
struct Numbered {
    id: i64,
    label: String,
}

const NUMBERED: &str = "CREATE TABLE numbered (id BIGINT AUTO_INCREMENT PRIMARY KEY, label LONGTEXT NOT NULL)";

fn thing(number: u32, note: &str) -> NewThing {
    NewThing {
        name: format!("{}'\\ {number}", "long ".repeat(if number.is_multiple_of(2) { 20 } else { 1 })),
        at: chrono::DateTime::from_timestamp(1_700_000_000 + i64::from(number), 123_456_000).unwrap(),
        amount: sqlx::types::Decimal::new(i64::from(number) * 1_234_567, 6),
        ratio: 1.0 / f64::from(number + 1),
        count: u64::MAX - u64::from(number),
        note: format!("{note}\\'\"\n{number} "),
    }
}

fn numbered(number: u32, label: &str) -> Numbered {
    Numbered { id: i64::from(number) + 1, label: label.into() }
}

/// Rows below this number are there before, if even.
const KNOWN: u32 = 80;

fn known() -> impl Iterator<Item = u32> {
    (0..KNOWN).step_by(2)
}

/// Numbers of a call's rows.
///
/// One known, one new, one new that comes twice; and many.
fn numbers(call: &str) -> Vec<u32> {
    if call.ends_with("few") { vec![6, 3, 5, 3, 8] } else { (0..KNOWN + 20).rev().chain([7, 8, 9]).collect() }
}

const CALLS: [&str; 14] = [
    "find",
    "find_all",
    "get_or_create",
    "upsert",
    "bulk_create_new few",
    "bulk_get_or_create few",
    "bulk_upsert few",
    "bulk_create_new",
    "bulk_get_or_create",
    "bulk_upsert",
    "numbered get_or_create",
    "numbered bulk_create_new",
    "numbered bulk_get_or_create few",
    "numbered bulk_upsert",
];

fn told<T: std::fmt::Debug>(row: Option<&T>) -> String {
    let text = format!("{row:?}");
    // The ids are the server's own.
    let id = text.find("id: ").filter(|_| !text.contains("label")).map(|at| at..at + text[at..].find(',').unwrap());
    id.map_or_else(|| text.clone(), |id| text.replace(&text[id], ""))
}

/// Makes a call by name, and shows its result.
async fn call<'h, H: Handle<'h, MySql>>(name: &str, db: H) -> Result<String, Error> {
    let key = |number| ThingKey { name: thing(number, "").name };
    let rows =
        || numbers(name).into_iter().enumerate().map(|(place, n)| thing(n, if place % 2 == 0 { "a" } else { "b" }));
    let numbered_rows = || numbers(name).into_iter().map(|number| numbered(number, "new"));
    Ok(match name.split(" few").next().unwrap() {
        "find" => told(Thing::find(db, key(4)).await?.as_ref()),
        "find_all" => {
            let found = Thing::find_all(db, (0..40).map(key)).await?;
            found.iter().map(|row| told(row.as_ref())).collect()
        }
        "get_or_create" => {
            let outcome = Thing::get_or_create(db, thing(7, "new")).await?;
            format!("{} {}", outcome.created, told(Some(&outcome.row)))
        }
        "upsert" => {
            let outcome = Thing::upsert(db, thing(6, "changed")).await?;
            format!("{} {}", outcome.created, told(Some(&outcome.row)))
        }
        "bulk_create_new" => format!("{}", Thing::bulk_create_new(db, rows()).await?),
        "bulk_get_or_create" => {
            let outcomes = Thing::bulk_get_or_create(db, rows()).await?;
            let told = outcomes.iter().map(|outcome| format!("{} {}", outcome.created, told(Some(&outcome.row))));
            told.collect::<Vec<_>>().concat()
        }
        "bulk_upsert" => format!("{}", Thing::bulk_upsert(db, rows()).await?),
        "numbered get_or_create" => format!("{:?}", Numbered::get_or_create(db, numbered(7, "new")).await?),
        "numbered bulk_create_new" => format!("{}", Numbered::bulk_create_new(db, numbered_rows()).await?),
        "numbered bulk_get_or_create" => format!("{:?}", Numbered::bulk_get_or_create(db, numbered_rows()).await?),
        _ => format!("{}", Numbered::bulk_upsert(db, numbered_rows()).await?),
    })
}

/// All that the tables hold, but for the server's own ids.
async fn dump(pool: &MySqlPool) -> String {
    let all = "SELECT CAST(CONCAT_WS('|', HEX(name), at, amount, ratio, count, HEX(note)) AS CHAR) FROM things \
               UNION ALL SELECT CAST(CONCAT_WS('|', id, label) AS CHAR) FROM numbered ORDER BY 1";
    sqlx::query_scalar::<_, String>(all).fetch_all(pool).await.unwrap().join("\n")
}

/// Puts the tables back as they were.
///
/// What locks them still was left open by a call.
async fn fill(pool: &MySqlPool) {
    let mut sql = "SET SESSION lock_wait_timeout = 2, innodb_lock_wait_timeout = 2; BEGIN".to_owned();
    for table in ["things", "numbered"] {
        let _ = write!(sql, "; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM known_{table}");
    }
    sql.push_str("; COMMIT");
    run(pool, &sql).await;
}

/// A pool of one connection with these settings.
pub(crate) async fn pool_set_to(pool: &MySqlPool, settings: &str) -> Result<MySqlPool, sqlx::Error> {
    upsertable_tests::settings::pool_set_to(&*pool.connect_options(), 1, settings).await
}

/// Results of every call on every handle, by its name.
///
/// Each is what the call says and what it leaves.
async fn outcomes(outside: &MySqlPool, pool: &MySqlPool) -> Vec<(String, Result<String, Error>, String)> {
    let mut all = Vec::new();
    for name in CALLS {
        fill(outside).await;
        let said = call(name, pool).await;
        all.push((format!("{name} on a pool"), said, dump(outside).await));
        fill(outside).await;
        let said = async {
            let mut tx: Transaction<MySql> = upsertable::begin(pool).await?;
            let said = call(name, &mut tx).await;
            tx.commit().await?;
            said
        };
        let said = said.await;
        all.push((format!("{name} in a transaction"), said, dump(outside).await));
        fill(outside).await;
        let said = async {
            let mut conn = pool.acquire().await?;
            let said = call(name, &mut *conn).await;
            // Such a session may have begun a transaction by itself, which is the caller's.
            drop(conn.execute("COMMIT AND NO CHAIN").await);
            said
        };
        let said = said.await;
        all.push((format!("{name} on a connection"), said, dump(outside).await));
    }
    fill(outside).await;
    let report = Thing::batches(pool).size(25).run(async |tx, thing: Thing| {
        sqlx::query("UPDATE things SET note = CONCAT(note, 'done') WHERE id = ?")
            .bind(thing.id)
            .execute(&mut **tx)
            .await
            .map(drop)
    });
    let said = report.await.map(|report| format!("{report} {:?}", report.failures.first()));
    all.push(("batches".into(), said, dump(outside).await));
    all
}

fn names(error: &Error, setting: &str) -> bool {
    let words = match setting {
        "max_join_size" => "max_join_size",
        "transaction_read_only" | "tx_read_only" => "read only transaction",
        other => other,
    };
    error.to_string().to_lowercase().replace('-', "_").contains(words)
}

/// Compares every call in sessions with and without these settings.
///
/// A session without them is as the server gives it.
async fn compare(settings: &[(&str, &str)]) {
    let db = with_tables(
        1,
        &[THINGS, NUMBERED, "CREATE TABLE known_things LIKE things", "CREATE TABLE known_numbered LIKE numbered"],
    )
    .await;
    Thing::bulk_create_new(&db.pool, known().map(|n| thing(n, "known"))).await.unwrap();
    Numbered::bulk_create_new(&db.pool, known().map(|n| numbered(n, "known"))).await.unwrap();
    for table in ["things", "numbered"] {
        run(&db.pool, &format!("INSERT INTO known_{table} SELECT * FROM {table}")).await;
    }
    let before = dump(&db.pool).await;
    let expected = outcomes(&db.outside, &db.pool).await;
    for (name, said, _) in &expected {
        assert!(said.is_ok(), "{name}: {said:?}");
    }
    let mut wrong = String::new();
    for (name, value) in settings {
        let set = format!("SET SESSION {name} = {value}");
        let mut probe = (*db.pool.connect_options()).clone().connect().await.unwrap();
        if let Err(error) = probe.execute(AssertSqlSafe(set.clone())).await {
            eprintln!("SKIPPED: {set}, which this server does not know: {error}");
            continue;
        }
        probe.close().await.unwrap();
        let pool = pool_set_to(&db.pool, &set).await.unwrap();
        let outcomes = outcomes(&db.outside, &pool).await;
        for ((call, expected, wanted), (_, said, left)) in expected.iter().zip(outcomes) {
            let problem = match &said {
                Ok(said) if Some(said) != expected.as_ref().ok() => format!("said {said:.300}"),
                Ok(_) if *wanted != left => format!("left {} bytes in place of {}", left.len(), wanted.len()),
                Ok(_) => continue,
                Err(error) if left != before => format!("failed and left something: {error}"),
                Err(error) if names(error, name) => continue,
                Err(error) => format!("does not name the setting: {error}"),
            };
            let _ = writeln!(wrong, "{name} = {value}: {call}: {problem}");
        }
        pool.close().await;
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Settings that cut, refuse, sort or commit change no result.
///
/// They do so otherwise than by default. Of the servers' own lists, these are what was seen to matter, and what looks as if it did.
#[tokio::test(flavor = "multi_thread")]
async fn b9_settings_that_cut_refuse_or_commit_change_no_result() {
    compare(&[
        ("sql_select_limit", "0"),
        ("sql_select_limit", "1"),
        ("sql_select_limit", "30"),
        ("sql_safe_updates", "1"),
        // Before the next two, which have every call on a pool look for what it may have to commit.
        ("completion_type", "'RELEASE'"),
        ("completion_type", "'CHAIN'"),
        ("autocommit", "0"),
        ("tx_read_only", "1"),
        ("transaction_read_only", "1"),
        ("max_join_size", "10"),
        ("max_sort_length", "4"),
        ("max_sort_length", "64"),
        ("unique_checks", "0"),
        ("foreign_key_checks", "0"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_settings_of_types_tables_and_the_optimizer_change_no_result() {
    compare(&[
        ("sql_auto_is_null", "1"),
        ("sql_buffer_result", "1"),
        ("big_tables", "1"),
        ("sql_require_primary_key", "1"),
        ("sql_generate_invisible_primary_key", "1"),
        ("default_storage_engine", "'MyISAM'"),
        ("default_tmp_storage_engine", "'MEMORY'"),
        ("enforce_storage_engine", "'InnoDB'"),
        ("explicit_defaults_for_timestamp", "0"),
        ("character_set_client", "latin1"),
        ("character_set_connection", "latin1"),
        ("collation_connection", "utf8mb4_bin"),
        ("div_precision_increment", "0"),
        ("timestamp", "12345"),
        ("insert_id", "77777"),
        ("sql_notes", "0"),
        ("sql_quote_show_create", "0"),
        ("optimizer_switch", "'derived_merge=off'"),
        ("join_cache_level", "8"),
        ("optimizer_search_depth", "0"),
        ("tmp_memory_table_size", "0"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_a_mode_of_sql_changes_no_result() {
    let modes = [
        "",
        "ANSI_QUOTES",
        "PIPES_AS_CONCAT",
        "IGNORE_SPACE",
        "ONLY_FULL_GROUP_BY",
        "NO_UNSIGNED_SUBTRACTION",
        "ORACLE",
        "MSSQL",
        "TRADITIONAL",
        "NO_AUTO_VALUE_ON_ZERO",
        "NO_BACKSLASH_ESCAPES",
        "STRICT_ALL_TABLES",
        "HIGH_NOT_PRECEDENCE",
        "PAD_CHAR_TO_FULL_LENGTH",
        "EMPTY_STRING_IS_NULL",
        "SIMULTANEOUS_ASSIGNMENT",
        "TIME_ROUND_FRACTIONAL",
        "TIME_TRUNCATE_FRACTIONAL",
    ];
    let values: Vec<String> = modes.iter().map(|mode| format!("'{mode}'")).collect();
    compare(&values.iter().map(|value| ("sql_mode", value.as_str())).collect::<Vec<_>>()).await;
}

/// After USE, a prepared call stays with its database.
///
/// The server runs a prepared statement in the database that it was prepared in. A limit that the README names, with its remedies.
#[tokio::test(flavor = "multi_thread")]
async fn after_use_a_call_that_is_prepared_stays_with_its_database_until_the_statements_are_forgotten() {
    let db = with_tables(1, &[NUMBERED]).await;
    let mut conn = db.pool.acquire().await.unwrap();
    let there = numbered(1, "here");
    assert!(Numbered::get_or_create(&mut *conn, there.clone()).await.unwrap().created);
    let name: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&mut *conn).await.unwrap();
    let other = format!("{name}_other");
    let run = async |conn: &mut sqlx::MySqlConnection, sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.unwrap();
    };
    run(&mut conn, format!("CREATE DATABASE {other}")).await;
    run(&mut conn, format!("USE {other}; {NUMBERED}")).await;
    let stays = Numbered::find(&mut *conn, there.key()).await;
    conn.clear_cached_statements().await.unwrap();
    let goes = Numbered::find(&mut *conn, there.key()).await;
    run(&mut conn, format!("USE {name}; DROP DATABASE {other}")).await;
    assert_eq!(stays.unwrap(), Some(there), "found where the statement was prepared");
    assert_eq!(goes.unwrap(), None, "not in the other database");
}
