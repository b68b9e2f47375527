//! The table of `docs/mailgun.md` says of every endpoint whether it is there, and it is as it says.

use std::collections::BTreeSet;

use super::operation::Operation;
use super::operations;

const PAGE: &str = include_str!("../../../../docs/mailgun.md");

/// A row: methods, path, what it says.
struct Row {
    methods: Vec<String>,
    path: String,
    is_there: bool,
}

fn rows() -> Vec<Row> {
    let (_, table) = PAGE.split_once("\n## Every endpoint\n").expect("the page has the table");
    let cells =
        table.lines().filter_map(|line| line.strip_prefix("| `")).map(|line| line.split('|').collect::<Vec<_>>());
    let row = |cells: Vec<&str>| {
        let mut words: Vec<_> = cells[0].split('`').map(str::trim).filter(|word| !word.is_empty()).collect();
        let path = plain(words.pop().expect("a row has a path"));
        let is_there = match cells[1].trim() {
            "same" | "differs" | "ours" => true,
            "absent" => false,
            other => panic!("{path}: '{other}' is not same, differs, absent or ours"),
        };
        assert!(is_there || !cells[2].trim().is_empty(), "{path}: absent, but why?");
        Row { methods: words.into_iter().map(str::to_lowercase).collect(), path, is_there }
    };
    cells.map(row).collect()
}

/// The path, whatever its parameters are called.
fn plain(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The one name of what is there under `/v3/domains` and `/v4/domains`.
fn of_both(path: &str) -> String {
    path.replacen("/v4/domains", "/v3/domains", 1)
}

fn named(operation: &Operation) -> (String, String) {
    (operation.method.as_str().to_owned(), of_both(&plain(&operation.path)))
}

#[test]
fn the_table_tells_what_is_there() {
    let there: BTreeSet<_> = operations().iter().map(named).collect();
    let told: BTreeSet<_> = rows()
        .iter()
        .filter(|row| row.is_there)
        .flat_map(|row| row.methods.iter().map(|method| (method.clone(), of_both(&row.path))))
        .collect();
    let missing: Vec<_> = there.difference(&told).collect();
    assert!(missing.is_empty(), "not in the table 'Every endpoint' of docs/mailgun.md: {missing:?}");
    let invented: Vec<_> = told.difference(&there).collect();
    assert!(invented.is_empty(), "in the table 'Every endpoint' of docs/mailgun.md, and not there: {invented:?}");
}

#[test]
fn what_is_absent_is_not_there() {
    let there: BTreeSet<_> = operations().iter().map(named).collect();
    let absent: Vec<_> = rows().into_iter().filter(|row| !row.is_there).collect();
    assert!(absent.len() > 10);
    for row in absent {
        let path = of_both(&row.path);
        match path.strip_suffix('…') {
            // A row of a whole area; what is below it may be told of apart.
            Some(area) => {
                let found = there.iter().find(|(_, path)| path == area || path.starts_with(&format!("{area}/")));
                assert_eq!(found, None, "{area} is told to be absent");
            }
            None => {
                for method in &row.methods {
                    assert!(!there.contains(&(method.clone(), path.clone())), "{method} {path} is told to be absent");
                }
            }
        }
    }
}
