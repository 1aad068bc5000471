//! Rows of the measurements.
//!
//! Retweets are made from numbers; flights are read from a file or made in its likeness.

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result};
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta};
use serde::{Deserialize, Deserializer};

use crate::workload::{Workload, flights::NewFlight, retweets::NewRetweet};

/// Number of flights that left New York in 2013.
pub const FLIGHTS: u64 = 336_776;

/// Spreads numbers evenly over 64 bits, each to one of its own.
///
/// The finaliser of splitmix64.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Makes the retweet with this number.
///
/// Its key lies anywhere in the index, as one of an import does.
pub fn retweet(number: u64) -> NewRetweet {
    let tweet = (mix(number) >> 8).cast_signed();
    NewRetweet { tweet, retweeter: number.cast_signed(), original_author: tweet & 0xFFFF }
}

/// Flights of this nycflights13 file, or, without one, as many made up.
pub fn flights(file: Option<&Path>) -> Result<Vec<NewFlight>> {
    let Some(file) = file else { return Ok((0..FLIGHTS).map(flight).collect()) };
    let open = File::open(file).with_context(|| file.display().to_string())?;
    let mut reader = csv::Reader::from_reader(flate2::read::MultiGzDecoder::new(open));
    reader.deserialize().map(|line: csv::Result<Line>| Ok(line?.into())).collect()
}

/// Shuffles the rows into the same order every time.
///
/// The order has nothing to do with their keys.
pub fn shuffle<R>(rows: &mut [R]) {
    for last in (1..rows.len()).rev() {
        let other = mix(last as u64) % (last as u64 + 1);
        rows.swap(last, usize::try_from(other).unwrap_or_default());
    }
}

pub fn sort<R: Workload>(rows: &mut [R]) {
    rows.sort_by(Workload::compare_keys);
}

/// Makes up a flight, with a different key for each number.
///
/// It has as many NULLs and as long texts as the real ones.
fn flight(number: u64) -> NewFlight {
    const CARRIERS: [&str; 16] =
        ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"];
    const ORIGINS: [&str; 3] = ["EWR", "JFK", "LGA"];
    const DESTINATIONS: [&str; 8] = ["ATL", "BOS", "CLT", "DEN", "IAH", "LAX", "MIA", "ORD"];
    let pick = |salt: u64, below: u64| mix(number ^ (salt << 40)) % below;
    let number_below = |salt, below: u64| i32::try_from(pick(salt, below)).unwrap_or_default();
    let a_day = FLIGHTS / 365 + 1;
    let date = NaiveDate::default() + TimeDelta::days(15_706 + (number / a_day).cast_signed());
    let (carrier, origin) = ((number % 16) as usize, (number / 16 % 3) as usize);
    let cancelled = pick(1, 100) < 3;
    let known = |value: i32| (!cancelled).then_some(value);
    let hour = 5 + number_below(2, 18);
    let minute = number_below(3, 60);
    NewFlight {
        year: chrono::Datelike::year(&date),
        month: chrono::Datelike::month(&date).cast_signed(),
        day: chrono::Datelike::day(&date).cast_signed(),
        dep_time: known(hour * 100 + minute),
        sched_dep_time: hour * 100 + minute,
        dep_delay: known(number_below(4, 200) - 20),
        arr_time: known(number_below(5, 2400)),
        sched_arr_time: number_below(6, 2400),
        arr_delay: known(number_below(7, 200) - 30),
        carrier: CARRIERS[carrier].to_owned(),
        flight: i32::try_from(number % a_day).unwrap_or_default(),
        tailnum: (pick(8, 1000) >= 7).then(|| format!("N{:05}", pick(9, 4000))),
        origin: ORIGINS[origin].to_owned(),
        dest: DESTINATIONS[pick(10, 8) as usize].to_owned(),
        air_time: known(20 + number_below(11, 600)),
        distance: 80 + number_below(12, 4900),
        hour,
        minute,
        time_hour: date.and_hms_opt(hour.cast_unsigned(), 0, 0).unwrap_or_default(),
    }
}

/// A line of the file, with `NA` for a missing value.
#[derive(Deserialize)]
struct Line {
    year: i32,
    month: i32,
    day: i32,
    #[serde(deserialize_with = "known")]
    dep_time: Option<i32>,
    sched_dep_time: i32,
    #[serde(deserialize_with = "known")]
    dep_delay: Option<i32>,
    #[serde(deserialize_with = "known")]
    arr_time: Option<i32>,
    sched_arr_time: i32,
    #[serde(deserialize_with = "known")]
    arr_delay: Option<i32>,
    carrier: String,
    flight: i32,
    tailnum: String,
    origin: String,
    dest: String,
    #[serde(deserialize_with = "known")]
    air_time: Option<i32>,
    distance: i32,
    hour: i32,
    minute: i32,
    #[serde(deserialize_with = "moment")]
    time_hour: NaiveDateTime,
}

fn known<'de, D: Deserializer<'de>>(value: D) -> Result<Option<i32>, D::Error> {
    let text = String::deserialize(value)?;
    if text == "NA" || text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn moment<'de, D: Deserializer<'de>>(value: D) -> Result<NaiveDateTime, D::Error> {
    let text = String::deserialize(value)?;
    DateTime::parse_from_rfc3339(&text).map(|moment| moment.naive_utc()).map_err(serde::de::Error::custom)
}

impl From<Line> for NewFlight {
    fn from(line: Line) -> Self {
        Self {
            year: line.year,
            month: line.month,
            day: line.day,
            dep_time: line.dep_time,
            sched_dep_time: line.sched_dep_time,
            dep_delay: line.dep_delay,
            arr_time: line.arr_time,
            sched_arr_time: line.sched_arr_time,
            arr_delay: line.arr_delay,
            carrier: line.carrier,
            flight: line.flight,
            tailnum: (line.tailnum != "NA" && !line.tailnum.is_empty()).then_some(line.tailnum),
            origin: line.origin,
            dest: line.dest,
            air_time: line.air_time,
            distance: line.distance,
            hour: line.hour,
            minute: line.minute,
            time_hour: line.time_hour,
        }
    }
}
