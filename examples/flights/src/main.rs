//! Run with: cargo run -p flights
//!
//! Imports flights as somebody sees them who asks for them again and again, in windows of days that overlap. Each window is one transaction:
//! airports and planes that are not known yet are made first, in one call each, then the flights that are new. A second run adds nothing.

mod data;
mod models;

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Parser as _;
use futures_util::stream;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::{MySqlPool, PgPool, Pool, SqlitePool, sqlite::SqliteConnectOptions};
use upsertable::{Backend, BulkCreated, On, Upsertable as _};

use data::{DataFile, Window};
use models::{Airline, Airport, Flight, FlightCodes, FlightLine, NewAirline, NewAirport, NewFlight, NewPlane, Plane};

/// Imports flights in overlapping windows of days, adding those that are new.
#[derive(Debug, clap::Parser)]
struct Options {
    /// The database. A SQLite file is made when it is missing; one on a PostgreSQL, MySQL or MariaDB server has to be there.
    #[arg(
        long,
        value_name = "sqlite://PATH|postgres://USER@HOST/NAME|mysql://USER@HOST/NAME",
        default_value = "sqlite://flights.db"
    )]
    database_url: String,

    /// A folder with flights, airlines, airports and planes. Each is a .csv or .csv.gz; without the folder, the first week of 2013 is
    /// imported.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
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
    let url = &options.database_url;
    let folder = options.data.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("data"));
    // Which database it is, is asked here alone: each has its own SQL for the tables, and all the rest is the same.
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => {
            let database = url.parse::<SqliteConnectOptions>()?.create_if_missing(true);
            let pool = SqlitePool::connect_with(database).await.map_err(|error| anyhow!("{url}: {error}"))?;
            sqlx::migrate!("migrations/sqlite").run(&pool).await?;
            import(pool, &folder).await
        }
        Some("postgres" | "postgresql") => {
            let pool = PgPool::connect(url).await.map_err(|error| anyhow!("--database-url: {error}"))?;
            sqlx::migrate!("migrations/postgres").run(&pool).await?;
            import(pool, &folder).await
        }
        Some("mysql" | "mariadb") => {
            let pool = MySqlPool::connect(url).await.map_err(|error| anyhow!("--database-url: {error}"))?;
            sqlx::migrate!("migrations/mysql").run(&pool).await?;
            import(pool, &folder).await
        }
        // The URL is not told again: a password may stand in it.
        _ => bail!("--database-url: expected sqlite://.., postgres://.. or mysql://.."),
    }
}

/// Ids of airlines, airports and planes, by their codes.
///
/// The codes are those in the file.
#[derive(Default)]
struct Ids {
    airlines: HashMap<String, i64>,
    airports: HashMap<String, i64>,
    planes: HashMap<String, i64>,
}

/// Imports all windows into the database, and closes the pool.
async fn import<DB: Backend>(pool: Pool<DB>, folder: &Path) -> Result<()>
where
    Airline: On<DB>,
    Airport: On<DB>,
    Plane: On<DB>,
    Flight: On<DB>,
{
    let imported = import_windows(&pool, folder).await;
    pool.close().await;
    imported
}

async fn import_windows<DB: Backend>(pool: &Pool<DB>, folder: &Path) -> Result<()>
where
    Airline: On<DB>,
    Airport: On<DB>,
    Plane: On<DB>,
    Flight: On<DB>,
{
    let mut ids = Ids::default();
    for line in DataFile::open(folder, "airlines")?.lines::<NewAirline>() {
        let airline = Airline::get_or_create(pool, line?).await?.into_row();
        ids.airlines.insert(airline.carrier, airline.id);
    }
    let mut airports = DataFile::open(folder, "airports")?;
    Airport::bulk_create_new_stream(pool, stream::iter(airports.lines::<NewAirport>())).await?;
    let mut planes = DataFile::open(folder, "planes")?;
    Plane::bulk_create_new_stream(pool, stream::iter(planes.lines::<NewPlane>())).await?;

    let mut flights = DataFile::open(folder, "flights")?;
    let windows = flights.windows()?;
    // On stderr, and drawn only where that is a terminal.
    let bar = ProgressBar::new(windows.iter().map(Window::lines).sum())
        .with_style(ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} lines, {eta}")?);
    for window in &windows {
        let done = import_window(pool, &mut flights, window, &mut ids, &bar)
            .await
            .map_err(|error| anyhow!("{error}; nothing of {window} is kept"))?;
        bar.suspend(|| println!("{window}: {done}"));
    }
    bar.finish_and_clear();
    Ok(())
}

/// Imports one window in one transaction.
///
/// An error drops it, and nothing of it is kept.
async fn import_window<DB: Backend>(
    pool: &Pool<DB>,
    flights: &mut DataFile,
    window: &Window,
    ids: &mut Ids,
    bar: &ProgressBar,
) -> Result<BulkCreated>
where
    Airport: On<DB>,
    Plane: On<DB>,
    Flight: On<DB>,
{
    let mut tx = upsertable::begin(pool).await?;

    // Flights need the ids of their airports and planes, so these come before the first flight is sent. Codes are all that is kept, each once.
    let (mut airports, mut planes) = (BTreeSet::new(), BTreeSet::new());
    for codes in flights.lines_of(window, Ok::<FlightCodes, _>) {
        let FlightCodes { origin, dest, tailnum } = codes?;
        airports.extend([origin, dest].into_iter().filter(|faa| !ids.airports.contains_key(faa)));
        planes.extend(tailnum.filter(|tailnum| !ids.planes.contains_key(tailnum)));
    }
    let airports = airports.into_iter().map(|faa| NewAirport { faa, ..NewAirport::default() });
    for airport in Airport::bulk_get_or_create(&mut tx, airports).await? {
        ids.airports.insert(airport.row.faa, airport.row.id);
    }
    let planes = planes.into_iter().map(|tailnum| NewPlane { tailnum, ..NewPlane::default() });
    for plane in Plane::bulk_get_or_create(&mut tx, planes).await? {
        ids.planes.insert(plane.row.tailnum, plane.row.id);
    }

    // Read from the file as they are sent to the database, so memory stays the same for a week and for a year.
    let lines = flights.lines_of(window, |line| {
        bar.inc(1);
        new_flight(line, ids)
    });
    let done = Flight::bulk_create_new_stream(&mut tx, stream::iter(lines)).await?;

    if done.created > 0 {
        let bar = bar.clone();
        tx.on_commit(async move { bar.suspend(|| println!("announcing {} new flights", done.created)) });
    }
    tx.commit().await?;
    Ok(done)
}

fn new_flight(line: FlightLine, ids: &Ids) -> Result<NewFlight> {
    data::date(line.year, line.month, line.day)?;
    let id = |what: &str, ids: &HashMap<String, i64>, code: &str| {
        ids.get(code).copied().with_context(|| format!("the {what} {code} is not known"))
    };
    Ok(NewFlight {
        year: line.year,
        month: line.month,
        day: line.day,
        carrier: id("airline", &ids.airlines, &line.carrier)?,
        flight: line.flight,
        origin: id("airport", &ids.airports, &line.origin)?,
        dest: id("airport", &ids.airports, &line.dest)?,
        plane: line.tailnum.map(|tailnum| id("plane", &ids.planes, &tailnum)).transpose()?,
        dep_time: line.dep_time,
        sched_dep_time: line.sched_dep_time,
        dep_delay: line.dep_delay,
        arr_time: line.arr_time,
        sched_arr_time: line.sched_arr_time,
        arr_delay: line.arr_delay,
        air_time: line.air_time,
        distance: line.distance,
        hour: line.hour,
        minute: line.minute,
        time_hour: line.time_hour.parse().map_err(|error| anyhow!("time_hour: {error}"))?,
    })
}
