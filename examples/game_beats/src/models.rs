//! The three tables.

use upsertable::Upsertable;

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "games")]
#[unique(provider_game_id)]
pub struct Game {
    #[upsertable(generated)]
    pub id: i64,
    pub provider_game_id: i64,
    /// The game's title.
    ///
    /// The results do not tell it: it costs a call to the API.
    pub title: String,
}

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "players")]
#[unique(name)]
pub struct Player {
    #[upsertable(generated)]
    pub id: i64,
    pub name: String,
}

/// A game's result: who beat whom, all by ids.
///
/// The game, the winner and the loser.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "beats")]
#[unique(provider_beat_id)]
pub struct Beat {
    #[upsertable(generated)]
    pub id: i64,
    pub provider_beat_id: i64,
    pub game: i64,
    pub winner: i64,
    pub loser: i64,
}
