use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[upsertable(new(name = SongInput))]
#[unique(slug)]
struct Song {
    slug: String,
    title: String,
}

fn main() {}
