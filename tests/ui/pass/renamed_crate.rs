#![deny(warnings)]

mod storage {
    pub use upsertable as rows;
}

use storage::rows::Upsertable;

#[derive(Debug, Clone, sqlx::FromRow, Upsertable)]
#[upsertable(crate = "crate::storage::rows")]
#[unique(slug)]
pub struct Song {
    #[upsertable(generated)]
    pub id: i64,
    pub slug: String,
}

mod elsewhere {
    use super::storage::rows;

    #[derive(Debug, Clone, sqlx::FromRow, rows::Upsertable)]
    #[upsertable(crate = "rows")]
    #[unique(name)]
    pub struct Artist {
        pub name: String,
    }
}

fn main() {
    use upsertable as local;

    #[derive(Debug, Clone, sqlx::FromRow, local::Upsertable)]
    #[upsertable(crate = "local")]
    #[unique(name)]
    struct Tag {
        name: String,
    }
    let tag = Tag { name: "a".into() };
    assert_eq!(tag.key().name, "a");
    let artist = elsewhere::Artist { name: "a".into() };
    assert_eq!(artist.key().name, "a");
}
