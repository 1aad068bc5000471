use upsertable::Upsertable;

#[derive(Debug)]
struct Cover;

#[derive(Debug, sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    cover: Cover,
}

fn main() {}
