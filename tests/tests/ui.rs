//! Compiler messages for mistakes in a model, or their absence.
//!
//! `TRYBUILD=overwrite cargo test -p upsertable-tests --test ui` writes the messages anew.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/fail/*/*.rs");
    cases.pass("ui/pass/*.rs");
}

/// Compiles a workspace of its own without a database feature.
///
/// It is its own, as the features of all packages of this one are on.
#[test]
fn no_database_feature_and_sqlx_any() {
    let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/no_feature");
    let check = std::process::Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/ui/no_feature"))
        .args(["check", "--locked", "--quiet", "--target-dir", target])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stderr);
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error[")).collect();
    let refused = |database| format!("error[E0277]: `{database}` is not a database that upsertable works on");
    let (postgres, any) = (refused("Postgres"), refused("sqlx::Any"));
    assert_eq!(errors, [&postgres, &postgres, &any, &any], "{said}");
    for note in [
        "turn on the feature of upsertable that is named after the database: `sqlite`, `postgres` or `mysql`",
        "`sqlx::Any` hides which database it talks to",
    ] {
        assert!(said.contains(note), "{said}");
    }
}
