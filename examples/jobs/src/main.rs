//! Run with: cargo run -p jobs -- --broken
//!
//! Saves orders, each in a transaction of its own, and queues a job for each. Workers on other connections take the jobs, read the order,
//! and count what they saw. With `--broken` a job is queued inside the transaction, and workers are often there before the commit; without
//! it, it is queued with `on_commit`, and never.

use std::{fmt, process::ExitCode, sync::Arc};

use anyhow::{Result, anyhow, ensure};
use clap::Parser as _;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tokio::{
    sync::{
        Mutex,
        mpsc::{self, Receiver, Sender},
    },
    task::JoinSet,
};
use upsertable::Upsertable;

/// An order, which its customer may change.
///
/// Each change is one version more.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "orders")]
#[unique(number)]
pub struct Order {
    #[upsertable(generated)]
    pub id: i64,
    pub number: i64,
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "items")]
#[unique(order_id, position)]
pub struct Item {
    pub order_id: i64,
    pub position: i64,
    pub article: i64,
    pub pieces: i64,
}

/// A job for a worker, such as sending a confirmation.
///
/// The version is there only so that the worker can tell what it saw.
#[derive(Debug, Clone, Copy)]
struct Job {
    order: i64,
    version: i64,
}

/// Saves orders, queues a job for each, and counts what workers saw.
#[derive(Debug, clap::Parser)]
struct Options {
    /// Queues the job inside the transaction.
    #[arg(long)]
    broken: bool,

    /// Number of transactions. Every second one changes the order of the one before.
    #[arg(long, value_name = "N", default_value_t = 500)]
    rounds: u32,

    /// The database; its file is made when it is missing.
    #[arg(long, value_name = "sqlite://PATH", default_value = "sqlite://jobs.db")]
    database_url: String,
}

const WORKERS: u32 = 4;

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
    ensure!(url.starts_with("sqlite:"), "{url}: expected sqlite://PATH");
    // With a write-ahead log, readers do not wait for the writer: they see what was committed when they began, as on a server.
    let database = url.parse::<SqliteConnectOptions>()?.create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let connections = SqlitePoolOptions::new().max_connections(WORKERS + 1);
    let pool = connections.connect_with(database).await.map_err(|error| anyhow!("{url}: {error}"))?;
    sqlx::migrate!("migrations/sqlite").run(&pool).await?;
    let counted = count(&pool, options.broken, options.rounds).await;
    pool.close().await;

    let way = if options.broken { "inside the transaction" } else { "with on_commit" };
    println!("{} jobs, each queued {way}\n{}", options.rounds, counted?);
    Ok(())
}

/// Saves the orders while workers take the jobs.
///
/// Returns what the workers saw.
async fn count(pool: &SqlitePool, broken: bool, rounds: u32) -> Result<Seen> {
    let (queue, jobs) = mpsc::channel(100);
    let jobs = Arc::new(Mutex::new(jobs));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(pool.clone(), Arc::clone(&jobs)));
    }
    drop(jobs);

    let saved = save_all(pool, &queue, broken, rounds).await;
    // The workers have no more to do once the last sender is gone.
    drop(queue);
    let mut seen = Seen::default();
    while let Some(worker) = workers.join_next().await {
        seen.add(&worker??);
    }
    saved?;
    ensure!(seen.jobs() == rounds, "{} of {rounds} jobs were done", seen.jobs());
    Ok(seen)
}

async fn save_all(pool: &SqlitePool, queue: &Sender<Job>, broken: bool, rounds: u32) -> Result<()> {
    let last: i64 = sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM orders").fetch_one(pool).await?;
    for round in 0..i64::from(rounds) {
        let new = NewOrder { number: last + 1 + round / 2, version: 1 + round % 2 };
        save(pool, queue, broken, new).await?;
    }
    Ok(())
}

/// Saves one order and queues one job, in one transaction.
async fn save(pool: &SqlitePool, queue: &Sender<Job>, broken: bool, new: NewOrder) -> Result<()> {
    upsertable::transaction(pool, async |tx| {
        let order = Order::upsert(&mut *tx, new.clone()).await?.into_row();
        let job = Job { order: order.number, version: order.version };
        if broken {
            // From here on a worker may take it, and this transaction has not been committed.
            queue.send(job).await?;
        } else {
            let queue = queue.clone();
            tx.on_commit(async move { queue.send(job).await });
        }

        let item = |position| Item { order_id: order.id, position, article: 100 + position, pieces: order.version };
        Item::bulk_upsert(&mut *tx, (1..=3).map(item)).await?;
        Ok(())
    })
    .await
}

/// Takes jobs until there are no more.
///
/// Counts what it sees of their orders.
async fn work(pool: SqlitePool, jobs: Arc<Mutex<Receiver<Job>>>) -> Result<Seen> {
    let mut connection = pool.acquire().await?;
    let mut seen = Seen::default();
    while let Some(job) = next(&jobs).await {
        match Order::find(&mut *connection, OrderKey { number: job.order }).await? {
            None => seen.nothing += 1,
            Some(order) if order.version < job.version => seen.old += 1,
            Some(_) => seen.saved += 1,
        }
    }
    Ok(seen)
}

/// Waits for the next job, one worker at a time.
async fn next(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    jobs.lock().await.recv().await
}

/// Counts of what workers saw.
#[derive(Debug, Default)]
struct Seen {
    saved: u32,
    old: u32,
    nothing: u32,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.saved += other.saved;
        self.old += other.old;
        self.nothing += other.nothing;
    }

    fn jobs(&self) -> u32 {
        self.saved + self.old + self.nothing
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the worker saw  jobs")?;
        writeln!(f, "the saved row  {:>5}", self.saved)?;
        writeln!(f, "the old row    {:>5}", self.old)?;
        write!(f, "no row         {:>5}", self.nothing)
    }
}
