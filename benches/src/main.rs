//! Runs every contender on the same rows, in turns.
//!
//! All in one run: see README.md.

mod contender;
mod cpu;
mod growth;
mod measure;
mod memory;
#[cfg(feature = "mysql")]
mod mysql;
mod plot;
#[cfg(feature = "postgres")]
mod postgres;
mod profile;
mod report;
mod rows;
mod server;
#[cfg(feature = "sqlite")]
mod sqlite;
mod workload;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use tokio::runtime;
use upsertable::On;

use crate::{
    server::Server,
    workload::{
        Bind,
        flights::{Flight, NewFlight},
        retweets::{NewRetweet, Retweet},
    },
};

#[derive(Parser)]
#[command(about)]
pub struct Options {
    #[arg(long)]
    database: Database,
    /// Measurements to run; everything by default.
    #[arg(long, value_delimiter = ',')]
    only: Vec<What>,
    /// Number of retweets.
    #[arg(long, default_value_t = 200_000)]
    rows: u64,
    /// flights.csv.gz of the data set nycflights13. Without it, as many flights are made up.
    #[arg(long)]
    flights: Option<PathBuf>,
    /// Percentages of the rows that are there already.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 50, 100])]
    percent: Vec<u64>,
    #[arg(long, value_delimiter = ',', default_values = ["random", "sorted"])]
    order: Vec<Order>,
    /// Number of turns that each contender has.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only contenders whose name contains this, and this crate.
    #[arg(long)]
    against: Option<String>,
    /// Tries every contender with these numbers of rows a statement.
    #[arg(long, value_delimiter = ',')]
    tune: Vec<usize>,
    /// Uses one thread per processor, as `#[tokio::main]` does. By default there is one thread: waking another costs every contender the
    /// same, which makes the differences between them smaller.
    #[arg(long)]
    threads: bool,
    /// In place of all this, measures memory growth over 10,000,000 streamed rows.
    #[arg(long)]
    memory: bool,
    /// In place of all this, measures the time per row. From 100,000 to 10,000,000 rows where none is there, where all are, and into a
    /// table of 10,000,000; all three by default.
    #[arg(long, value_delimiter = ',', num_args = 0.., default_missing_values = ["none", "all", "full"])]
    growth: Vec<growth::Part>,
    /// In place of all this, measures where our own time goes.
    #[arg(long)]
    profile: bool,
    /// Writes the figures to this file too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws the figures into this folder.
    #[arg(long)]
    plot: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    Sqlite,
    Postgres,
    Mysql,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Retweets,
    Flights,
    Batches,
    One,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    Random,
    Sorted,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut runtime =
        if options.threads { runtime::Builder::new_multi_thread() } else { runtime::Builder::new_current_thread() };
    runtime.enable_all().build()?.block_on(on_database(&options))
}

async fn on_database(options: &Options) -> Result<()> {
    match options.database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite => run(&sqlite::OnSqlite::open().await?, options).await,
        #[cfg(feature = "postgres")]
        Database::Postgres => run(&postgres::OnPostgres::open(&url("DATABASE_URL_POSTGRES")?).await?, options).await,
        #[cfg(feature = "mysql")]
        Database::Mysql => run(&mysql::OnMySql::open(&url("DATABASE_URL_MYSQL")?).await?, options).await,
        #[allow(unreachable_patterns, reason = "with all three features every database has its arm")]
        _ => bail!("built without this database's feature"),
    }
}

async fn run<S: Server>(server: &S, options: &Options) -> Result<()>
where
    NewRetweet: Bind<S::Database>,
    NewFlight: Bind<S::Database>,
    Retweet: On<S::Database>,
    Flight: On<S::Database>,
{
    if options.memory {
        memory::run(server).await
    } else if !options.growth.is_empty() {
        growth::run(server, options).await
    } else if options.profile {
        profile::run(server, options).await
    } else {
        measure::run(server, options).await
    }
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
fn url(variable: &str) -> Result<String> {
    use anyhow::Context as _;
    std::env::var(variable).with_context(|| format!("{variable} names no server: start one with ./run, or set it"))
}
