//! The table of promises in `tests/README.md` names the files that have cases of each.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The promise that a case is named after, in capitals.
fn promise(line: &str) -> Option<String> {
    let name = line.trim_start().trim_start_matches("async ").strip_prefix("fn ")?;
    let (promise, _) = name.split_once('_')?;
    let number = promise.strip_prefix(['r', 'b', 'c', 'a'])?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| promise.to_uppercase())
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn the_table_names_the_files_of_each_promise() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources(&tests) {
        let name = path.strip_prefix(&tests).unwrap().display().to_string();
        for promise in fs::read_to_string(&path).unwrap().lines().filter_map(promise) {
            let files = found.entry(promise).or_default();
            if !files.contains(&name) {
                files.push(name.clone());
            }
        }
    }
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for (promise, mut files) in found {
        files.sort();
        let names: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
        let row = format!("| {promise} | {} |", names.join(", "));
        assert!(page.lines().any(|line| line == row), "tests/README.md should have this row:\n{row}");
    }
}
