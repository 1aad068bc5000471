//! PostgreSQL: its text and its limits.

mod catalogue;
mod dialect;
mod encoding;
mod insert_few;
mod key_index;
mod load;
mod merge;
mod one_row;
mod paging;
mod planner;
mod row_statements;
mod session;
mod stage_state;
mod stage_statements;
mod staging;
mod text_columns;

impl super::Backend for sqlx::Postgres {}
