use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    #[upsertable(default = "0")]
    title: String,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    let new = NewSong { slug: String::new(), title: String::new() };
    let song = Song::get_or_create(pool, new.clone()).await?.into_row();
    Song::find(pool, song.key()).await?;
    Song::find(pool, SongKey { slug: song.slug }).await?;
    Song::bulk_create_new(pool, [new]).await?;
    Ok(())
}

fn main() {}
