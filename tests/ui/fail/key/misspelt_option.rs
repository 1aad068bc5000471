use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug, kye = BySlug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    title: String,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    Song::find(pool, BySlug { slug: String::new() }).await?;
    Ok(())
}

fn main() {}
