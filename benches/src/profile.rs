//! Profile of our own time.
//!
//! It shows what sqlx tells of each statement, and the time in between.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Result;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::Registry,
};
use upsertable::{On, Upsertable as _};

use crate::{
    Options, rows,
    server::Server,
    workload::{
        Bind, Workload,
        flights::{Flight, NewFlight},
        retweets::{NewRetweet, Retweet},
    },
};

pub async fn run<S: Server>(server: &S, options: &Options) -> Result<()>
where
    NewRetweet: Bind<S::Database>,
    NewFlight: Bind<S::Database>,
    Retweet: On<S::Database>,
    Flight: On<S::Database>,
{
    let steps = Steps::default();
    tracing::subscriber::set_global_default(Registry::default().with(steps.clone()))?;
    println!("{}", server.version().await?);
    let retweets: Vec<_> = (0..options.rows).map(rows::retweet).collect();
    profile(server, options, &steps, &retweets).await?;
    let mut flights = rows::flights(options.flights.as_deref())?;
    rows::shuffle(&mut flights);
    profile(server, options, &steps, &flights).await
}

async fn profile<S: Server, R: Workload + Bind<S::Database>>(
    server: &S,
    options: &Options,
    steps: &Steps,
    rows: &[R],
) -> Result<()>
where
    R::Model: On<S::Database>,
{
    for &percent in &options.percent {
        let there: Vec<R> =
            rows.iter().zip(0..).filter(|(_, n)| n % 100 < percent).map(|(row, _)| row.clone()).collect();
        server.seed(&there).await?;
        server.reset::<R>(true).await?;
        let rows = rows.to_vec();
        steps.take();
        let start = Instant::now();
        let done = R::Model::bulk_create_new(server.pool(), rows).await?;
        let end = Instant::now();
        println!("\n{}: {done}, {:.1} ms", R::TABLE, ms(end - start));
        print(start, end, &steps.take());
    }
    Ok(())
}

/// Prints a line per kind of statement, in order of appearance.
///
/// `outside` is the time since the statement before: the client's, or that of a COPY or COMMIT, of which sqlx tells nothing.
fn print(start: Instant, end: Instant, steps: &[Step]) {
    struct Line {
        sql: String,
        times: usize,
        inside: Duration,
        outside: Duration,
    }
    let mut lines: Vec<Line> = Vec::new();
    let mut last = start;
    for step in steps {
        let outside = step.ended.saturating_duration_since(last).saturating_sub(step.took);
        last = step.ended;
        match lines.iter_mut().find(|line| line.sql == step.sql) {
            Some(line) => {
                line.times += 1;
                line.inside += step.took;
                line.outside += outside;
            }
            None => lines.push(Line { sql: step.sql.clone(), times: 1, inside: step.took, outside }),
        }
    }
    lines.push(Line { sql: "(the end)".to_owned(), times: 1, inside: Duration::ZERO, outside: end - last });
    println!("  {:>10} {:>10} {:>6}  statement", "inside ms", "outside ms", "times");
    for Line { sql, times, inside, outside } in lines {
        println!("  {:>10.2} {:>10.2} {times:>6}  {sql}", ms(inside), ms(outside));
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[derive(Clone)]
struct Step {
    sql: String,
    took: Duration,
    ended: Instant,
}

#[derive(Clone, Default)]
struct Steps(Arc<Mutex<Vec<Step>>>);

impl Steps {
    fn take(&self) -> Vec<Step> {
        self.0.lock().map(|mut steps| std::mem::take(&mut *steps)).unwrap_or_default()
    }
}

impl<S: Subscriber> Layer<S> for Steps {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target() == "sqlx::query" { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == "sqlx::query" && *metadata.level() <= Level::DEBUG
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut seen = Seen::default();
        event.record(&mut seen);
        if let Ok(mut steps) = self.0.lock() {
            steps.push(Step { sql: seen.sql, took: seen.took, ended: Instant::now() });
        }
    }
}

#[derive(Default)]
struct Seen {
    sql: String,
    took: Duration,
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "summary" {
            value.clone_into(&mut self.sql);
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.took = Duration::from_secs_f64(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
