//! Where settings stand: a TOML file and the environment, both brought into one form, [`Node`].

use std::ffi::OsString;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem};
use super::key::Shape;
use super::keys::KEYS;

/// The file is read into memory; nobody's configuration comes near this.
const FILE_OCTETS: u64 = 1024 * 1024;

/// A value as it was written, with the place to name when it is wrong.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// The parts of TOML that settings use.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    /// `None` when it has more digits than fit.
    Integer(Option<i64>),
    List(Vec<Node>),
    /// Names with their own places, and values.
    Table(Vec<(String, Place, Node)>),
    /// A date, a time or both.
    Time(String),
    /// Anything else, by TOML's name for it.
    Other(&'static str),
}

/// The variables that begin with `WAXWING_`.
pub(super) struct Variables {
    /// `WAXWING_CONFIG`.
    pub(super) config_file: Option<PathBuf>,
    /// Settings by index in [`KEYS`].
    pub(super) settings: Vec<(usize, Node)>,
}

/// What every variable of ours begins with.
const PREFIX: &str = "WAXWING_";

impl Variables {
    /// Picks ours. One that is set to nothing counts as not set; one that we do not know is refused, since it is most
    /// likely a known one misspelt.
    pub(super) fn of(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        problems: &mut Vec<Problem>,
    ) -> Variables {
        let mut ours = Variables { config_file: None, settings: Vec::new() };
        let mut found: Vec<_> =
            variables.into_iter().filter(|(name, value)| is_ours(name) && !value.is_empty()).collect();
        found.sort();
        for (name, value) in found {
            let name = name.to_string_lossy().into_owned();
            let place = Place::Variable(name.as_str().into());
            if name == "WAXWING_CONFIG" {
                ours.config_file = Some(value.into());
                continue;
            }
            let Some(index) = KEYS.iter().position(|key| key.variable() == name) else {
                let known = KEYS.iter().map(|key| key.variable()).chain(["WAXWING_CONFIG".to_owned()]);
                problems.push(Problem { place, key: None, what: unknown("variable", &name, known) });
                continue;
            };
            match value.into_string().map_err(|_| "is not UTF-8".to_owned()) {
                Ok(text) => match variable_value(&text, KEYS[index].shape, &place) {
                    Ok(value) => ours.settings.push((index, Node { value, place })),
                    Err(what) => problems.push(Problem { place, key: Some(KEYS[index].name.into()), what }),
                },
                Err(what) => problems.push(Problem { place, key: Some(KEYS[index].name.into()), what }),
            }
        }
        ours
    }
}

fn is_ours(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// Gives a variable's text the shape that the same setting has in a file.
fn variable_value(text: &str, shape: Shape, place: &Place) -> Result<Value, String> {
    Ok(match shape {
        Shape::Text => Value::Text(text.to_owned()),
        Shape::Number => match text.trim().parse() {
            Ok(number) => Value::Integer(Some(number)),
            Err(_) => Value::Text(text.to_owned()),
        },
        Shape::List => Value::List(
            text.split(',')
                .map(|item| Node { value: Value::Text(item.trim().to_owned()), place: place.clone() })
                .collect(),
        ),
        Shape::Tables => {
            // The parser's own words would quote the text, and that may hold a password.
            let parsed = DeValue::parse(text).map_err(|error| format!("is not TOML: {}", error.message()))?;
            node(parsed, &|_| place.clone()).value
        }
    })
}

/// Reads a file into settings by index in [`KEYS`].
pub(super) fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Vec<(usize, Node)> {
    let shared: Arc<Path> = path.into();
    let text = match read_text(path) {
        Ok(text) => text,
        Err(what) => {
            problems.push(Problem { place: Place::File { path: shared, at: None }, key: None, what });
            return Vec::new();
        }
    };
    let place = |span: Range<usize>| Place::File { path: shared.clone(), at: Some(line_and_column(&text, span.start)) };
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in errors {
        let place = place(error.span().unwrap_or_default());
        problems.push(Problem { place, key: None, what: format!("is not TOML: {}", error.message()) });
    }

    let mut settings = Vec::new();
    for (name, value) in table.into_inner() {
        match KEYS.iter().position(|key| key.name == name.get_ref().as_ref()) {
            Some(index) => {
                // The place of a setting is its name's, so that it is the same for `key = …` and `[[key]]`.
                let place_of_name = place(name.span());
                let inner = node(value, &place);
                settings.push((index, Node { value: inner.value, place: place_of_name }));
            }
            None => {
                let what = unknown("key", name.get_ref(), KEYS.iter().map(|key| key.name.to_owned()));
                problems.push(Problem { place: place(name.span()), key: None, what });
            }
        }
    }
    settings
}

fn read_text(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    file.take(FILE_OCTETS + 1).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > FILE_OCTETS {
        return Err(format!("is larger than {FILE_OCTETS} octets"));
    }
    Ok(text)
}

fn node(value: Spanned<DeValue<'_>>, place: &dyn Fn(Range<usize>) -> Place) -> Node {
    let here = place(value.span());
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| node(item, place)).collect()),
        DeValue::Table(entries) => Value::Table(
            entries
                .into_iter()
                .map(|(name, value)| (name.get_ref().to_string(), place(name.span()), node(value, place)))
                .collect(),
        ),
        DeValue::Datetime(time) => Value::Time(time.to_string()),
        other => Value::Other(other.type_str()),
    };
    Node { value, place: here }
}

/// Line and column, counted from 1, of an offset.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Says that a name is unknown and which known one is near.
pub(super) fn unknown(kind: &str, name: &str, known: impl Iterator<Item = String>) -> String {
    let shown: String = name.chars().take(80).flat_map(char::escape_default).collect();
    let nearest = known.map(|candidate| (distance(name, &candidate), candidate)).min();
    match nearest {
        // A short name is near to many.
        Some((distance, candidate)) if distance <= 3 && distance < name.chars().count() => {
            format!("unknown {kind} '{shown}'; did you mean '{candidate}'?")
        }
        _ => format!("unknown {kind} '{shown}'"),
    }
}

/// How many characters must be put in, taken out or changed to make one text of the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let changed = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("store", "store", 0), ("sotre", "store", 2)]
        {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn lines_and_columns_count_from_one() {
        let text = "a\nbü = 1\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, text.find('=').unwrap()), (2, 4));
    }
}
