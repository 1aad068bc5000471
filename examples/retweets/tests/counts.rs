//! Runs the program as its README says.

use std::process::{Command, Output};

use tempfile::TempDir;

const TWEET: &str = "21947795900469248";

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_retweets")).args(arguments).current_dir(folder).output().unwrap()
}

fn printed(folder: &TempDir, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn only_retweets_that_are_new_are_added() {
    let folder = TempDir::new().unwrap();
    for (count, line) in [("1", "1 of 1"), ("2", "1 of 2"), ("4", "2 of 4"), ("4", "0 of 4")] {
        assert_eq!(printed(&folder, &["--count", count, TWEET]), format!("{line} records added\n"));
    }
    assert!(folder.path().join("retweets.db").exists());
}

#[test]
fn the_count_is_of_each_tweet() {
    let folder = TempDir::new().unwrap();
    let tweets = [TWEET, "22015538129760256", "22301174410883072"];
    assert_eq!(printed(&folder, &[&["--count", "2"], &tweets[..]].concat()), "6 of 6 records added\n");
    assert_eq!(printed(&folder, &tweets), "3 of 9 records added\n");
    assert_eq!(printed(&folder, &["1"]), "0 of 0 records added\n");
}

#[test]
fn the_table_counts_retweets_by_author_and_person_and_the_count_comes_last() {
    let folder = TempDir::new().unwrap();
    let table = printed(&folder, &["--table", TWEET, "22015538129760256", "22301174410883072"]);
    assert_eq!(
        table,
        "            anna_reads  benwrites  cleo_k  dovmaps  eli_and_co  fayfilms
anna_reads           0          2       1        2           1         0
benwrites            1          0       1        0           0         1
9 of 9 records added
"
    );
}

#[test]
fn a_file_that_is_no_list_of_retweets_is_named() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("answer.json"), r#"{"errors": [{"code": 88}]}"#).unwrap();
    let output = run(&folder, &["--data", "answer.json", TWEET]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("answer.json: "));
}
