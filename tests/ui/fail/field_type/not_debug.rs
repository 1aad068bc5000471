use upsertable::Upsertable;

#[derive(Clone)]
struct Cover;

#[derive(sqlx::FromRow, Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    cover: Cover,
}

fn main() {}
