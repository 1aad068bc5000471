//! Report of the figures: as a table, as JSON, as a picture.

use std::fs::File;

use anyhow::Result;
use serde::Serialize;

use crate::{
    Options, Order,
    contender::{Entry, Role, Time},
    plot,
};

#[derive(Serialize)]
pub struct Report {
    pub database: &'static str,
    pub version: String,
    pub results: Vec<Results>,
}

#[derive(Serialize)]
pub struct Results {
    #[serde(flatten)]
    pub case: Case,
    pub contenders: Vec<Figure>,
}

/// Conditions of a measurement.
#[derive(Serialize, Clone, PartialEq)]
pub struct Case {
    pub workload: &'static str,
    pub rows: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<&'static str>,
    pub percent: u64,
}

/// One contender's times, in milliseconds.
///
/// A ratio is the contender's time divided by ours: above 1, ours is faster.
#[derive(Serialize)]
pub struct Figure {
    pub name: String,
    pub median_ms: f64,
    pub ratio: f64,
    pub least_ms: f64,
    pub least_ratio: f64,
    /// The processor's time, the server's included.
    pub cpu_ms: f64,
    pub cpu_ratio: f64,
    pub rounds_ms: Vec<f64>,
    #[serde(skip)]
    role: Role,
}

impl Figure {
    pub fn new<R>(entry: &Entry<R>, rounds: &[Time]) -> Self {
        let rounds_ms: Vec<_> = rounds.iter().map(|time| time.clock_ms).collect();
        Self {
            name: entry.name.clone(),
            median_ms: median(rounds_ms.clone()),
            ratio: 1.0,
            least_ms: rounds_ms.iter().copied().fold(f64::INFINITY, f64::min),
            least_ratio: 1.0,
            cpu_ms: median(rounds.iter().map(|time| time.cpu_ms).collect()),
            cpu_ratio: 1.0,
            rounds_ms,
            role: entry.role,
        }
    }
}

impl From<Order> for &'static str {
    fn from(order: Order) -> Self {
        match order {
            Order::Random => "random",
            Order::Sorted => "sorted",
        }
    }
}

impl Report {
    pub fn new(database: &'static str, version: String) -> Self {
        println!("{version}; milliseconds; ratio: the contender's divided by ours, so above 1 ours is faster");
        Self { database, version, results: Vec::new() }
    }

    /// Adds one case's figures, and prints them.
    pub fn add(&mut self, case: &Case, mut contenders: Vec<Figure>) {
        let order = case.order.map_or(String::new(), |order| format!(", {order} keys"));
        println!("\n{}, {} rows a call, {} % there{order}", case.workload, case.rows, case.percent);
        println!("  {:<28} {:>10} ratio {:>10} ratio {:>10} ratio", "", "median", "least", "processor");
        let ours = contenders.iter().find(|figure| figure.role == Role::Ours);
        let ours = ours.map_or((f64::NAN, f64::NAN, f64::NAN), |ours| (ours.median_ms, ours.least_ms, ours.cpu_ms));
        for figure in &mut contenders {
            figure.ratio = figure.median_ms / ours.0;
            figure.least_ratio = figure.least_ms / ours.1;
            figure.cpu_ratio = figure.cpu_ms / ours.2;
            let Figure { name, median_ms, ratio, least_ms, least_ratio, cpu_ms, cpu_ratio, .. } = figure;
            println!(
                "  {name:<28} {median_ms:>10.3} {ratio:>5.2} {least_ms:>10.3} {least_ratio:>5.2} {cpu_ms:>10.3} {cpu_ratio:>5.2}"
            );
        }
        self.results.push(Results { case: case.clone(), contenders });
    }
}

pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    match times.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => times[n / 2],
        n => f64::midpoint(times[n / 2 - 1], times[n / 2]),
    }
}

pub fn write(report: &Report, options: &Options) -> Result<()> {
    if let Some(path) = &options.json {
        serde_json::to_writer_pretty(File::create(path)?, report)?;
    }
    if let Some(folder) = &options.plot {
        plot::draw(report, folder)?;
    }
    Ok(())
}
