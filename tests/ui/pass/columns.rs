//! Each way in which `sqlx::FromRow` reads a column: what is written comes back.
#![deny(warnings)]

use upsertable::Upsertable;

#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Cover {
    pub url: String,
}

type Slug = String;

#[derive(Debug, Clone, PartialEq, sqlx::FromRow, Upsertable)]
#[upsertable(table = "Songs of \"All\"", schema = "main")]
#[sqlx(rename_all = "camelCase")]
#[unique(slug, key = BySlug)]
#[unique(title, artist, nulls_not_distinct)]
pub struct Song {
    #[upsertable(generated)]
    pub id: i64,
    pub slug: Slug,
    #[sqlx(rename = "name")]
    pub title: String,
    pub artist: Option<String>,
    #[sqlx(default)]
    pub times_played: i32,
    #[sqlx(json)]
    pub cover: Cover,
    #[sqlx(json)]
    pub covers: Option<Vec<Cover>>,
    #[sqlx(json(nullable))]
    pub old_cover: Option<Cover>,
    #[sqlx(skip)]
    pub seen: bool,
    #[sqlx(json)]
    pub next: Vec<Box<Option<Plain>>>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Plain(i64);

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, sqlx::FromRow, Upsertable)]
#[unique(name)]
pub struct Folder {
    #[upsertable(generated)]
    #[serde(skip)]
    pub id: i64,
    pub name: String,
    #[sqlx(json)]
    pub inside: Vec<Self>,
    #[sqlx(skip)]
    #[serde(skip)]
    pub open: bool,
}

fn main() {
    let folder = Folder { id: 1, name: "a".into(), inside: Vec::new(), open: true };
    let new = NewFolder { name: "b".into(), inside: vec![folder.clone()] };
    assert_eq!((new.inside[0].key().name.as_str(), folder.open), ("a", true));
    let _ = SongTitleArtistKey { title: String::new(), artist: None };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { tokio::spawn(round_trip()).await.unwrap().unwrap() });
}

async fn round_trip() -> Result<(), upsertable::Error> {
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
    let table = r#"CREATE TABLE "Songs of ""All""" (id INTEGER PRIMARY KEY, slug TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL, artist TEXT, "timesPlayed" INTEGER NOT NULL, cover TEXT NOT NULL, covers TEXT NOT NULL,
        "oldCover" TEXT, next TEXT NOT NULL)"#;
    sqlx::query(table).execute(&pool).await?;
    let some = NewSong {
        slug: "some".into(),
        title: "Some".into(),
        artist: Some("A".into()),
        times_played: 3,
        cover: Cover { url: "u".into() },
        covers: Some(vec![Cover::default()]),
        old_cover: Some(Cover { url: "o".into() }),
        next: vec![Box::new(Some(Plain(1))), Box::new(None)],
    };
    let none = NewSong { slug: "none".into(), artist: None, covers: None, old_cover: None, ..some.clone() };
    for new in [some, none] {
        let expected = Song {
            id: if new.slug == "some" { 1 } else { 2 },
            slug: new.slug.clone(),
            title: new.title.clone(),
            artist: new.artist.clone(),
            times_played: new.times_played,
            cover: new.cover.clone(),
            covers: new.covers.clone(),
            old_cover: new.old_cover.clone(),
            seen: false,
            next: new.next.clone(),
        };
        assert_eq!(Song::get_or_create(&pool, new.clone()).await?.into_row(), expected);
        assert_eq!(Song::find(&pool, BySlug { slug: new.slug }).await?, Some(expected));
    }
    let nulls: (i64, i64) = sqlx::query_as(
        r#"SELECT count(*) - count("oldCover"), sum(covers = 'null') FROM "Songs of ""All""" WHERE slug = 'none'"#,
    )
    .fetch_one(&pool)
    .await?;
    assert_eq!(nulls, (1, 1), "`json(nullable)` is NULL, `json` is the JSON value null");
    Ok(())
}
