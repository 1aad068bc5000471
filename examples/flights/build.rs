//! Rebuilds when a migration is added.
//!
//! `sqlx::migrate!` puts the migrations into the program.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
