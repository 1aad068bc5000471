//! The four tables.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use upsertable::Upsertable;

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "airlines", new(derive(Deserialize)))]
#[unique(carrier)]
pub struct Airline {
    #[upsertable(generated)]
    pub id: i64,
    pub carrier: String,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "airports", new(derive(Default, Deserialize)))]
#[unique(faa)]
pub struct Airport {
    #[upsertable(generated)]
    pub id: i64,
    pub faa: String,
    pub name: Option<String>,
    pub lat: Option<f64>,
    pub lon: Option<f64>,
    pub alt: Option<i32>,
    pub tz: Option<i32>,
    pub dst: Option<String>,
    pub tzone: Option<String>,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "planes", new(derive(Default, Deserialize)))]
#[unique(tailnum)]
pub struct Plane {
    #[upsertable(generated)]
    pub id: i64,
    pub tailnum: String,
    pub year: Option<i32>,
    pub r#type: Option<String>,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub engines: Option<i32>,
    pub seats: Option<i32>,
    pub speed: Option<i32>,
    pub engine: Option<String>,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "flights")]
#[unique(year, month, day, carrier, flight, origin)]
#[allow(clippy::struct_field_names, reason = "the columns are named as in the data")]
pub struct Flight {
    #[upsertable(generated)]
    pub id: i64,
    pub year: i32,
    pub month: i32,
    pub day: i32,
    /// The airline's id.
    pub carrier: i64,
    /// The number that the airline gives the flight.
    pub flight: i32,
    /// The airport's id.
    pub origin: i64,
    /// The airport's id.
    pub dest: i64,
    /// The plane's id, if known.
    ///
    /// Of some flights that were cancelled, no plane is known.
    pub plane: Option<i64>,
    pub dep_time: Option<i32>,
    pub sched_dep_time: i32,
    pub dep_delay: Option<i32>,
    pub arr_time: Option<i32>,
    pub sched_arr_time: i32,
    pub arr_delay: Option<i32>,
    pub air_time: Option<i32>,
    pub distance: i32,
    pub hour: i32,
    pub minute: i32,
    pub time_hour: DateTime<Utc>,
}

/// A flight as the CSV file tells it.
///
/// It has codes where the table has ids.
#[derive(Debug, Deserialize)]
pub struct FlightLine {
    pub year: i32,
    pub month: i32,
    pub day: i32,
    pub dep_time: Option<i32>,
    pub sched_dep_time: i32,
    pub dep_delay: Option<i32>,
    pub arr_time: Option<i32>,
    pub sched_arr_time: i32,
    pub arr_delay: Option<i32>,
    pub carrier: String,
    pub flight: i32,
    pub tailnum: Option<String>,
    pub origin: String,
    pub dest: String,
    pub air_time: Option<i32>,
    pub distance: i32,
    pub hour: i32,
    pub minute: i32,
    pub time_hour: String,
}

/// Codes in a line of the file.
///
/// They name what the table has ids of and what may not be known yet.
#[derive(Debug, Deserialize)]
pub struct FlightCodes {
    pub origin: String,
    pub dest: String,
    pub tailnum: Option<String>,
}
