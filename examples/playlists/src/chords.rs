//! The chords of all songs.

use std::time::UNIX_EPOCH;

use anyhow::{Result, anyhow};
use indicatif::ProgressBar;
use sqlx::{Executor, FromRow, IntoArguments, Pool};
use upsertable::{Backend, BatchReport, BoxError, On, Outcome, Transaction, Upsertable as _};

use crate::models::{Derivation, NewSong, Song, SongKey};

/// Derives the chords in batches, each of them a transaction.
///
/// What is done is kept, a song with corrupt notes is reported and stops nothing, and of the songs no more than a batch is in memory.
pub async fn in_batches<DB: Backend>(pool: &Pool<DB>, size: usize, bar: &ProgressBar) -> Result<BatchReport<SongKey>>
where
    Song: On<DB>,
    Derivation: On<DB>,
{
    let run = this_run();
    let report = Song::batches(pool)
        .filter("chord_num IS NULL")
        .size(size)
        .on_progress(|progress| bar.set_position(progress.done + progress.failed))
        .run(async |tx, song: Song| derive(tx, song, run).await)
        .await?;
    Ok(report)
}

/// Derives all chords in one transaction.
///
/// All songs are in memory. A corrupt song or a crash near the end, and nothing is kept.
pub async fn all_at_once<DB: Backend>(pool: &Pool<DB>, bar: &ProgressBar) -> Result<usize>
where
    Song: On<DB>,
    Derivation: On<DB>,
    for<'r> Song: FromRow<'r, DB::Row>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
{
    let run = this_run();
    let songs: Vec<Song> =
        sqlx::query_as("SELECT * FROM songs WHERE chord_num IS NULL ORDER BY number").fetch_all(pool).await?;
    let todo = songs.len();
    let mut tx = upsertable::begin(pool).await?;
    for song in songs {
        let number = song.number;
        let derived = derive(&mut tx, song, run).await;
        derived.map_err(|error| anyhow!("song {number}: {error}; nothing of {todo} songs is kept"))?;
        bar.inc(1);
    }
    tx.commit().await?;
    Ok(todo)
}

/// Derives a song's chord, and records that it has been done.
///
/// The two rows belong together.
async fn derive<DB: Backend>(tx: &mut Transaction<DB>, song: Song, run: i64) -> Result<(), BoxError>
where
    Song: On<DB>,
    Derivation: On<DB>,
{
    let chord_num = Some(chord(&song.notes)?);
    let Outcome { created, .. } = Derivation::get_or_create(&mut *tx, Derivation { song: song.id, run }).await?;
    if !created {
        return Err("this run has done it already".into());
    }
    let Song { number, title, plays, notes, .. } = song;
    Song::upsert(&mut *tx, NewSong { number, title, plays, notes, chord_num }).await?;
    Ok(())
}

/// A number that differs with each run of the program.
fn this_run() -> i64 {
    UNIX_EPOCH.elapsed().map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(0))
}

/// Triad of three notes in any order.
///
/// Twice the root, counted from C, and one more where it is minor.
fn chord(notes: &str) -> Result<i64, String> {
    let notes = notes.split_whitespace().map(|note| {
        let number: Result<u8, _> = note.parse();
        number.map(|number| i64::from(number) % 12).map_err(|_| format!("{note:?} is no note"))
    });
    let mut notes = notes.collect::<Result<Vec<i64>, _>>()?;
    notes.sort_unstable();
    for root in 0..12 {
        for (minor, third) in [(0, 4), (1, 3)] {
            let mut triad = [root, (root + third) % 12, (root + 7) % 12];
            triad.sort_unstable();
            if notes == triad {
                return Ok(2 * root + minor);
            }
        }
    }
    Err("these notes are no major or minor triad".to_owned())
}
