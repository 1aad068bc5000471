use upsertable::Upsertable;

#[derive(sqlx::FromRow, Upsertable)]
#[unique(name)]
struct Artist {
    name: String,
}

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    title: String,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    Song::find(pool, ArtistKey { name: String::new() }).await?;
    Ok(())
}

fn main() {}
