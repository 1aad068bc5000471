use upsertable::Upsertable;

#[derive(Debug, Clone)]
struct Cover;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    title: String,
    cover: Cover,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    let new = NewSong { slug: String::new(), title: String::new(), cover: Cover };
    Song::get_or_create(pool, new).await?;
    Ok(())
}

fn main() {}
