//! Turns of the contenders, and the clock.

use anyhow::{Result, ensure};
use upsertable::On;

use crate::{
    Options, Order, What,
    contender::{Entry, Role, Time},
    report::{self, Case, Figure, Report},
    rows,
    server::{Chunks, Server},
    workload::{
        Bind, Workload,
        flights::{Flight, NewFlight},
        retweets::{NewRetweet, Retweet},
    },
};

/// Retweets in the table before the batches come in.
const ROWS_BEFORE_BATCHES: u64 = 200_000;
const BATCHES: [usize; 5] = [1, 10, 100, 1_000, 10_000];

pub async fn run<S: Server>(server: &S, options: &Options) -> Result<()>
where
    NewRetweet: Bind<S::Database>,
    NewFlight: Bind<S::Database>,
    Retweet: On<S::Database>,
    Flight: On<S::Database>,
{
    let mut report = Report::new(S::NAME, server.version().await?);
    let wanted = |what| options.only.is_empty() || options.only.contains(&what);
    if wanted(What::Retweets) {
        let rows: Vec<_> = (0..options.rows).map(rows::retweet).collect();
        loads(server, options, rows, &mut report).await?;
    }
    if wanted(What::Flights) {
        let mut rows = rows::flights(options.flights.as_deref())?;
        rows::shuffle(&mut rows);
        loads(server, options, rows, &mut report).await?;
    }
    if wanted(What::Batches) {
        batches(server, options, &mut report).await?;
    }
    if wanted(What::One) {
        one_by_one(server, options, &mut report).await?;
    }
    report::write(&report, options)
}

/// Measures all rows in one call.
///
/// So many percent of them are there.
async fn loads<S: Server, R: Workload + Bind<S::Database>>(
    server: &S,
    options: &Options,
    mut rows: Vec<R>,
    report: &mut Report,
) -> Result<()>
where
    R::Model: On<S::Database>,
{
    let contenders = contenders::<S, R>(server, options)?;
    for &percent in &options.percent {
        // Every hundred rows in a row hold as many of those that are there: with the rows in random order, so does every part of the key's range.
        let there: Vec<R> =
            rows.iter().zip(0..).filter(|(_, n)| n % 100 < percent).map(|(row, _)| row.clone()).collect();
        server.seed(&there).await?;
        let unsorted = rows.clone();
        for &order in &options.order {
            if order == Order::Sorted {
                rows::sort(&mut rows);
            }
            let mut times = vec![Vec::new(); contenders.len()];
            for round in 0..options.rounds {
                for turn in 0..contenders.len() {
                    let now = (round + turn) % contenders.len();
                    let Entry { contender, role, name } = &contenders[now];
                    server.reset::<R>(*role != Role::Limit).await?;
                    let job = contender.prepare(&rows);
                    times[now].push(Time::of_each([job], 1).await?);
                    let count = server.count(R::TABLE).await?;
                    ensure!(count == rows.len() as u64, "{name} left {count} rows in the table");
                }
            }
            let case = Case { workload: R::TABLE, rows: rows.len(), batch: None, order: Some(order.into()), percent };
            report.add(&case, contenders.iter().zip(times).map(|(entry, times)| Figure::new(entry, &times)).collect());
        }
        rows = unsorted;
    }
    Ok(())
}

/// Measures small calls into a table that holds many rows.
async fn batches<S: Server>(server: &S, options: &Options, report: &mut Report) -> Result<()>
where
    NewRetweet: Bind<S::Database>,
    Retweet: On<S::Database>,
{
    let contenders = contenders::<S, NewRetweet>(server, options)?;
    let there: Vec<_> = (0..ROWS_BEFORE_BATCHES).map(rows::retweet).collect();
    server.seed(&there).await?;
    for batch in BATCHES {
        for &percent in &options.percent {
            // The limit knows no conflicts.
            let contenders: Vec<_> =
                contenders.iter().filter(|entry| percent == 0 || entry.role != Role::Limit).collect();
            let calls = (20_000 / batch as u64).clamp(3, 200);
            let mut times = vec![Vec::new(); contenders.len()];
            for round in 0..options.rounds {
                server.reset::<NewRetweet>(true).await?;
                let mut next = Numbers { new: ROWS_BEFORE_BATCHES, there: 0 };
                for turn in 0..contenders.len() {
                    let now = (round + turn) % contenders.len();
                    let contender = &contenders[now].contender;
                    contender.prepare(&next.batch(batch, percent)).await?;
                    let jobs: Vec<_> = (0..calls).map(|_| contender.prepare(&next.batch(batch, percent))).collect();
                    times[now].push(Time::of_each(jobs, calls).await?);
                    let count = server.count("retweets").await?;
                    ensure!(
                        count == next.new,
                        "{} left {count} rows in the table, not {}",
                        contenders[now].name,
                        next.new
                    );
                }
            }
            let case = Case { workload: "batches", rows: batch, batch: Some(batch), order: None, percent };
            report.add(&case, contenders.iter().zip(times).map(|(entry, times)| Figure::new(entry, &times)).collect());
        }
    }
    Ok(())
}

/// The numbers of the retweets of the next batch.
struct Numbers {
    new: u64,
    there: u64,
}

impl Numbers {
    fn batch(&mut self, rows: usize, percent: u64) -> Vec<NewRetweet> {
        let mut owed = 0;
        let mut next = |_| {
            owed += percent;
            let number = if owed >= 100 {
                owed -= 100;
                self.there += 1;
                self.there % ROWS_BEFORE_BATCHES
            } else {
                self.new += 1;
                self.new - 1
            };
            rows::retweet(number)
        };
        (0..rows).map(&mut next).collect()
    }
}

/// Measures one row a call: there, or not.
async fn one_by_one<S: Server>(server: &S, options: &Options, report: &mut Report) -> Result<()>
where
    NewRetweet: Bind<S::Database>,
{
    const CALLS: u64 = 2_000;
    let contenders = server.one_by_one()?;
    let there: Vec<_> = (0..ROWS_BEFORE_BATCHES).map(rows::retweet).collect();
    server.seed(&there).await?;
    for percent in [0, 100] {
        let mut times = vec![Vec::new(); contenders.len()];
        for round in 0..options.rounds {
            server.reset::<NewRetweet>(true).await?;
            let mut next = Numbers { new: ROWS_BEFORE_BATCHES, there: 0 };
            for turn in 0..contenders.len() {
                let now = (round + turn) % contenders.len();
                let contender = &contenders[now].contender;
                contender.prepare(&next.batch(10, percent)).await?;
                let job = contender.prepare(&next.batch(CALLS as usize, percent));
                times[now].push(Time::of_each([job], CALLS).await?);
            }
        }
        let case = Case { workload: "one row", rows: 1, batch: None, order: None, percent };
        report.add(&case, contenders.iter().zip(times).map(|(entry, times)| Figure::new(entry, &times)).collect());
    }
    Ok(())
}

/// Lists this crate and the contenders to measure it against.
fn contenders<S: Server, R: Workload + Bind<S::Database>>(server: &S, options: &Options) -> Result<Vec<Entry<R>>>
where
    R::Model: On<S::Database>,
{
    let mut entries = server.contenders::<R>(Chunks::Best)?;
    if !options.tune.is_empty() {
        entries.retain(|entry| entry.role == Role::Ours);
        for &rows in &options.tune {
            let tried = server.contenders::<R>(Chunks::Of(rows))?;
            entries.extend(tried.into_iter().filter(|entry| entry.role != Role::Ours).map(|entry| {
                let name = format!("{} by {rows}", entry.name);
                Entry { name, ..entry }
            }));
        }
    }
    entries.retain(|entry| {
        entry.role == Role::Ours || options.against.as_ref().is_none_or(|name| entry.name.contains(name.as_str()))
    });
    Ok(entries)
}
