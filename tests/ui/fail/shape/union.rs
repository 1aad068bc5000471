use upsertable::Upsertable;

#[derive(Clone, Copy, Upsertable)]
#[unique(id)]
union Song {
    id: i64,
    plays: u64,
}

async fn calls(pool: &sqlx::SqlitePool) -> Result<(), upsertable::Error> {
    Song::get_or_create(pool, Song { id: 1 }).await?;
    Ok(())
}

fn main() {}
