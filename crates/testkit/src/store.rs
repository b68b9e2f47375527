//! Where the store of a test is: files of its own, or a database of its own.

use std::path::Path;
use std::process::Command;

/// The variable that names a PostgreSQL for tests: the URL of a database from which others can be made. `script/test` runs
/// what concerns the store once without it and once with it.
pub const CLUSTER: &str = "WAXWING_TEST_POSTGRES";

/// The value of `store` for a test that has this directory to itself: the directory, or a database that is named like it.
///
/// # Panics
/// When the database cannot be made.
pub fn location(directory: &Path) -> String {
    let Some(cluster) = std::env::var(CLUSTER).ok().filter(|url| !url.is_empty()) else {
        return format!("sqlite:{}", directory.display());
    };
    let name: Vec<&str> = directory.iter().rev().take(2).filter_map(|part| part.to_str()).collect();
    let name = name.join("-");
    if !databases(&cluster).lines().any(|known| known == name) {
        psql(&cluster, &format!("CREATE DATABASE \"{name}\""));
    }
    let base = cluster.rsplit_once('/').map_or(cluster.as_str(), |(base, _)| base);
    format!("{base}/{name}")
}

/// Everything that is kept in the database of that test, a line for each row; `None` where it is in files.
///
/// # Panics
/// When it cannot be read.
pub fn everything(directory: &Path) -> Option<Vec<String>> {
    let location = location(directory);
    if location.starts_with("sqlite:") {
        return None;
    }
    let all = Command::new("pg_dump").args(["--data-only", "--inserts", "--exclude-table=node", &location]).output();
    let all = all.expect("pg_dump can be started");
    assert!(all.status.success(), "{}", String::from_utf8_lossy(&all.stderr));
    let rows = String::from_utf8_lossy(&all.stdout)
        .lines()
        .filter(|line| line.starts_with("INSERT"))
        .map(str::to_owned)
        .collect();
    Some(rows)
}

fn databases(cluster: &str) -> String {
    psql(cluster, "SELECT datname FROM pg_database")
}

fn psql(cluster: &str, order: &str) -> String {
    let said =
        Command::new("psql").args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", order, cluster]).output();
    let said = said.expect("psql can be started");
    assert!(said.status.success(), "{order}: {}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).into_owned()
}
