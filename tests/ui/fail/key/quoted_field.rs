use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique("slug")]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    title: String,
}

fn main() {}
