//! Runs the program both ways, as its README says.

use std::process::{Command, Output};

use tempfile::TempDir;

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jobs")).args(arguments).current_dir(folder).output().unwrap()
}

/// Runs the program, and returns its first line and counts.
///
/// The counts are of workers that saw the saved row, the old row and no row.
fn counted(folder: &TempDir, arguments: &[&str]) -> (String, [u32; 3]) {
    let output = run(folder, arguments);
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    let [headline, "the worker saw  jobs", table @ ..] = lines.as_slice() else { panic!("{printed}") };
    assert_eq!(table.len(), 3, "{printed}");
    let mut counts = [0; 3];
    for ((line, label), count) in table.iter().zip(["the saved row", "the old row", "no row"]).zip(&mut counts) {
        *count = line.strip_prefix(label).unwrap().trim().parse().unwrap();
    }
    ((*headline).to_owned(), counts)
}

#[test]
fn a_job_queued_inside_the_transaction_is_taken_before_the_commit() {
    let folder = TempDir::new().unwrap();
    let (headline, [saved, old, none]) = counted(&folder, &["--broken"]);
    assert_eq!(headline, "500 jobs, each queued inside the transaction");
    assert_eq!(saved + old + none, 500);
    assert!(old > 0, "nobody saw an old row");
    assert!(none > 0, "nobody looked for a row that was not there yet");
}

#[test]
fn a_job_queued_with_on_commit_never_is() {
    let folder = TempDir::new().unwrap();
    let expected = ("500 jobs, each queued with on_commit".to_owned(), [500, 0, 0]);
    assert_eq!(counted(&folder, &[]), expected);
    assert!(folder.path().join("jobs.db").exists());
    // Once more on the same database, whose orders are there already.
    assert_eq!(counted(&folder, &[]), expected);
}

#[test]
fn the_rounds_and_the_database_may_be_others() {
    let folder = TempDir::new().unwrap();
    let (headline, counts) = counted(&folder, &["--rounds", "3", "--database-url", "sqlite://other.db"]);
    assert_eq!((headline.as_str(), counts), ("3 jobs, each queued with on_commit", [3, 0, 0]));
    assert!(folder.path().join("other.db").exists());
}

#[test]
fn a_database_that_cannot_be_had_is_named() {
    let folder = TempDir::new().unwrap();
    for (url, message) in [
        ("postgres://localhost/jobs", "postgres://localhost/jobs: expected sqlite://PATH\n"),
        ("sqlite://nowhere/jobs.db", "sqlite://nowhere/jobs.db: "),
    ] {
        let output = run(&folder, &["--database-url", url]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(told.starts_with(message), "{told}");
    }
}
