#![allow(unused)]
use diesel::prelude::*;
diesel::table! { songs (id) { id -> BigInt, slug -> Text, title -> Text, plays -> BigInt, } }
#[derive(Insertable)]
#[diesel(table_name = songs)]
enum NewSong {
    Known,
    Unknown,
}
fn main() {}
