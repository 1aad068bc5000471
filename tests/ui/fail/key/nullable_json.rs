use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song {
    #[sqlx(json(nullable))]
    slug: Option<String>,
}

fn main() {}
