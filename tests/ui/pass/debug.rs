//! What `{:?}` shows of a new row and of a key is what `#[derive(Debug)]` would.
#![deny(warnings, trivial_casts)]

use derived::NewSong as DerivedSong;
use upsertable::Upsertable;

mod derived {
    #[derive(Debug)]
    #[allow(dead_code, non_camel_case_types)]
    pub struct NewSong<'a> {
        pub slug: &'a str,
        pub r#type: Option<i64>,
        pub cover: Option<super::Cover>,
        pub a: i32,
        pub b: i32,
        pub c: i32,
        pub d: i32,
        pub e: i32,
        pub f: i32,
        pub g: i32,
        pub h: i32,
        pub i: i32,
        pub j: f64,
        pub k: Option<bool>,
    }

    #[derive(Debug)]
    #[allow(dead_code)]
    pub struct SongKey<'a> {
        pub slug: &'a str,
        pub r#type: Option<i64>,
    }
}

type Cover = Vec<u8>;

#[derive(Debug, sqlx::FromRow, Upsertable)]
#[unique(slug, r#type, nulls_not_distinct)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: String,
    r#type: Option<i64>,
    cover: Option<Cover>,
    a: i32,
    b: i32,
    c: i32,
    d: i32,
    e: i32,
    f: i32,
    g: i32,
    h: i32,
    i: i32,
    j: f64,
    k: Option<bool>,
}

macro_rules! song {
    ($name:ident, $slug:expr) => {
        $name {
            slug: $slug,
            r#type: Some(-1),
            cover: Some(vec![1, 2]),
            a: 1,
            b: 2,
            c: 3,
            d: 4,
            e: 5,
            f: 6,
            g: 7,
            h: 8,
            i: 9,
            j: 0.5,
            k: None,
        }
    };
}

fn main() {
    let new = song!(NewSong, "a \"b\"".into());
    let derived = song!(DerivedSong, "a \"b\"");
    assert_eq!(format!("{new:?}"), format!("{derived:?}"));
    assert_eq!(format!("{new:#x?}"), format!("{derived:#x?}"));
    let (key, derived) =
        (SongKey { slug: "a".into(), r#type: None }, derived::SongKey { slug: "a", r#type: None });
    assert_eq!(format!("{key:?}"), format!("{derived:?}"));
}
