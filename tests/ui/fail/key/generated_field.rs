use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(id)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    title: String,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    Song::get_or_create(pool, NewSong { slug: String::new(), title: String::new() }).await?;
    Song::find(pool, SongKey { id: 1 }).await?;
    Song::find(pool, SongSlugKey { slug: String::new() }).await?;
    Ok(())
}

fn main() {}
