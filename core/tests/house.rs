//! The rooms of the crate and the directions between them.
//!
//! `docs/architecture.md` draws what is tested here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

/// The rooms, from the ground up. A room imports from its own floor and from those below it.
const FLOORS: [&[&str]; 9] = [
    &["error", "outcome", "retry", "sql", "trace"],
    &["driver"],
    &["model"],
    &["transaction"],
    &["feed"],
    &["connection"],
    &["backend"],
    &["operations"],
    &["upsertable", "private", "testing", "lib"],
];

type Modules = BTreeMap<Vec<String>, PathBuf>;
type Imports = BTreeSet<(PathBuf, PathBuf)>;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

fn modules() -> Modules {
    let mut found = Vec::new();
    files(&source(), &mut found).unwrap();
    let module = |path: PathBuf| {
        let path = path.strip_prefix(source()).unwrap().to_owned();
        let mut parts: Vec<String> =
            path.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
            parts.pop();
        }
        (parts, path)
    };
    found.into_iter().map(module).collect()
}

fn room(path: &Path) -> String {
    let first = path.iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn floor(path: &Path) -> usize {
    let room = room(path);
    FLOORS.iter().position(|floor| floor.contains(&room.as_str())).unwrap_or_else(|| panic!("{room} is on no floor"))
}

/// The code of a file, without comments, texts and tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(source().join(path)).unwrap();
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    let text = text.split("\n#[cfg(all(test").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The paths of a `use` tree, each with its leaf.
fn expand(tree: &str, before: &[String], paths: &mut Vec<Vec<String>>) {
    let words =
        |path: &str| path.split("::").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let Some((head, inner)) = tree.split_once('{') else {
        let leaf: Vec<String> = words(tree.split(" as ").next().unwrap());
        return paths.push([before, &leaf].concat());
    };
    let before = [before, &words(head)].concat();
    let (mut depth, mut begin) = (0, 0);
    let inner = inner.trim_end().strip_suffix('}').unwrap();
    for (place, character) in inner.char_indices().chain([(inner.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !inner[begin..place].trim().is_empty() {
                    expand(inner[begin..place].trim(), &before, paths);
                }
                begin = place + 1;
            }
            _ => {}
        }
    }
}

/// The paths in the crate that a file names, from the crate's root.
fn named(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(place) = ["crate::", "super::"].iter().filter_map(|word| rest.find(word)).min() {
        let is_use = rest[..place].trim_end().ends_with("use");
        let before = rest[..place].chars().next_back();
        let path = &rest[place..];
        let is_end = |character: char| !(character.is_alphanumeric() || matches!(character, '_' | ':'));
        let end = if is_use { path.find(';') } else { path.find(is_end) };
        let (path, behind) = path.split_at(end.unwrap_or(path.len()));
        if !before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '_' | ':' | '$')) {
            expand(path, &[], &mut paths);
        }
        rest = behind;
    }
    let rooted = |path: Vec<String>| {
        let ups = path.iter().take_while(|word| *word == "super").count();
        let from = if ups == 0 { &[][..] } else { &module[..module.len() - ups] };
        [from, &path[ups.max(1)..]].concat()
    };
    paths.into_iter().map(rooted).collect()
}

fn imports() -> Imports {
    let modules = modules();
    let mut imports = Imports::new();
    for (module, path) in &modules {
        for named in named(&code(path), module) {
            let of = |length: usize| modules.get(&named[..length]);
            let target = (0..=named.len()).rev().find_map(of).unwrap();
            if target != path {
                imports.insert((path.clone(), target.clone()));
            }
        }
    }
    imports
}

#[test]
fn no_import_goes_up() {
    let imports = imports();
    assert!(imports.len() > 300, "only {} imports were read", imports.len());
    let up: Vec<_> = imports.iter().filter(|(from, to)| floor(to) > floor(from)).collect();
    assert!(up.is_empty(), "these files import from a floor above theirs: {up:#?}");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut left = imports();
    // What imports nothing that is left, or is imported by nothing that is left, is in no circle.
    loop {
        let from: BTreeSet<_> = left.iter().map(|(from, _)| from.clone()).collect();
        let to: BTreeSet<_> = left.iter().map(|(_, to)| to.clone()).collect();
        let before = left.len();
        left.retain(|(importer, imported)| to.contains(importer) && from.contains(imported));
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "these imports make a circle: {left:#?}");
}

#[test]
fn no_trait_has_more_than_ten_methods() {
    // The calls, which are the crate's public face.
    const FACE: &str = "Upsertable";
    for path in modules().into_values() {
        let code = code(&path);
        for item in code.split("\npub trait ").skip(1) {
            let body = item.split("\n}").next().unwrap();
            let name: String = body.chars().take_while(|character| character.is_alphanumeric()).collect();
            let methods = body.lines().filter(|line| line.starts_with("    fn ")).count();
            assert!(methods <= 10 || name == FACE, "{name} in {} has {methods} methods", path.display());
        }
    }
}

#[test]
fn the_first_line_of_a_doc_can_be_read_alone() {
    const RIDDLES: [&str; 9] = ["What ", "Whether ", "How ", "Where ", "Which ", "The same ", "See ", "As ", "Like "];
    let (mut lines, mut riddles) = (0, Vec::new());
    for path in modules().into_values() {
        let text = fs::read_to_string(source().join(&path)).unwrap();
        let mut is_inside = false;
        for line in text.lines() {
            let doc = line.trim_start().strip_prefix("///").or_else(|| line.strip_prefix("//!"));
            if let (Some(doc), false) = (doc, is_inside) {
                lines += 1;
                if RIDDLES.iter().any(|word| doc.trim_start().starts_with(word)) {
                    riddles.push(format!("{}: {line}", path.display()));
                }
            }
            is_inside = doc.is_some();
        }
    }
    assert!(lines > 500 && riddles.len() * 33 < lines, "{} of {lines} first lines: {riddles:#?}", riddles.len());
}
