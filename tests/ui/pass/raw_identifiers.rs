#![deny(warnings)]
#![allow(non_camel_case_types)]

use upsertable::Upsertable as _;

#[derive(Debug, sqlx::FromRow, upsertable::Upsertable)]
#[unique(r#type, r#match)]
#[unique(r#fn, key = r#use)]
struct r#struct {
    #[upsertable(generated)]
    r#fn: i64,
    r#type: String,
    r#match: i64,
}

fn main() {
    let song = r#struct { r#fn: 1, r#type: "a".into(), r#match: 2 };
    assert_eq!(song.key().r#type, "a");
    let _ = Newstruct { r#type: "a".into(), r#match: 2 };
    let _ = structKey { r#type: "a".into(), r#match: 2 };
    let _ = r#use { r#fn: song.r#fn };
}
