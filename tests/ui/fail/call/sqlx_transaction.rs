use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    let mut tx = pool.begin().await?;
    Song::get_or_create(&mut tx, NewSong { slug: String::new() }).await?;
    Ok(())
}

fn main() {}
