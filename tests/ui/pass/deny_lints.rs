//! What the derive writes is held to no lint of the user's crate, not even to one that cannot be allowed again.
#![forbid(warnings, missing_docs, missing_debug_implementations, single_use_lifetimes, unreachable_pub)]
#![forbid(unused, unused_lifetimes, unused_qualifications, unused_results, dead_code, clippy::all, clippy::pedantic)]

use upsertable::{Error, Holds, HoldsKey, Upsertable};

/// A song that others may see.
#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
#[unique(id)]
pub struct Song {
    /// What the database calls it.
    #[upsertable(generated)]
    pub id: i64,
    /// What its address ends in.
    pub slug: String,
    /// Who plays it, when that is known.
    #[upsertable(create_only)]
    pub artist: Option<String>,
    /// What it looks like.
    #[sqlx(json)]
    pub cover: Vec<u8>,
    /// What it looked like.
    #[sqlx(json(nullable))]
    pub old_cover: Option<Vec<u8>>,
}

/// What the derive names may be imported, too.
pub trait Texts: HoldsKey<String> + Holds<i64> {}

/// A model that only options make up, and that is its own new row.
#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(name, nulls_not_distinct)]
pub struct Tag {
    /// What it says.
    pub name: Option<String>,
}

mod private {
    use upsertable::Upsertable;

    // Nobody makes a `NewArtist` or an `ArtistIdKey`.
    #[derive(Debug, sqlx::FromRow, Upsertable)]
    #[unique(name)]
    #[unique(id)]
    pub(super) struct Artist {
        #[upsertable(generated)]
        pub(super) id: i64,
        pub(super) name: String,
    }
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<i64, Error> {
    let song = Song::find(pool, SongKey { slug: String::new() }).await?;
    let tag = Tag::find(pool, TagKey { name: None }).await?;
    let artist = private::Artist::find(pool, private::ArtistKey { name: String::new() }).await?;
    Ok(song.map_or(0, |song| song.id)
        + tag.map_or(0, |_| 1)
        + artist.map_or(0, |artist| artist.id + i64::from(artist.name.is_empty())))
}

fn main() {
    let _: fn(&'static sqlx::SqlitePool) -> _ = calls;
}
