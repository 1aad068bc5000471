//! The four tables, and the songs that are put into the first.

use upsertable::Upsertable;

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "songs")]
#[unique(number)]
pub struct Song {
    #[upsertable(generated)]
    pub id: i64,
    pub number: i64,
    pub title: String,
    pub plays: i64,
    /// Three notes as MIDI numbers, with blanks between.
    ///
    /// Some songs have something else here.
    pub notes: String,
    /// Chord derived from the notes.
    pub chord_num: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "charts")]
#[unique(week)]
pub struct Chart {
    #[upsertable(generated)]
    pub id: i64,
    pub week: String,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "entries")]
#[unique(chart, place)]
pub struct Entry {
    pub chart: i64,
    pub place: i64,
    pub song: i64,
}

/// Record that a run of the program derived a song's chord.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "derivations")]
#[unique(song, run)]
pub struct Derivation {
    pub song: i64,
    pub run: i64,
}

/// Makes the songs from 1 to `songs`.
///
/// Every so many of them have notes that are none.
pub fn songs(songs: u32, corrupt_every: u32) -> impl Iterator<Item = NewSong> + Send {
    (1..=i64::from(songs)).map(move |number| NewSong {
        number,
        title: format!("song {number}"),
        plays: (number * 7_919) % 1_000_003,
        notes: if number % i64::from(corrupt_every) == 0 { "60 ?? 67".to_owned() } else { notes(number) },
        chord_num: None,
    })
}

/// Notes of a triad, in any order and octave.
///
/// It is major or minor.
fn notes(number: i64) -> String {
    let (root, minor) = (number / 2 % 12, number % 2);
    let [low, middle, high] = [36 + root, 48 + root + 4 - minor, 60 + root + 7];
    let notes = match number % 3 {
        0 => [low, middle, high],
        1 => [middle, high, low],
        _ => [high, low, middle],
    };
    notes.map(|note| note.to_string()).join(" ")
}
