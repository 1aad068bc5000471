//! Stand-in for the provider's API.
//!
//! It answers from memory, and counts what it is asked.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};

/// A result as the API tells it.
///
/// It has the game's number and the players' names, where the table has ids.
#[derive(Debug, Clone)]
pub struct Told {
    pub provider_beat_id: i64,
    pub provider_game_id: i64,
    pub winner: String,
    pub loser: String,
}

/// Number of results on a page.
///
/// Each page begins a fifth of a page after the one before, as the API tells the newest results and is asked often, so that none is missed:
/// nearly every result is told five times.
pub const PAGE: i64 = 100;
const STEP: i64 = PAGE / 5;

const GAMES: i64 = 40;
const PLAYERS: i64 = 300;

#[derive(Debug, Default)]
pub struct Api {
    asked_for_games: AtomicU64,
}

impl Api {
    pub async fn results(&self, page: i64) -> Vec<Told> {
        answer().await;
        (page * STEP..page * STEP + PAGE).map(told).collect()
    }

    /// Title of a game.
    ///
    /// Real calls are slow, limited to so many a minute, or paid for.
    pub async fn title(&self, provider_game_id: i64) -> Result<String> {
        self.asked_for_games.fetch_add(1, Ordering::Relaxed);
        answer().await;
        ensure!((0..GAMES).contains(&provider_game_id), "the API knows no game {provider_game_id}");
        Ok(format!("game {provider_game_id}"))
    }

    pub fn asked_for_games(&self) -> u64 {
        self.asked_for_games.load(Ordering::Relaxed)
    }
}

/// Lets the others go on, as a wait for an answer does.
async fn answer() {
    tokio::task::yield_now().await;
}

/// Makes a result.
///
/// Its numbers look like chance and are always the same.
fn told(number: i64) -> Told {
    let scattered = |factor: i64, end: i64| ((number * factor + 11) >> 4).rem_euclid(end);
    let winner = scattered(7_919, PLAYERS);
    let loser = (winner + 1 + scattered(104_729, PLAYERS - 1)) % PLAYERS;
    Told {
        provider_beat_id: number,
        provider_game_id: scattered(15_485_863, GAMES),
        winner: format!("player {winner}"),
        loser: format!("player {loser}"),
    }
}
