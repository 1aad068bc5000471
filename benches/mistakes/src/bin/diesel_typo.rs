#![allow(unused)]
use diesel::prelude::*;
diesel::table! { songs (id) { id -> BigInt, slug -> Text, title -> Text, plays -> BigInt, } }
#[derive(Insertable)]
#[diesel(table_name = songs)]
struct NewSong {
    slug: String,
    title: String,
}
fn f(db: &mut SqliteConnection, new: NewSong) -> QueryResult<usize> {
    diesel::insert_into(songs::table).values(new).on_conflict(songs::slgu).do_nothing().execute(db)
}
fn main() {}
