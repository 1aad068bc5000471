//! Run with: cargo run -p playlists -- load, then the same with chart, and with chords
//!
//! A chart of 20 songs is made every week from 100,000: whole or not at all. Then the chords of all songs are derived, in a job that can be
//! killed at any moment and run again: what it has done is done once, and songs with corrupt notes are reported and stop nothing.

mod chart;
mod chords;
mod models;

use std::{fs, process::ExitCode};

use anyhow::{Result, anyhow, bail, ensure};
use clap::{Parser as _, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::{
    Executor, FromRow, IntoArguments, MySqlPool, PgPool, Pool, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use upsertable::{Backend, On, Upsertable as _};

use models::{Chart, Derivation, Entry, Song};

/// Makes charts of songs, and derives the songs' chords.
#[derive(Debug, clap::Parser)]
struct Options {
    #[command(subcommand)]
    work: Work,

    /// The database. A SQLite file is made when it is missing; one on a PostgreSQL, MySQL or MariaDB server has to be there.
    #[arg(
        long,
        global = true,
        value_name = "sqlite://PATH|postgres://USER@HOST/NAME|mysql://USER@HOST/NAME",
        default_value = "sqlite://playlists.db"
    )]
    database_url: String,
}

#[derive(Debug, Subcommand)]
enum Work {
    /// Adds the songs that are missing.
    Load {
        /// Number of songs.
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        songs: u32,

        /// Every so many songs have corrupt notes.
        #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
        corrupt_every: u32,
    },

    /// Makes the chart of a week, unless it is there.
    Chart {
        /// The week, as 2026-W47.
        #[arg(long, value_name = "YEAR-WEEK", default_value = "2026-W47")]
        week: String,

        /// Writes each entry for itself, in place of all in one transaction.
        #[arg(long)]
        piecemeal: bool,

        /// Ends the process after so many entries, as a crash would.
        #[arg(long, value_name = "N")]
        crash_after: Option<u32>,
    },

    /// Derives the chords of the songs that have none.
    Chords {
        /// Number of songs in one transaction.
        #[arg(long, value_name = "N", default_value_t = 500, conflicts_with = "all_at_once")]
        size: usize,

        /// Derives all chords in one transaction, in place of batches. Reads all songs first.
        #[arg(long)]
        all_at_once: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    let url = &options.database_url;
    // Which database it is, is asked here alone: each has its own SQL for the tables, and all the rest is the same.
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => {
            let database = url.parse::<SqliteConnectOptions>()?.create_if_missing(true);
            let database = database.journal_mode(SqliteJournalMode::Wal);
            let pool = SqlitePool::connect_with(database).await.map_err(|error| anyhow!("{url}: {error}"))?;
            sqlx::migrate!("migrations/sqlite").run(&pool).await?;
            work_on(pool, options.work).await
        }
        Some("postgres" | "postgresql") => {
            let pool = PgPool::connect(url).await.map_err(|error| anyhow!("--database-url: {error}"))?;
            sqlx::migrate!("migrations/postgres").run(&pool).await?;
            work_on(pool, options.work).await
        }
        Some("mysql" | "mariadb") => {
            let pool = MySqlPool::connect(url).await.map_err(|error| anyhow!("--database-url: {error}"))?;
            sqlx::migrate!("migrations/mysql").run(&pool).await?;
            work_on(pool, options.work).await
        }
        // The URL is not told again: a password may stand in it.
        _ => bail!("--database-url: expected sqlite://.., postgres://.. or mysql://.."),
    }
}

/// Does the work on the database, and closes the pool.
async fn work_on<DB: Backend>(pool: Pool<DB>, work: Work) -> Result<()>
where
    Song: On<DB>,
    Chart: On<DB>,
    Entry: On<DB>,
    Derivation: On<DB>,
    for<'r> Song: FromRow<'r, DB::Row>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    let done = match work {
        Work::Load { songs, corrupt_every } => load(&pool, songs, corrupt_every).await,
        Work::Chart { week, piecemeal, crash_after } => make_chart(&pool, &week, piecemeal, crash_after).await,
        Work::Chords { size, all_at_once } => derive_chords(&pool, size, all_at_once).await,
    };
    pool.close().await;
    done
}

async fn load<DB: Backend>(pool: &Pool<DB>, songs: u32, corrupt_every: u32) -> Result<()>
where
    Song: On<DB>,
{
    let bar = bar()?;
    let rows = Song::bulk(models::songs(songs, corrupt_every));
    let done = rows.on_progress(|progress| bar.set_position(progress.received)).create_new(pool).await?;
    bar.finish_and_clear();
    println!("{done}");
    Ok(())
}

async fn make_chart<DB: Backend>(pool: &Pool<DB>, week: &str, piecemeal: bool, crash_after: Option<u32>) -> Result<()>
where
    Song: On<DB>,
    Chart: On<DB>,
    Entry: On<DB>,
    for<'r> Song: FromRow<'r, DB::Row>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    ensure!(is_week(week), "--week: {week:?} is not written as 2026-W47");
    let top = chart::top(pool).await?;
    println!("the chart of {week} has {} of {} songs", chart::places(pool, week).await?, chart::PLACES);
    if piecemeal {
        chart::make_piecemeal(pool, week, &top, crash_after).await?;
    } else {
        chart::make(pool, week, &top, crash_after).await?;
    }
    println!("the chart of {week} has {} of {} songs", chart::places(pool, week).await?, chart::PLACES);
    Ok(())
}

fn is_week(week: &str) -> bool {
    let number = |digits: &str, length| digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
    let parts = week.split_once("-W");
    parts.is_some_and(|(year, week)| {
        number(year, 4) && number(week, 2) && week.parse().is_ok_and(|week: u8| (1..=53).contains(&week))
    })
}

async fn derive_chords<DB: Backend>(pool: &Pool<DB>, size: usize, all_at_once: bool) -> Result<()>
where
    Song: On<DB>,
    Derivation: On<DB>,
    for<'r> Song: FromRow<'r, DB::Row>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    println!("deriving chords");
    let bar = bar()?;
    if all_at_once {
        let done = chords::all_at_once(pool, &bar).await?;
        bar.finish_and_clear();
        println!("{done} rows done");
    } else {
        let report = chords::in_batches(pool, size, &bar).await?;
        bar.finish_and_clear();
        for (song, error) in &report.failures {
            println!("song {}: {error}", song.number);
        }
        println!("{report}");
    }
    if let Some(peak) = peak_memory() {
        println!("peak memory: {} MiB", peak / 1024);
    }
    Ok(())
}

/// A progress bar, drawn only where stderr is a terminal.
fn bar() -> Result<ProgressBar> {
    Ok(ProgressBar::no_length().with_style(ProgressStyle::with_template("{spinner} {human_pos} songs, {elapsed}")?))
}

/// Peak memory of the process in KiB, as Linux tells it.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
