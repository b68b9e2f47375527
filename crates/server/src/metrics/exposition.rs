//! The text format that Prometheus reads, version 0.0.4.

use std::fmt::{Display, Write};

/// What a document is served as.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A document under way. Families are written one after the other, samples of one family together.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family: its name, `counter`, `gauge` or `histogram`, and what it means, in one line without backslashes.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A sample of the family that was begun last.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if index == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        let end = if labels.is_empty() { " " } else { "} " };
        let _ = writeln!(self.text, "{end}{value}");
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_families_named() {
        let mut document = Exposition::default();
        document.family("a_total", "counter", "What a is.");
        document.sample("a_total", &[("x", "q\"\\\n"), ("y", "")], 3);
        document.single("b_seconds", "gauge", "What b is.", 0.5);
        let expected = "# HELP a_total What a is.\n# TYPE a_total counter\n\
            a_total{x=\"q\\\"\\\\\\n\",y=\"\"} 3\n\
            # HELP b_seconds What b is.\n# TYPE b_seconds gauge\nb_seconds 0.5\n";
        assert_eq!(document.finish(), expected);
    }
}
