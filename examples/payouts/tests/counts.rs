//! Runs the program as its README says.

use std::{
    fs,
    process::{Command, Output},
};

use tempfile::TempDir;

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_payouts")).args(arguments).current_dir(folder).output().unwrap()
}

fn printed(folder: &TempDir, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!((output.status.code(), str::from_utf8(&output.stderr).unwrap()), (Some(0), ""));
    String::from_utf8(output.stdout).unwrap()
}

/// Number in a column of the line with this beginning.
fn number(printed: &str, line: &str, column: usize) -> u64 {
    let line = printed.lines().find_map(|printed| printed.trim_start().strip_prefix(line)).unwrap();
    line.split_whitespace().nth(column).unwrap().parse().unwrap()
}

#[test]
fn ten_thousand_debentures_need_as_many_statements_as_a_hundred() {
    let folder = TempDir::new().unwrap();
    let few = printed(&folder, &["--debentures", "100", "--sums-only"]);
    assert!(few.starts_with("100 debentures, 500 holdings, 2026-11\n"), "{few}");
    let many = printed(&folder, &["--debentures", "10000", "--sums-only"]);
    assert!(many.starts_with("10000 debentures, 50000 holdings, 2026-11\n"), "{many}");
    assert!(!many.contains("a query per row"), "{many}");
    let statements = number(&few, "sums in the database", 0);
    assert_eq!(number(&many, "sums in the database", 0), statements);
    assert!(statements < 20, "{few}");
}

#[test]
fn both_ways_pay_out_the_same() {
    let folder = TempDir::new().unwrap();
    // BEGIN and COMMIT, the holders and the debentures; for each holder a 0 to begin with; for each debenture its sum and its holdings, and
    // for each of these what there is and the new sum.
    // The second time the holders have their rows: an update each, where it was an update and an insert.
    for (debentures, zeros) in [(100, 2 * 200), (400, 200)] {
        let printed = printed(&folder, &["--debentures", &debentures.to_string()]);
        assert_eq!(number(&printed, "a query per row", 0), 4 + zeros + (2 + 2 * 5) * debentures, "{printed}");
        assert!(printed.ends_with(" in all, equal to the cent\n"), "{printed}");
    }
}

#[test]
fn the_trap_grows_with_the_product_and_the_split_with_the_sum() {
    let folder = TempDir::new().unwrap();
    let printed = printed(&folder, &["--trap"]);
    for each in [5, 10, 20, 40] {
        let line = format!("{each} ");
        assert_eq!(number(&printed, &line, 0), 10 * each * each * each, "{printed}");
        assert_eq!(number(&printed, &line, 2), 10 * 3 * each, "{printed}");
    }
}

#[test]
fn the_plot_is_a_picture_of_both_ways() {
    let folder = TempDir::new().unwrap();
    assert_eq!(
        printed(&folder, &["--plot", "time.svg", "--debentures", "150"]),
        "time.svg: 2 sizes, the largest 150 debentures\n"
    );
    let picture = fs::read_to_string(folder.path().join("time.svg")).unwrap();
    assert!(picture.starts_with("<svg "), "{picture}");
    for label in ["a query per row", "sums in the database", "debentures", "seconds"] {
        assert!(picture.contains(label), "{label} is missing: {picture}");
    }
    assert_eq!(picture.matches("<circle ").count(), 4, "{picture}");
    assert!(!folder.path().join("payouts.db").exists());
}

#[test]
fn what_cannot_be_had_is_named() {
    let folder = TempDir::new().unwrap();
    for (arguments, message) in [
        (["--database-url", "postgres://localhost/payouts"], "postgres://localhost/payouts: expected sqlite://PATH\n"),
        (["--database-url", "sqlite://nowhere/payouts.db"], "sqlite://nowhere/payouts.db: "),
        (["--plot", "nowhere/time.svg"], "nowhere/time.svg: "),
    ] {
        let more: &[&str] = if arguments[0] == "--plot" { &["--debentures", "1"] } else { &[] };
        let output = run(&folder, &[&arguments, more].concat());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(told.starts_with(message), "{told}");
    }
}
