//! MySQL and MariaDB: their text and their limits.

mod catalogue;
mod column_types;
mod dialect;
mod encoding;
mod insert_few;
mod key_index;
mod key_order;
mod load;
mod merge;
mod one_row;
mod paging;
mod row_statements;
mod server;
mod session;
mod stage_statements;
mod staging;

impl super::Backend for sqlx::MySql {}
