use upsertable::Upsertable;

#[derive(Debug, Clone, Upsertable)]
#[unique(slug)]
enum Song {
    Known { slug: String },
    Unknown,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    Song::get_or_create(pool, Song::Known { slug: String::new() }).await?;
    Ok(())
}

fn main() {}
