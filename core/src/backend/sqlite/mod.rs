//! SQLite: its text and its limits.

mod catalogue;
mod dialect;
mod encoding;
mod insert_behavior;
mod insert_few;
mod key_index;
mod one_row;
mod paging;
mod presence_sample;
mod row_statements;
mod session;
mod stage_statements;
mod staging;

impl super::Backend for sqlx::Sqlite {}
