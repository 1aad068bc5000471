//! The week's chart.

use std::process;

use anyhow::{Result, ensure};
use sqlx::{Executor, FromRow, IntoArguments, Pool};
use upsertable::{Backend, On, Outcome, Upsertable as _};

use crate::models::{Chart, Entry, EntryKey, NewChart, Song};

pub const PLACES: i64 = 20;

/// Makes the chart in one transaction.
///
/// So it is there whole or not at all. With `crash_after` the process dies after so many entries.
pub async fn make<DB: Backend>(pool: &Pool<DB>, week: &str, top: &[Song], crash_after: Option<u32>) -> Result<()>
where
    Chart: On<DB>,
    Entry: On<DB>,
{
    let mut tx = upsertable::begin(pool).await?;
    let Outcome { row: chart, created } = Chart::get_or_create(&mut tx, NewChart { week: week.to_owned() }).await?;
    if created {
        for entry in entries(&chart, top, crash_after) {
            Entry::get_or_create(&mut tx, entry).await?;
        }
        let week = week.to_owned();
        tx.on_commit(async move { println!("the chart of {week} is out") });
    }
    tx.commit().await?;
    Ok(())
}

/// Makes the chart without a transaction, each entry by itself.
///
/// What is there when the process dies stays, and the next run takes it for the chart.
pub async fn make_piecemeal<DB: Backend>(
    pool: &Pool<DB>,
    week: &str,
    top: &[Song],
    crash_after: Option<u32>,
) -> Result<()>
where
    Chart: On<DB>,
    Entry: On<DB>,
{
    let Outcome { row: chart, created } = Chart::get_or_create(pool, NewChart { week: week.to_owned() }).await?;
    if created {
        for entry in entries(&chart, top, crash_after) {
            Entry::get_or_create(pool, entry).await?;
        }
        println!("the chart of {week} is out");
    }
    Ok(())
}

fn entries(chart: &Chart, top: &[Song], crash_after: Option<u32>) -> impl Iterator<Item = Entry> + Send {
    let chart = chart.id;
    top.iter().zip(1..).map(move |(song, place)| {
        if crash_after.is_some_and(|after| place > i64::from(after)) {
            // No destructor runs, as after a power cut.
            process::abort();
        }
        Entry { chart, place, song: song.id }
    })
}

/// The songs that were played most.
pub async fn top<DB: Backend>(pool: &Pool<DB>) -> Result<Vec<Song>>
where
    Song: On<DB>,
    for<'r> Song: FromRow<'r, DB::Row>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    let top = sqlx::query_as("SELECT * FROM songs ORDER BY plays DESC, number LIMIT 20").fetch_all(pool).await?;
    ensure!(i64::try_from(top.len()) == Ok(PLACES), "{} songs are too few for a chart of {PLACES}", top.len());
    Ok(top)
}

/// Number of places taken in the week's chart.
///
/// None where there is no chart.
pub async fn places<DB: Backend>(pool: &Pool<DB>, week: &str) -> Result<usize>
where
    Chart: On<DB>,
    Entry: On<DB>,
{
    let Some(chart) = Chart::find(pool, crate::models::ChartKey { week: week.to_owned() }).await? else { return Ok(0) };
    let keys = (1..=PLACES).map(|place| EntryKey { chart: chart.id, place });
    Ok(Entry::find_all(pool, keys).await?.into_iter().flatten().count())
}
