use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
struct Song {
    #[sqlx(skip)]
    slug: String,
}

fn main() {}
