use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
#[unique(id)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    title: String,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    Song::get_or_create_with(pool, SongIdKey { id: 1 }, async || {
    Ok::<_, upsertable::Error>(NewSong { slug: String::new(), title: String::new() })
    })
    .await?;
    Ok(())
}

fn main() {}
