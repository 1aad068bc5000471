//! Runs the program as its README says.

use std::process::{Command, Output};

use tempfile::TempDir;

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_game_beats")).args(arguments).current_dir(folder).output().unwrap()
}

/// Runs to a good end, and gives what was printed.
fn printed(folder: &TempDir, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!((output.status.code(), str::from_utf8(&output.stderr).unwrap()), (Some(0), ""));
    String::from_utf8(output.stdout).unwrap()
}

/// Rows and duplicates of games, players and beats.
fn rows(printed: &str) -> [(u64, u64); 3] {
    ["games", "players", "beats"].map(|table| {
        let line = printed.lines().find_map(|line| line.strip_prefix(table)).unwrap();
        let (rows, duplicates) = line.trim().split_once(' ').unwrap();
        (rows.parse().unwrap(), duplicates.trim().parse().unwrap())
    })
}

/// Number of times the API was asked for a game.
fn asked(printed: &str) -> u64 {
    let line = printed.lines().find_map(|line| line.strip_prefix("the API was asked for a game ")).unwrap();
    line.strip_suffix(" times").unwrap().parse().unwrap()
}

/// Different games, players and results on 100 pages.
///
/// Each page has 100 results, of which the next page tells all but 20 again.
const DIFFERENT: [u64; 3] = [40, 300, 99 * 20 + 100];

const FINE: &str = "verify: the tables are what the models take them for\n";

#[test]
fn with_the_index_there_are_no_duplicates_and_a_known_game_costs_no_call() {
    let folder = TempDir::new().unwrap();
    let first = printed(&folder, &[]);
    assert_eq!(rows(&first), DIFFERENT.map(|rows| (rows, 0)));
    // Workers that meet a new game at the same moment each ask; from then on nobody does.
    assert!((40..=40 * 8).contains(&asked(&first)), "{first}");
    assert!(first.ends_with(FINE), "{first}");

    let second = printed(&folder, &[]);
    assert_eq!(rows(&second), DIFFERENT.map(|rows| (rows, 0)));
    assert_eq!(asked(&second), 0);
}

#[test]
fn a_worker_alone_asks_for_each_game_once() {
    let folder = TempDir::new().unwrap();
    let alone = printed(&folder, &["--workers", "1"]);
    assert_eq!(rows(&alone), DIFFERENT.map(|rows| (rows, 0)));
    assert_eq!(asked(&alone), 40);
}

#[test]
fn without_the_index_there_are_duplicates_and_verify_refuses_the_tables() {
    let folder = TempDir::new().unwrap();
    let printed = printed(&folder, &["--without-index"]);
    let rows = rows(&printed);
    for ((rows, duplicates), different) in rows.into_iter().zip(DIFFERENT) {
        assert_eq!(rows - duplicates, different, "{printed}");
    }
    assert!(rows.iter().map(|(_, duplicates)| duplicates).sum::<u64>() > 0, "{printed}");
    let (_, refused) = printed.split_once("verify: ").unwrap();
    for key in ["(\"provider_game_id\")", "(\"name\")", "(\"provider_beat_id\")"] {
        assert!(refused.contains(key), "{refused}");
    }
}

#[test]
fn one_worker_makes_no_duplicates_without_the_index_either() {
    let folder = TempDir::new().unwrap();
    let alone = printed(&folder, &["--without-index", "--workers", "1"]);
    assert_eq!(rows(&alone), DIFFERENT.map(|rows| (rows, 0)));
    assert!(!alone.ends_with(FINE), "{alone}");
}

#[test]
fn what_cannot_be_had_is_named() {
    let folder = TempDir::new().unwrap();
    for (url, message) in [
        ("postgres://localhost/beats", "postgres://localhost/beats: expected sqlite://PATH\n"),
        ("sqlite://nowhere/beats.db", "sqlite://nowhere/beats.db: "),
    ] {
        let output = run(&folder, &["--database-url", url]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(told.starts_with(message), "{told}");
    }
}
