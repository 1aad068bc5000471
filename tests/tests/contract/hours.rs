//! Keys with a time in them.
//!
//! What is one key, and who decides.

use chrono::{DateTime, Utc};
use upsertable::{Outcome, Upsertable as _};

use super::tables::{self, Moment, WallClock};

/// A reading of the weather.
///
/// Year, month, day and hour as the clock on the wall showed them, the moment, the temperature.
type Reading = (i32, i32, i32, i32, &'static str, f64);

/// Newark's readings around both changes of the clocks.
///
/// Those of the night in which the clocks are put back, and of the one in which they are put forward (nycflights13, CC0).
const NEWARK: [Reading; 8] = [
    (2013, 3, 10, 1, "2013-03-10T06:00:00Z", 39.02),
    (2013, 3, 10, 3, "2013-03-10T07:00:00Z", 37.04),
    (2013, 3, 10, 4, "2013-03-10T08:00:00Z", 35.96),
    (2013, 11, 3, 0, "2013-11-03T04:00:00Z", 51.98),
    (2013, 11, 3, 1, "2013-11-03T05:00:00Z", 51.98),
    (2013, 11, 3, 1, "2013-11-03T06:00:00Z", 50.0),
    (2013, 11, 3, 2, "2013-11-03T07:00:00Z", 51.08),
    (2013, 11, 3, 3, "2013-11-03T08:00:00Z", 51.08),
];

/// Position at which the hour comes for the second time.
const REPEATED: usize = 5;

fn by_the_wall((year, month, day, hour, _, temp): Reading) -> WallClock {
    WallClock { origin: "EWR".into(), year, month, day, hour, temp }
}

fn by_the_moment((.., moment, temp): Reading) -> Moment {
    let time_hour: DateTime<Utc> = DateTime::parse_from_rfc3339(moment).unwrap().into();
    Moment { origin: "EWR".into(), time_hour, temp }
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_an_hour_that_the_clocks_repeat_is_one_key_by_the_wall_and_two_by_the_moment() {
    let db = tables::fixture().await;
    let wall = || NEWARK.into_iter().map(by_the_wall);
    let moments = || NEWARK.into_iter().map(by_the_moment);

    // By the wall the second reading of 1 o'clock has the key of the first, so it is skipped and the first is kept.
    assert_eq!(WallClock::bulk_create_new(&db.pool, wall()).await.unwrap().to_string(), "7 of 8 records added");
    let kept = WallClock::find(&db.pool, by_the_wall(NEWARK[REPEATED]).key()).await.unwrap().unwrap();
    assert_eq!(kept, by_the_wall(NEWARK[REPEATED - 1]));
    let outcome = WallClock::get_or_create(&db.pool, by_the_wall(NEWARK[REPEATED])).await.unwrap();
    assert_eq!(outcome, Outcome { row: kept, created: false });
    // An upsert keeps the second, and has lost the first.
    assert_eq!(WallClock::bulk_upsert(&db.pool, wall()).await.unwrap().to_string(), "0 of 8 records added, 7 updated");
    let kept = WallClock::find(&db.pool, by_the_wall(NEWARK[REPEATED]).key()).await.unwrap().unwrap();
    assert_eq!(kept, by_the_wall(NEWARK[REPEATED]));

    // They are an hour apart as moments, and the hour that the clocks skip is no gap.
    assert_eq!(Moment::bulk_create_new(&db.pool, moments()).await.unwrap().to_string(), "8 of 8 records added");
    assert_eq!(Moment::bulk_create_new(&db.pool, moments()).await.unwrap().to_string(), "0 of 8 records added");
    for reading in moments() {
        assert_eq!(
            Moment::get_or_create(&db.pool, reading.clone()).await.unwrap(),
            Outcome { row: reading, created: false }
        );
    }
    let found = Moment::find_all(&db.pool, moments().map(|reading| reading.key())).await.unwrap();
    assert_eq!(found, moments().map(Some).collect::<Vec<_>>());
    let rows = Moment::bulk_get_or_create(&db.pool, moments().rev()).await.unwrap();
    assert_eq!(rows.into_iter().map(Outcome::into_row).collect::<Vec<_>>(), moments().rev().collect::<Vec<_>>());
    assert_eq!(Moment::bulk_upsert(&db.pool, moments()).await.unwrap().to_string(), "0 of 8 records added, 8 updated");
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_one_moment_is_one_key_wherever_it_was_read() {
    let db = tables::fixture().await;
    let at = |text: &str| {
        let time_hour = DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        Moment { origin: "EWR".into(), time_hour, temp: 1.0 }
    };
    let same =
        ["2013-11-03T05:00:00Z", "2013-11-03T01:00:00-04:00", "2013-11-03T06:00:00+01:00", "2013-11-03T05:00:00.000Z"];
    let outcomes = Moment::bulk_get_or_create(&db.pool, same.map(at)).await.unwrap();
    assert_eq!(outcomes.iter().map(|outcome| outcome.created).collect::<Vec<_>>(), [true, false, false, false]);
    for text in same {
        assert!(!Moment::upsert(&db.pool, at(text)).await.unwrap().created, "{text}");
    }
    assert_eq!(db.count("moments").await, 1);
}
