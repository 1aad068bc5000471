//! Builds again when a migration is added, as `sqlx::migrate!` puts them into the program.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
