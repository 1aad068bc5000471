#![allow(unused)]
use diesel::prelude::*;
diesel::table! { songs (id) { id -> BigInt, slug -> Text, title -> Text, plays -> BigInt, } }
#[derive(Insertable)]
#[diesel(table_name = songs)]
struct NewSong {
    slug: String,
    title: String,
}
fn new() -> NewSong {
    NewSong { slug: String::new() }
}
fn main() {}
