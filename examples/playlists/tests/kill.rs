//! Kills the job at random moments and checks what it leaves.
#![cfg(unix)]

use std::{
    collections::BTreeSet,
    env,
    hash::{BuildHasher as _, RandomState},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::ExitStatusExt as _,
    panic::{AssertUnwindSafe, resume_unwind},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use futures_util::FutureExt as _;
use sqlx::{
    AssertSqlSafe, ColumnIndex, ConnectOptions, Connection as _, Database, Decode, Executor, IntoArguments, MySql,
    Postgres, Sqlite, Type, mysql::MySqlConnectOptions, postgres::PgConnectOptions, sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;

const KILLS: u32 = 50;
const SONGS: i64 = 3_000;
const CORRUPT_EVERY: i64 = 100;

/// Songs added when a run ends before it is killed.
///
/// So there is always something left to do.
const MORE_SONGS: i64 = 1_000;

#[tokio::test]
async fn on_sqlite_every_song_is_done_once_however_often_the_job_is_killed() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("playlists.db");
    let url = format!("sqlite://{}", file.display());
    kill_and_look::<Sqlite, _>(&url, &SqliteConnectOptions::new().filename(file), 60).await;
}

#[tokio::test]
async fn on_postgres_every_song_is_done_once_however_often_the_job_is_killed() {
    on_a_server::<Postgres, _>(&["DATABASE_URL_POSTGRES"], PgConnectOptions::database).await;
}

#[tokio::test]
async fn on_mysql_every_song_is_done_once_however_often_the_job_is_killed() {
    on_a_server::<MySql, _>(&["DATABASE_URL_MYSQL", "DATABASE_URL_MARIADB"], MySqlConnectOptions::database).await;
}

/// Kills runs of the job and checks what each leaves.
///
/// A run has up to so many milliseconds before it is killed, so that 50 of them come about as far as the songs go.
async fn kill_and_look<DB, O>(url: &str, options: &O, milliseconds: u64)
where
    DB: Database,
    DB::Connection: sqlx::Connection<Options = O>,
    O: ConnectOptions<Connection = DB::Connection>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'r> i64: Decode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    let mut songs = SONGS;
    load(url, songs);
    let (mut kills, mut done) = (0, 0);
    // Kills that only ever hit a run before its first commit would show nothing.
    while kills < KILLS || done == 0 {
        if !killed(url, milliseconds) {
            songs += MORE_SONGS;
            load(url, songs);
            continue;
        }
        kills += 1;
        let mut database = options.connect().await.unwrap();
        assert_nothing_is_half_done::<DB>(&mut database).await;
        done = count::<DB>(&mut database, "SELECT count(*) FROM songs WHERE chord_num IS NOT NULL").await;
        database.close().await.unwrap();
    }

    println!("{kills} kills left {done} of {songs} songs done");

    let printed = printed(url, &["chords", "--size", "50"]);
    let corrupt: BTreeSet<i64> = (1..=songs).filter(|number| number % CORRUPT_EVERY == 0).collect();
    let reported: Vec<i64> = printed.lines().filter_map(reported).collect();
    assert_eq!(reported.len(), corrupt.len(), "{printed}");
    assert_eq!(BTreeSet::from_iter(reported), corrupt);

    let good = songs - songs / CORRUPT_EVERY;
    let bad = songs / CORRUPT_EVERY;
    let summary = format!("{} rows done, {bad} failed, {bad} left\n", good - done);
    assert!(printed.contains(&summary), "{summary}: {printed}");
    let mut database = options.connect().await.unwrap();
    assert_nothing_is_half_done::<DB>(&mut database).await;
    for (sql, rows) in [
        ("SELECT count(*) FROM songs", songs),
        ("SELECT count(*) FROM songs WHERE chord_num IS NOT NULL", good),
        ("SELECT count(*) FROM songs WHERE chord_num IS NOT NULL AND number % 100 = 0", 0),
        // Every song was done exactly once: as often as there are songs, and none twice.
        ("SELECT count(*) FROM derivations", good),
        ("SELECT count(DISTINCT song) FROM derivations", good),
    ] {
        assert_eq!(count::<DB>(&mut database, sql).await, rows, "{sql}");
    }
    // Some runs were killed after a commit and another went on from there.
    let runs = count::<DB>(&mut database, "SELECT count(DISTINCT run) FROM derivations").await;
    assert!(runs > 1, "one run has done everything");
    database.close().await.unwrap();
}

/// Checks that each song is done whole or not at all.
///
/// It has its chord, the right one, and the row that says so; or it has neither.
async fn assert_nothing_is_half_done<DB>(database: &mut DB::Connection)
where
    DB: Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'r> i64: Decode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    for sql in [
        "SELECT count(*) FROM songs LEFT JOIN derivations ON song = songs.id WHERE (chord_num IS NULL) <> (song IS NULL)",
        "SELECT count(*) FROM (SELECT song FROM derivations GROUP BY song HAVING count(*) > 1) AS twice",
        "SELECT count(*) FROM songs WHERE chord_num <> number % 24",
    ] {
        assert_eq!(count::<DB>(database, sql).await, 0, "{sql}");
    }
}

async fn count<DB>(database: &mut DB::Connection, sql: &'static str) -> i64
where
    DB: Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'r> i64: Decode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    sqlx::query_scalar(sql).fetch_one(database).await.unwrap()
}

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_playlists"));
    command.args(["--database-url", url]).args(arguments);
    command
}

fn printed(url: &str, arguments: &[&str]) -> String {
    let output = command(url, arguments).output().unwrap();
    assert_eq!((output.status.code(), str::from_utf8(&output.stderr).unwrap()), (Some(0), ""));
    String::from_utf8(output.stdout).unwrap()
}

fn load(url: &str, songs: i64) {
    let corrupt_every = CORRUPT_EVERY.to_string();
    printed(url, &["load", "--songs", &songs.to_string(), "--corrupt-every", &corrupt_every]);
}

/// The song's number, where the line is of a song that failed.
fn reported(line: &str) -> Option<i64> {
    let (number, _) = line.strip_prefix("song ")?.split_once(':')?;
    number.parse().ok()
}

/// Starts the job and kills it at some moment.
///
/// Returns true if it was still there then. The moment is after it has begun.
fn killed(url: &str, milliseconds: u64) -> bool {
    let mut job = command(url, &["chords", "--size", "20"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(job.stdout.take().unwrap());
    let mut begun = String::new();
    lines.read_line(&mut begun).unwrap();
    assert_eq!(begun, "deriving chords\n");
    let chance = RandomState::new().hash_one(process::id());
    thread::sleep(Duration::from_micros(chance % (milliseconds * 1_000)));
    job.kill().unwrap();
    let ended = job.wait().unwrap();
    assert!(ended.success() || ended.signal() == Some(9), "{ended}");
    !ended.success()
}

/// Runs the test in a database of its own on a server.
///
/// The environment names the server. The database is dropped whatever comes.
async fn on_a_server<DB, O>(variables: &[&str], in_database: fn(O, &str) -> O)
where
    DB: Database,
    DB::Connection: sqlx::Connection<Options = O>,
    O: ConnectOptions<Connection = DB::Connection>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'r> i64: Decode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    let Some(url) = variables.iter().find_map(|variable| env::var(variable).ok()) else {
        // Written past the test harness, which shows nothing of a test that passes.
        let skipped = format!("SKIPPED the job that is killed {KILLS} times: none of {variables:?} is set\n");
        io::stderr().write_all(skipped.as_bytes()).unwrap();
        return;
    };
    let server: O = url.parse().unwrap();
    let name = format!("playlists_{}_{}", process::id(), UNIX_EPOCH.elapsed().unwrap().as_nanos());
    let mut connection = server.connect().await.unwrap();
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();

    let options = in_database(server, &name);
    let url = options.to_url_lossy();
    let tried = AssertUnwindSafe(kill_and_look::<DB, O>(url.as_str(), &options, 300)).catch_unwind().await;

    let dropped = connection.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await;
    if let Err(panic) = tried {
        resume_unwind(panic);
    }
    dropped.unwrap();
}
