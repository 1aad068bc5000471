use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song<T> {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    title: T,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    let new = NewSong { slug: String::new(), title: String::new() };
    let song = Song::<String>::get_or_create(pool, new.clone()).await?.into_row();
    Song::<String>::find(pool, song.key()).await?;
    Song::<String>::find(pool, SongKey { slug: song.slug }).await?;
    Song::<String>::bulk_create_new(pool, [new]).await?;
    Ok(())
}

fn main() {}
