#![allow(unused)]
use diesel::prelude::*;
diesel::table! { songs (id) { id -> BigInt, slug -> Text, title -> Text, plays -> BigInt, } }
#[derive(Insertable)]
#[diesel(tabel_name = songs)]
struct NewSong {
    #[diesel(column_nmae = slug)]
    slug: String,
    #[diesel(embed = 3)]
    title: String,
}
fn main() {}
