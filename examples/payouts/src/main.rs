//! Run with: cargo run -p payouts
//!
//! Distributes what the issuers of debentures owe in a month among the holders, in two ways: with a query per row, and with the sums left to
//! the database and one bulk upsert. Statements and time are printed, and both results are compared to the cent.

mod distribution;
mod models;
mod plot;
mod trap;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use clap::Parser as _;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use upsertable::testing::statements;

use models::{Payout, Size};
use plot::Point;

/// Distributes a month's instalments among holders, with and without queries per row.
#[derive(Debug, clap::Parser)]
struct Options {
    /// Number of debentures. Those that are missing in the database are made. [default: 1000, with --plot 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    debentures: Option<i64>,

    /// Leaves out the way with a query per row. It takes long where there are many debentures.
    #[arg(long)]
    sums_only: bool,

    /// Writes time against size into this SVG file. Measures 100 debentures and more, in a database of its own.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["trap", "sums_only", "database_url"])]
    plot: Option<PathBuf>,

    /// Shows how a query that joins everything grows. Also shows it split in two; both run in a database of their own.
    #[arg(long, conflicts_with_all = ["debentures", "sums_only", "database_url"])]
    trap: bool,

    /// The database; its file is made when it is missing.
    #[arg(long, value_name = "sqlite://PATH", default_value = "sqlite://payouts.db")]
    database_url: String,
}

const MONTH: &str = "2026-11";

/// The sizes of a plot.
const SIZES: [i64; 7] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000];

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
    if let Some(file) = &options.plot {
        return plot(file, options.debentures.unwrap_or(10_000)).await;
    }
    if options.trap {
        return trap().await;
    }
    let url = &options.database_url;
    ensure!(url.starts_with("sqlite:"), "{url}: expected sqlite://PATH");
    let database = url.parse::<SqliteConnectOptions>()?.create_if_missing(true);
    let pool = open(database).await.map_err(|error| anyhow!("{url}: {error}"))?;
    let compared = compare(&pool, options.debentures.unwrap_or(1_000), options.sums_only).await;
    pool.close().await;
    compared?.print();
    Ok(())
}

async fn open(database: SqliteConnectOptions) -> Result<SqlitePool> {
    let pool = SqlitePool::connect_with(database).await?;
    sqlx::migrate!("migrations/sqlite").run(&pool).await?;
    Ok(pool)
}

/// Statements and time of one way.
struct Cost {
    statements: usize,
    time: Duration,
}

struct Compared {
    debentures: i64,
    holdings: i64,
    row_by_row: Option<Cost>,
    in_the_database: Cost,
    payouts: Vec<Payout>,
}

/// Distributes the month in both ways and compares the results.
///
/// One after the other.
async fn compare(pool: &SqlitePool, debentures: i64, sums_only: bool) -> Result<Compared> {
    models::fill(pool, Size { debentures, holders: 200, holders_of_each: 5, months: 12, payments: 0 }).await?;
    let (debentures, holdings, due): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM debentures), (SELECT count(*) FROM holdings),
                (SELECT coalesce(sum(cents), 0) FROM instalments WHERE month = ?)",
    )
    .bind(MONTH)
    .fetch_one(pool)
    .await?;

    let row_by_row = if sums_only { None } else { Some(measure(distribution::row_by_row(pool, MONTH)).await?) };
    let expected = distribution::payouts(pool, MONTH).await?;
    let in_the_database = measure(distribution::in_the_database(pool, MONTH)).await?;
    let payouts = distribution::payouts(pool, MONTH).await?;
    ensure!(sums_only || payouts == expected, "the two ways give different payouts");
    ensure!(total(&payouts) == due, "{} of {due} cents were paid out", total(&payouts));
    Ok(Compared { debentures, holdings, row_by_row, in_the_database, payouts })
}

async fn measure(way: impl Future<Output = Result<()>>) -> Result<Cost> {
    let start = Instant::now();
    let (done, statements) = statements(way).await;
    done?;
    Ok(Cost { statements: statements.len(), time: start.elapsed() })
}

fn total(payouts: &[Payout]) -> i64 {
    payouts.iter().map(|payout| payout.cents).sum()
}

impl Compared {
    fn print(&self) {
        let Self { debentures, holdings, row_by_row, in_the_database, payouts } = self;
        println!("{debentures} debentures, {holdings} holdings, {MONTH}");
        println!("                      statements    seconds");
        let costs = [("a query per row", row_by_row.as_ref()), ("sums in the database", Some(in_the_database))];
        for (way, cost) in costs.into_iter().filter_map(|(way, cost)| Some((way, cost?))) {
            println!("{way:<20} {:>11} {:>10.3}", cost.statements, cost.time.as_secs_f64());
        }
        let total = total(payouts);
        let equal = if row_by_row.is_some() { ", equal to the cent" } else { "" };
        println!("{} payouts, {}.{:02} in all{equal}", payouts.len(), total / 100, total % 100);
    }
}

/// Measures sizes from 100 debentures to `largest`.
async fn plot(file: &Path, largest: i64) -> Result<()> {
    let sizes: Vec<i64> = SIZES.into_iter().filter(|&size| size < largest).chain([largest]).collect();
    let folder = TempDir::new()?;
    let pool = open(in_folder(&folder)).await?;
    let bar = ProgressBar::new(sizes.len() as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos} of {len} sizes, {eta}")?);
    let mut points = Vec::new();
    for debentures in sizes {
        if let Compared { row_by_row: Some(row_by_row), in_the_database, .. } =
            compare(&pool, debentures, false).await?
        {
            points.push(Point { debentures, row_by_row: row_by_row.time, in_the_database: in_the_database.time });
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    pool.close().await;
    plot::draw(file, &points)?;
    println!("{}: {} sizes, the largest {largest} debentures", file.display(), points.len());
    Ok(())
}

async fn trap() -> Result<()> {
    println!("                       one query                split in two");
    println!("rows of each kind    rows joined    seconds      rows read    seconds");
    for each in [5, 10, 20, 40] {
        let folder = TempDir::new()?;
        let pool = open(in_folder(&folder)).await?;
        let (at_once, split) = trap::measure(&pool, each).await?;
        pool.close().await;
        let seconds = |cost: &trap::Cost| cost.time.as_secs_f64();
        println!(
            "{each:>17} {:>14} {:>10.3} {:>14} {:>10.3}",
            at_once.rows,
            seconds(&at_once),
            split.rows,
            seconds(&split)
        );
    }
    Ok(())
}

fn in_folder(folder: &TempDir) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(folder.path().join("payouts.db")).create_if_missing(true)
}
