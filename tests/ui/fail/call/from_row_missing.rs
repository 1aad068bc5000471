use upsertable::Upsertable;

#[derive(Debug, Clone, Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    title: String,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    Song::get_or_create(pool, NewSong { slug: String::new(), title: String::new() }).await?;
    Ok(())
}

fn main() {}
