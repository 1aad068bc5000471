use upsertable::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song<'a> {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    title: &'a str,
}

fn main() {}
