//! Run with: `cargo run -p game_beats -- --without-index`
//!
//! Workers pull pages of game results from an API and store who beat whom. The pages overlap, so every worker meets games, players and
//! results that another is storing at the same moment. With `--without-index` each looks first and inserts then, into tables without unique
//! indexes, and the duplicates are counted; without it, there are none.

mod api;
mod models;
mod store;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use clap::Parser as _;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::task::JoinSet;

use api::{Api, PAGE};
use models::{Beat, Game, Player};
use store::Worker;

/// Stores overlapping game results from an API, with many workers at once.
#[derive(Debug, clap::Parser)]
struct Options {
    /// Looks first and inserts then, into tables without unique indexes.
    #[arg(long)]
    without_index: bool,

    /// Number of workers that pull results at the same time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=100))]
    workers: u8,

    /// Number of pages of results.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pages: i64,

    /// The database; its file is made when it is missing. [default: `game_beats.db` or `game_beats_without_index.db`, here]
    #[arg(long, value_name = "sqlite://PATH")]
    database_url: Option<String>,
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
    let Options { without_index, workers, pages, database_url } = options;
    let other = if without_index { "sqlite://game_beats_without_index.db" } else { "sqlite://game_beats.db" };
    let url = database_url.as_deref().unwrap_or(other);
    ensure!(url.starts_with("sqlite:"), "{url}: expected sqlite://PATH");
    let database = url.parse::<SqliteConnectOptions>()?.create_if_missing(true);
    // With a write-ahead log readers do not wait for the writer, as on a server.
    let database = database.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
    // The workers write one after the other, and on a busy machine a turn may be long in coming.
    let database = database.busy_timeout(Duration::from_secs(60));
    let connections = SqlitePoolOptions::new().max_connections(workers.into());
    let pool = connections.connect_with(database).await.map_err(|error| anyhow!("{url}: {error}"))?;
    let done = pull_all(&pool, without_index, workers, pages).await;
    pool.close().await;
    done.map_err(|error| anyhow!("{url}: {error}"))
}

async fn pull_all(pool: &SqlitePool, without_index: bool, workers: u8, pages: i64) -> Result<()> {
    if without_index {
        sqlx::migrate!("migrations/without_index").run(pool).await?;
    } else {
        sqlx::migrate!("migrations/sqlite").run(pool).await?;
        // At the start, where a missing index is an error and not yet a duplicate.
        upsertable::verify_all!(pool; Game, Player, Beat).await?;
    }

    let api = Arc::new(Api::default());
    pull(pool, &api, without_index, workers, pages).await?;
    println!("{workers} workers read {pages} pages of {PAGE} results");
    print_rows(pool).await?;
    println!("the API was asked for a game {} times", api.asked_for_games());
    match upsertable::verify_all!(pool; Game, Player, Beat).await {
        Ok(_) => println!("verify: the tables are what the models take them for"),
        Err(error) => println!("verify: {error}"),
    }
    Ok(())
}

/// Pulls the pages, which the workers take in turn.
///
/// So pages that overlap are stored at the same time.
async fn pull(pool: &SqlitePool, api: &Arc<Api>, without_index: bool, workers: u8, pages: i64) -> Result<()> {
    let bar = ProgressBar::new(pages.unsigned_abs())
        .with_style(ProgressStyle::with_template("{wide_bar} {pos} of {len} pages, {eta}")?);
    let next = Arc::new(AtomicI64::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..workers {
        let worker = Worker { number: number.into(), of: workers.into() };
        let (pool, api, next, bar) = (pool.clone(), Arc::clone(api), Arc::clone(&next), bar.clone());
        tasks.spawn(async move {
            loop {
                let page = next.fetch_add(1, Ordering::Relaxed);
                if page >= pages {
                    return Ok::<_, anyhow::Error>(());
                }
                let results = api.results(page).await;
                if without_index {
                    store::select_then_insert(&pool, &api, &results).await?;
                } else {
                    store::store(&pool, &api, &results, worker).await?;
                }
                bar.inc(1);
            }
        });
    }
    while let Some(worker) = tasks.join_next().await {
        worker??;
    }
    bar.finish_and_clear();
    Ok(())
}

async fn print_rows(pool: &SqlitePool) -> Result<()> {
    println!("            rows  duplicates");
    for (table, sql) in [
        ("games", "SELECT count(*), count(*) - count(DISTINCT provider_game_id) FROM games"),
        ("players", "SELECT count(*), count(*) - count(DISTINCT name) FROM players"),
        ("beats", "SELECT count(*), count(*) - count(DISTINCT provider_beat_id) FROM beats"),
    ] {
        let (rows, duplicates): (i64, i64) = sqlx::query_as(sql).fetch_one(pool).await?;
        println!("{table:<8} {rows:>7} {duplicates:>11}");
    }
    Ok(())
}
