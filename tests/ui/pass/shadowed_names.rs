//! The names that generated code needs, taken by the user.
#![allow(dead_code, non_upper_case_globals)]

mod std {}
mod core {}

struct Option;
struct Result;
struct String;
struct Vec;
struct Box;
struct Ok;
struct Err;
struct Some;
struct None;
struct Debug;
struct Clone;
struct Send;
struct Backend;
struct Column;
struct DB;
struct Json;
const key: i64 = 1;
const new: i64 = 1;
static values: i64 = 1;
static types: i64 = 1;

trait Upsertable {}

#[derive(::sqlx::FromRow, ::upsertable::Upsertable)]
#[unique(slug)]
struct Song {
    #[upsertable(generated)]
    id: i64,
    slug: ::std::string::String,
    artist: ::std::option::Option<i64>,
    is_new: ::std::primitive::bool,
    #[sqlx(json)]
    tags: ::std::vec::Vec<i64>,
}

fn main() {
    let _ = SongKey { slug: ::std::string::String::new() };
}
