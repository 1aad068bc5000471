//! Time per row as the number of rows grows.

use anyhow::Result;
use clap::ValueEnum;
use upsertable::On;

use crate::{
    Options,
    contender::{Entry, Role, Time},
    report, rows,
    server::{Chunks, Server},
    workload::{
        Bind,
        retweets::{NewRetweet, Retweet},
    },
};

const CALLS: [u64; 5] = [100_000, 300_000, 1_000_000, 3_000_000, 10_000_000];
const FULL: u64 = 10_000_000;
/// Sizes of the calls into the full table.
///
/// A tenth of it changes it little.
const CALLS_INTO_FULL: [u64; 4] = [10_000, 100_000, 300_000, 1_000_000];
/// Least number of rows in a contender's turn there.
const TURN: u64 = 100_000;

/// Names of the contenders by hand, one for each database.
const BY_HAND: [&str; 2] = ["sqlx by hand", "sqlx by hand: UNNEST"];

/// Parts of the measurement, which each take minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Calls of which no row is there.
    None,
    /// Calls of which all rows are there.
    All,
    /// Calls into a full table.
    Full,
}

/// Measures the time per row as the number of rows grows.
///
/// Ours is measured beside another whose time per row grows too, as an index of more rows costs more. That is the limit, or, where all rows
/// are there, of which the limit knows nothing, what is written by hand.
pub async fn run<S: Server>(server: &S, options: &Options) -> Result<()>
where
    NewRetweet: Bind<S::Database>,
    Retweet: On<S::Database>,
{
    println!("{}; microseconds a row, medians of {} rounds", server.version().await?, options.rounds);
    let mut contenders = server.contenders::<NewRetweet>(Chunks::Best)?;
    contenders.retain(|entry| entry.role != Role::Rival || BY_HAND.contains(&entry.name.as_str()));
    server.seed::<NewRetweet>(&[]).await?;
    for (part, percent) in [(Part::None, 0), (Part::All, 100)] {
        for calls in CALLS.into_iter().filter(|_| options.growth.contains(&part)) {
            let mut times = vec![Vec::new(); contenders.len()];
            for _ in 0..rounds(options, calls) {
                for (Entry { contender, role, .. }, times) in contenders.iter().zip(&mut times) {
                    if *role == if percent > 0 { Role::Limit } else { Role::Rival } {
                        continue;
                    }
                    let rows: Vec<_> = (0..calls).map(rows::retweet).collect();
                    server.reset::<NewRetweet>(false).await?;
                    if percent > 0 {
                        fill(&contenders, &rows).await?;
                    }
                    times.push(Time::of_each([contender.prepare(&rows)], calls).await?);
                }
            }
            print(&format!("{calls} rows, {percent} % there"), &contenders, times);
        }
    }
    if options.growth.contains(&Part::Full) {
        contenders.retain(|entry| entry.role != Role::Rival);
        let rows: Vec<_> = (0..FULL).map(rows::retweet).collect();
        server.reset::<NewRetweet>(false).await?;
        fill(&contenders, &rows).await?;
        drop(rows);
        let mut next = FULL;
        for calls in CALLS_INTO_FULL {
            // A turn of few rows is too short to measure, and who comes first finds the server's caches cold.
            let turn = calls.max(TURN);
            let mut times = vec![Vec::new(); contenders.len()];
            for round in 0..rounds(options, calls) {
                for at in 0..contenders.len() {
                    let at = (at + round) % contenders.len();
                    let rows: Vec<_> = (next..next + turn).map(rows::retweet).collect();
                    next += turn;
                    let jobs = rows.chunks(calls as usize).map(|rows| contenders[at].contender.prepare(rows));
                    times[at].push(Time::of_each(jobs.collect::<Vec<_>>(), turn).await?);
                }
            }
            print(&format!("{calls} rows, none there, into a table of {FULL}"), &contenders, times);
        }
    }
    Ok(())
}

/// Number of rounds.
///
/// Large calls measure themselves well enough.
fn rounds(options: &Options, calls: u64) -> usize {
    if calls >= 3_000_000 { 1 } else { options.rounds }
}

/// Fills the table by the limit, which is fastest.
async fn fill(contenders: &[Entry<NewRetweet>], rows: &[NewRetweet]) -> Result<()> {
    for entry in contenders.iter().filter(|entry| entry.role == Role::Limit) {
        entry.contender.prepare(rows).await?;
    }
    Ok(())
}

fn print(what: &str, contenders: &[Entry<NewRetweet>], times: Vec<Vec<Time>>) {
    let medians = contenders.iter().zip(times).filter(|(_, times)| !times.is_empty());
    let medians = medians.map(|(entry, times)| {
        let median = |part: fn(&Time) -> f64| 1e3 * report::median(times.iter().map(part).collect());
        format!("{} {:.2} ({:.2} of processor)", entry.name, median(|time| time.clock_ms), median(|time| time.cpu_ms))
    });
    println!("{what:<60} {}", medians.collect::<Vec<_>>().join(", "));
}
