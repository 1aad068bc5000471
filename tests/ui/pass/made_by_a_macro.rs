//! Names, types and values that come out of `macro_rules!` are wrapped in groups that no one sees.
#![deny(warnings)]

use upsertable::Upsertable;

macro_rules! model {
    ($(#[$attr:meta])* $vis:vis $name:ident, $table:literal, $key:ident: $ty:ty, $other:ident: $other_ty:ty) => {
        $(#[$attr])*
        #[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
        #[upsertable(table = $table)]
        #[unique($key)]
        $vis struct $name {
            #[upsertable(generated)]
            pub id: i64,
            pub $key: $ty,
            pub $other: $other_ty,
        }
    };
}

model!(
    /// A song.
    pub Song, "songs", slug: String, artist: Option<String>
);

fn main() {
    let song = Song { id: 1, slug: "a".into(), artist: None };
    assert_eq!(song.key().slug, "a");
    let _ = NewSong { slug: song.slug, artist: song.artist };
}
