//! What the compiler says of mistakes in a model, and where it says nothing.
//!
//! `TRYBUILD=overwrite cargo test -p upsertable-tests --test ui` writes the messages anew.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/fail/*/*.rs");
    cases.pass("ui/pass/*.rs");
}
