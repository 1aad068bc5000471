//! Two ways to store a page of results.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context as _, Result};
use sqlx::SqlitePool;
use upsertable::Upsertable as _;

use crate::{
    api::{Api, Told},
    models::{Beat, Game, GameKey, NewBeat, NewGame, NewPlayer, Player},
};

/// A worker's number, and how many workers there are.
#[derive(Debug, Clone, Copy)]
pub struct Worker {
    pub number: usize,
    pub of: usize,
}

/// Stores results, after the games and players.
///
/// The results need their ids.
pub async fn store(pool: &SqlitePool, api: &Api, results: &[Told], worker: Worker) -> Result<()> {
    let mut games = HashMap::new();
    let numbers: BTreeSet<i64> = results.iter().map(|told| told.provider_game_id).collect();
    let mut numbers: Vec<i64> = numbers.into_iter().collect();
    // Each worker begins with another game: workers that meet a new game at the same moment would all ask the API for it, and one answer counts.
    let first = numbers.len() * worker.number / worker.of;
    numbers.rotate_left(first);
    for provider_game_id in numbers {
        // Not in the transaction below: while the API is asked, nobody has to wait for this worker's locks, and no connection is held.
        let make =
            async || Ok::<_, anyhow::Error>(NewGame { provider_game_id, title: api.title(provider_game_id).await? });
        let game = Game::get_or_create_with(pool, GameKey { provider_game_id }, make).await?;
        games.insert(provider_game_id, game.row.id);
    }

    let names: BTreeSet<&str> = results.iter().flat_map(|told| [told.winner.as_str(), &told.loser]).collect();
    upsertable::transaction(pool, async |tx| {
        let new = names.iter().map(|&name| NewPlayer { name: name.to_owned() });
        let players = Player::bulk_get_or_create(&mut *tx, new).await?;
        let players: HashMap<_, _> = players.into_iter().map(|player| (player.row.name, player.row.id)).collect();
        let beats = results.iter().map(|told| new_beat(told, &games, &players)).collect::<Result<Vec<_>>>()?;
        Beat::bulk_create_new(&mut *tx, beats).await?;
        Ok(())
    })
    .await
}

fn new_beat(told: &Told, games: &HashMap<i64, i64>, players: &HashMap<String, i64>) -> Result<NewBeat> {
    let player = |name| players.get(name).copied().with_context(|| format!("{name} is not among the players"));
    Ok(NewBeat {
        provider_beat_id: told.provider_beat_id,
        game: *games.get(&told.provider_game_id).context("a result of a game that it does not name")?,
        winner: player(&told.winner)?,
        loser: player(&told.loser)?,
    })
}

/// Looks for each row and adds it when it is missing.
///
/// Everybody writes it so first. Between the two, another worker does the same.
pub async fn select_then_insert(pool: &SqlitePool, api: &Api, results: &[Told]) -> Result<()> {
    for told in results {
        let game = game(pool, api, told.provider_game_id).await?;
        let winner = player(pool, &told.winner).await?;
        let loser = player(pool, &told.loser).await?;
        let beat = sqlx::query("SELECT id FROM beats WHERE provider_beat_id = ?").bind(told.provider_beat_id);
        if beat.fetch_optional(pool).await?.is_none() {
            sqlx::query("INSERT INTO beats (provider_beat_id, game, winner, loser) VALUES (?, ?, ?, ?)")
                .bind(told.provider_beat_id)
                .bind(game)
                .bind(winner)
                .bind(loser)
                .execute(pool)
                .await?;
        }
    }
    Ok(())
}

async fn game(pool: &SqlitePool, api: &Api, provider_game_id: i64) -> Result<i64> {
    let found = sqlx::query_scalar("SELECT id FROM games WHERE provider_game_id = ?").bind(provider_game_id);
    if let Some(id) = found.fetch_optional(pool).await? {
        return Ok(id);
    }
    let title = api.title(provider_game_id).await?;
    let insert = sqlx::query_scalar("INSERT INTO games (provider_game_id, title) VALUES (?, ?) RETURNING id");
    Ok(insert.bind(provider_game_id).bind(title).fetch_one(pool).await?)
}

async fn player(pool: &SqlitePool, name: &str) -> Result<i64> {
    let found = sqlx::query_scalar("SELECT id FROM players WHERE name = ?").bind(name);
    if let Some(id) = found.fetch_optional(pool).await? {
        return Ok(id);
    }
    let insert = sqlx::query_scalar("INSERT INTO players (name) VALUES (?) RETURNING id");
    Ok(insert.bind(name).fetch_one(pool).await?)
}
