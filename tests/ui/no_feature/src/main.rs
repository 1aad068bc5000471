use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
}

async fn without_the_feature(pool: &sqlx::PgPool) -> Result<(), upsertable::Error> {
    Song::get_or_create(pool, NewSong { slug: String::new() }).await?;
    Ok(())
}

async fn any_database(pool: &sqlx::AnyPool) -> Result<(), upsertable::Error> {
    Song::get_or_create(pool, NewSong { slug: String::new() }).await?;
    Ok(())
}

fn main() {}
