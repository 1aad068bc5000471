//! A report that takes hours, and the same split in two.
//!
//! It takes hours as one query that joins everything that belongs to a debenture.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use sqlx::SqlitePool;

use crate::models::{self, Size};

const DEBENTURES: i64 = 10;

/// A line of the report, about one holder's debenture.
///
/// It tells what fell due and what was paid.
#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Line {
    debenture: i64,
    holder: i64,
    due: i64,
    paid: i64,
}

/// Rows and time of one way to the report.
pub struct Cost {
    pub rows: i64,
    pub time: Duration,
}

/// Measures both ways to the report.
///
/// The debentures each have so many instalments, holders and payments.
pub async fn measure(pool: &SqlitePool, each: i64) -> Result<(Cost, Cost)> {
    let size = Size { debentures: DEBENTURES, holders: each, holders_of_each: each, months: each, payments: each };
    models::fill(pool, size).await?;
    sqlx::query("DELETE FROM instalments WHERE kind <> 'interest'").execute(pool).await?;
    let (mut report, at_once) = at_once(pool).await?;
    let (split_report, split) = in_two(pool).await?;
    report.sort_by_key(|line| (line.debenture, line.holder));
    ensure!(report == split_report, "the two reports differ");
    Ok((at_once, split))
}

/// Makes the report in one query.
///
/// Of each debenture, every instalment meets every payment for every holder. The sums then count everything many times, and the divisions
/// undo that: the answer is right, and the work is the product of all three.
async fn at_once(pool: &SqlitePool) -> Result<(Vec<Line>, Cost)> {
    let start = Instant::now();
    let rows: Vec<(i64, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT h.debenture, h.holder, sum(i.cents) / count(DISTINCT p.number), sum(p.cents) / count(DISTINCT i.month), count(*)
         FROM holdings AS h
         JOIN instalments AS i ON i.debenture = h.debenture
         JOIN payments AS p ON p.debenture = h.debenture
         GROUP BY h.debenture, h.holder",
    )
    .fetch_all(pool)
    .await?;
    let time = start.elapsed();
    let joined = rows.iter().map(|row| row.4).sum();
    let report = rows.into_iter().map(|(debenture, holder, due, paid, _)| Line { debenture, holder, due, paid });
    Ok((report.collect(), Cost { rows: joined, time }))
}

/// Makes the report from sums, adding the holders after.
///
/// Each sum is of its own table: the work is the sum of all three.
async fn in_two(pool: &SqlitePool) -> Result<(Vec<Line>, Cost)> {
    let start = Instant::now();
    let sums: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT i.debenture, i.cents, p.cents, i.n + p.n
         FROM (SELECT debenture, sum(cents) AS cents, count(*) AS n FROM instalments GROUP BY debenture) AS i
         JOIN (SELECT debenture, sum(cents) AS cents, count(*) AS n FROM payments GROUP BY debenture) AS p ON p.debenture = i.debenture",
    )
    .fetch_all(pool)
    .await?;
    let holdings: Vec<(i64, i64)> =
        sqlx::query_as("SELECT debenture, holder FROM holdings ORDER BY debenture, holder").fetch_all(pool).await?;
    let mut rows: i64 = sums.iter().map(|sum| sum.3).sum();
    let sums: HashMap<_, _> = sums.into_iter().map(|(debenture, due, paid, _)| (debenture, (due, paid))).collect();
    let line = |(debenture, holder)| {
        rows += 1;
        sums.get(&debenture).map(|&(due, paid)| Line { debenture, holder, due, paid })
    };
    let report = holdings.into_iter().filter_map(line).collect();
    Ok((report, Cost { rows, time: start.elapsed() }))
}
