use upsertable::Upsertable;

struct NewSong;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
}

fn main() {}
