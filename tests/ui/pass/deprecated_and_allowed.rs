//! What is said of the model's fields holds for the types beside it.
#![deny(warnings, clippy::pedantic)]

mod models {
    // sqlx's derive reads them.
    #![allow(deprecated)]

    use upsertable::Upsertable;

    #[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
    #[unique(slug)]
    #[expect(clippy::option_option)]
    pub struct Song {
        #[upsertable(generated)]
        pub id: i64,
        pub slug: String,
        #[deprecated]
        pub plays: i64,
        #[sqlx(json)]
        pub cover: Option<Option<String>>,
    }

    #[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
    #[unique(name)]
    #[deprecated]
    pub struct Artist {
        #[upsertable(generated)]
        pub id: i64,
        pub name: String,
    }
}

fn main() {
    let song = models::NewSong {
        slug: "a".into(),
        #[expect(deprecated)]
        plays: 1,
        cover: None,
    };
    #[expect(deprecated)]
    let artist = models::ArtistKey { name: song.slug };
    drop(artist);
}
