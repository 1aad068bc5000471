use upsertable::Upsertable;

type Slug = Option<String>;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: Slug,
    title: String,
}

fn main() {}
