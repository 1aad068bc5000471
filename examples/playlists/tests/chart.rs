//! Makes charts as the README says, and dies in the middle.

use std::process::{Command, Output};

use tempfile::TempDir;

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_playlists")).args(arguments).current_dir(folder).output().unwrap()
}

fn printed(folder: &TempDir, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!((output.status.code(), str::from_utf8(&output.stderr).unwrap()), (Some(0), ""));
    String::from_utf8(output.stdout).unwrap()
}

fn loaded() -> TempDir {
    let folder = TempDir::new().unwrap();
    assert_eq!(printed(&folder, &["load", "--songs", "1000"]), "1000 of 1000 records added\n");
    assert_eq!(printed(&folder, &["load", "--songs", "1100"]), "100 of 1100 records added\n");
    folder
}

/// Runs the program to a crash.
fn crashes(folder: &TempDir, arguments: &[&str]) {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), None, "the process has not crashed");
}

const NONE: &str = "the chart of 2026-W47 has 0 of 20 songs\n";
const OUT: &str = "the chart of 2026-W47 is out\n";
const WHOLE: &str = "the chart of 2026-W47 has 20 of 20 songs\n";

#[test]
fn a_crash_leaves_no_part_of_a_chart() {
    let folder = loaded();
    for entries in ["0", "7", "19"] {
        crashes(&folder, &["chart", "--crash-after", entries]);
    }
    assert_eq!(printed(&folder, &["chart"]), [NONE, OUT, WHOLE].concat());
    assert_eq!(printed(&folder, &["chart"]), [WHOLE, WHOLE].concat());
    // A chart that is there is not made again, and so crashes nowhere.
    assert_eq!(printed(&folder, &["chart", "--crash-after", "7"]), [WHOLE, WHOLE].concat());
    assert!(printed(&folder, &["chart", "--week", "2026-W48"]).ends_with("the chart of 2026-W48 has 20 of 20 songs\n"));
}

#[test]
fn without_a_transaction_it_leaves_a_part_that_passes_for_the_chart() {
    let folder = loaded();
    crashes(&folder, &["chart", "--piecemeal", "--crash-after", "7"]);
    let part = "the chart of 2026-W47 has 7 of 20 songs\n";
    assert_eq!(printed(&folder, &["chart", "--piecemeal"]), [part, part].concat());
}

#[test]
fn chords_all_at_once_are_lost_all_at_once() {
    let folder = TempDir::new().unwrap();
    printed(&folder, &["load", "--songs", "100", "--corrupt-every", "40"]);
    let output = run(&folder, &["chords", "--all-at-once"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(told, "song 40: \"??\" is no note; nothing of 100 songs is kept\n");

    let printed = printed(&folder, &["chords", "--size", "30"]);
    let expected =
        "deriving chords\nsong 40: \"??\" is no note\nsong 80: \"??\" is no note\n98 rows done, 2 failed, 2 left\n";
    assert!(printed.starts_with(expected), "{printed}");
}

#[test]
fn what_cannot_be_had_is_named() {
    let folder = TempDir::new().unwrap();
    printed(&folder, &["load", "--songs", "10"]);
    for (arguments, message) in [
        (vec!["chart"], "10 songs are too few for a chart of 20\n"),
        (vec!["chart", "--week", "47"], "--week: \"47\" is not written as 2026-W47\n"),
        (vec!["chords", "--database-url", "oracle://x"], "--database-url: expected sqlite://.., "),
        (vec!["chords", "--database-url", "sqlite://nowhere/songs.db"], "sqlite://nowhere/songs.db: "),
    ] {
        let output = run(&folder, &arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.starts_with(message), "{told}");
    }
}
