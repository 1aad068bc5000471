#![deny(warnings)]

use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize, Upsertable)]
#[upsertable(new(name = SongInput, derive(Default, PartialEq, serde::Deserialize)))]
#[unique(slug)]
#[serde(rename_all = "camelCase")]
pub struct Song {
    #[upsertable(generated)]
    pub id: i64,
    pub slug: String,
    #[serde(default, alias = "playCount")]
    pub times_played: i64,
}

/// `Debug` of the user's choice takes the place of ours.
mod quiet {
    use upsertable::Upsertable;

    #[derive(Clone, sqlx::FromRow, Upsertable)]
    #[upsertable(new(derive(std::fmt::Debug, Copy)))]
    #[unique(a)]
    pub struct Number {
        #[upsertable(generated)]
        pub id: i64,
        pub a: i64,
    }
}

fn main() {
    let song: SongInput = serde_json::from_str(r#"{ "slug": "a", "playCount": 2 }"#).unwrap();
    assert_eq!(song, SongInput { slug: "a".into(), times_played: 2 });
    let song: SongInput = serde_json::from_str(r#"{ "slug": "a", "timesPlayed": 3 }"#).unwrap();
    assert_eq!(song.times_played, 3);
    let song: SongInput = serde_json::from_str(r#"{ "slug": "" }"#).unwrap();
    assert_eq!(song, SongInput::default());
    let number = quiet::NewNumber { a: 1 };
    let copy = number;
    assert_eq!(format!("{number:?}"), format!("{copy:?}"));
}
