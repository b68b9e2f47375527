//! Text for people at a terminal.

/// Most columns of a line.
const WIDTH: usize = 100;

/// Lines of a label and a text that is wrapped beside it. What strangers say is in such texts, so nothing of it reaches
/// the terminal that could move the cursor or make a line of its own.
#[derive(Debug, Default)]
pub(crate) struct Sheet(String);

impl Sheet {
    /// `label` and, from `column` after the indentation on, `text`.
    pub(crate) fn line(&mut self, indent: usize, column: usize, label: &str, text: &str) {
        let margin = indent + column;
        let mut line = format!("{:indent$}{label:<column$}", "");
        if !label.is_empty() && !line.ends_with(' ') {
            line.push(' ');
        }
        // In characters: names on the wire are ASCII, and what is not is rarely wide.
        let mut length = line.chars().count();
        let mut is_first = true;
        for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
            let word: String = word.chars().filter(|c| !is_invisible(*c)).collect();
            let width = word.chars().count();
            if !is_first && length + 1 + width > WIDTH {
                self.push(&line);
                line = " ".repeat(margin);
                length = margin;
                is_first = true;
            }
            if !is_first {
                line.push(' ');
                length += 1;
            }
            line.push_str(&word);
            length += width;
            is_first = false;
        }
        self.push(&line);
    }

    /// An empty line.
    pub(crate) fn blank(&mut self) {
        self.push("");
    }

    /// All of it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn push(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }
}

/// Characters that change how others are shown, or are not shown: marks of direction, zero widths.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_wrapped_beside_their_label() {
        let mut sheet = Sheet::default();
        sheet.line(2, 10, "label", &"word ".repeat(30));
        let lines: Vec<&str> = sheet.as_str().lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("  label     word word") && lines[1].starts_with("            word"));
        assert!(lines.iter().all(|line| line.len() <= WIDTH && !line.ends_with(' ')));
    }

    #[test]
    fn what_strangers_say_stays_text() {
        let mut sheet = Sheet::default();
        sheet.line(0, 4, "it", "says\u{1b}[2J a\r\nforged line\u{202e} and\ttab");
        assert_eq!(sheet.as_str(), "it  says [2J a forged line and tab\n");
        // A word that fits nowhere is shown whole.
        let mut sheet = Sheet::default();
        sheet.line(0, 4, "it", &"x".repeat(300));
        assert_eq!(sheet.as_str().lines().count(), 1);
    }
}
