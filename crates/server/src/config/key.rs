//! What a setting is.

use toml::Value;

use super::Config;
use super::error::Fault;
use super::source::Node;

/// How a setting is written, so that a variable's text can be given the same form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text, durations and addresses included.
    Text,
    /// A whole number.
    Number,
    /// A list of texts; in a variable, comma separated.
    List,
    /// A list of tables; in a variable, the same TOML.
    Tables,
}

/// A setting.
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// How it is written.
    pub shape: Shape,
    /// What it means, for the documentation.
    pub meaning: &'static str,
    /// What holds while it is not set, in words, where the default is no fixed value.
    pub unset: Option<&'static str>,
    pub(super) read: fn(&Node, &mut Config) -> Result<(), Vec<Fault>>,
    pub(super) show: fn(&Config) -> Option<Value>,
}

impl Key {
    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("WAXWING_{}", self.name.to_ascii_uppercase())
    }

    /// Its value in a configuration, secrets redacted; `None` when it has none.
    pub fn value(&self, config: &Config) -> Option<Value> {
        (self.show)(config)
    }

    /// The default as the documentation gives it.
    pub fn default_in_words(&self) -> String {
        match (self.unset, self.value(&Config::default())) {
            (Some(words), _) => words.to_owned(),
            (None, Some(value)) => format!("`{value}`"),
            (None, None) => "none".to_owned(),
        }
    }
}
