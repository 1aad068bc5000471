use upsertable::Upsertable;

#[derive(Debug, Clone, Upsertable)]
struct Song;

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    Song::get_or_create(pool, Song).await?;
    Ok(())
}

fn main() {}
