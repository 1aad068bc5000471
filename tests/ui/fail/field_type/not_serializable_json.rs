use upsertable::Upsertable;

#[derive(Debug, Clone, serde::Deserialize)]
struct Cover;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    #[sqlx(json)]
    cover: Cover,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    Song::get_or_create(pool, NewSong { slug: String::new(), cover: Cover }).await?;
    Ok(())
}

fn main() {}
