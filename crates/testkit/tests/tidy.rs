//! What must be true of the code itself. Each rule stands in ARCHITECTURE.md or CONTRIBUTING.md.

use std::fs;
use std::path::{Path, PathBuf};

/// Most lines of a source file.
const LINES: usize = 600;

#[test]
fn files_are_short_enough_to_read() {
    for (path, text) in sources("") {
        let lines = text.lines().count();
        assert!(lines <= LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_left_to_be_done() {
    // In two halves, so that this file does not find itself.
    let marks = [["todo", "!("], ["unimplemented", "!("], ["FIX", "ME"], ["XX", "X"]].map(|halves| halves.concat());
    for (path, text) in sources("") {
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{} in {}", mark, path.display());
        }
    }
}

#[test]
fn no_crate_may_be_unsafe() {
    for name in crates() {
        let root = ["lib.rs", "main.rs"].map(|file| repository().join("crates").join(&name).join("src").join(file));
        for path in root.iter().filter(|path| path.exists()) {
            assert!(read(path).contains("#![forbid(unsafe_code)]"), "{}", path.display());
        }
    }
}

#[test]
fn rfc_references_are_spelled_one_way() {
    for (path, text) in sources("") {
        for (number, line) in text.lines().enumerate() {
            let place = || format!("{}:{}", path.display(), number + 1);
            assert!(!line.to_lowercase().contains(&["rfc", "5321#"].concat()), "{}", place());
            for (index, _) in line.match_indices("RFC ") {
                let digits = line[index + 4..].bytes().take_while(u8::is_ascii_digit).count();
                let after = &line[index + 4 + digits..];
                let is_section = [" section", " sec.", " Section", "§"].iter().any(|word| after.starts_with(word));
                assert!(digits == 0 || !is_section, "{}: write RFC 5321 §4.5", place());
            }
        }
    }
}

/// What decides and what speaks of formats has no way to the outside.
#[test]
fn pure_crates_have_no_io_and_no_clock() {
    for name in ["smtp", "message", "policy"] {
        let manifest = read(&repository().join("crates").join(name).join("Cargo.toml"));
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
        for runtime in ["tokio", "rustls", "reqwest", "rusqlite", "rand"] {
            assert!(!dependencies.contains(runtime), "{name} depends on {runtime}");
        }
        for (path, text) in sources(name) {
            for outside in
                ["SystemTime", "Instant::now", "std::fs", "TcpStream", "UdpSocket", "std::process", "std::env"]
            {
                assert!(!text.contains(outside), "{outside} in {}", path.display());
            }
        }
    }
}

#[test]
fn imports_point_one_way() {
    let allowed: [(&str, &[&str]); 6] = [
        ("smtp", &[]),
        ("policy", &["smtp"]),
        ("message", &["smtp"]),
        ("delivery", &["smtp", "policy"]),
        ("store", &["smtp", "policy"]),
        ("testkit", &[]),
    ];
    for (name, may) in allowed {
        let manifest = read(&repository().join("crates").join(name).join("Cargo.toml"));
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
        for other in crates() {
            let depends = dependencies.lines().any(|line| line.starts_with(&format!("{other}.workspace")));
            assert!(!depends || may.contains(&other.as_str()), "{name} may not depend on {other}");
        }
    }
}

/// Settings meet TLS facts in `policy::tls` and nowhere else: no other place combines the switches with anything.
#[test]
fn tls_is_decided_in_one_place() {
    let switches = ["require_tls", "skip_verification", "Requirement::", "Verification::Skip", "Verification::Verify"];
    for name in ["delivery", "store", "server", "message"] {
        for (path, text) in sources(name).into_iter().filter(|(path, _)| !path.to_string_lossy().contains("test")) {
            for (number, line) in text.lines().enumerate() {
                let combines = [" && ", " || ", "if "].iter().any(|operator| line.contains(operator));
                let named = switches.iter().any(|switch| line.contains(switch));
                let is_comment = line.trim_start().starts_with("//");
                assert!(!(combines && named) || is_comment, "{}:{}: {line}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn the_map_names_every_room() {
    let map = read(&repository().join("ARCHITECTURE.md"));
    for name in crates() {
        assert!(map.contains(&format!("{name}/")), "ARCHITECTURE.md does not mention crates/{name}");
    }
    assert!(map.lines().count() <= 200);
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn crates() -> Vec<String> {
    let entries = fs::read_dir(repository().join("crates")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The source files of a crate, or of all.
fn sources(name: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(&repository().join("crates").join(name), &mut found);
    assert!(!found.is_empty());
    found
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read(&path);
            found.push((path, text));
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
