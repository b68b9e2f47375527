//! How deep a template is nested, seen before it is parsed: parser and renderer call themselves for each level.

use super::TemplateError;

/// Most open blocks, and `else if`s of those that are open.
const LEVELS: usize = 50;
/// Most open brackets within one tag.
const BRACKETS: usize = 16;

/// Refuses what is nested too deep. It may count too much, in comments and in quotes, never too little.
pub(super) fn check(source: &str) -> Result<(), TemplateError> {
    let mut open: Vec<usize> = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find("{{") {
        rest = rest[at..].trim_start_matches('{');
        let tag = rest.trim_start_matches(['~', ' ', '\t', '\r', '\n']);
        let end = tag.find("}}").unwrap_or(tag.len());
        brackets(&tag[..end])?;
        if tag.starts_with('#') {
            open.push(1);
        } else if tag.starts_with('^') || tag.starts_with("else") {
            // `{{^name}}` opens a block elsewhere, and is another case here.
            match open.last_mut() {
                Some(cases) => *cases += 1,
                None => open.push(1),
            }
        } else if tag.starts_with('/') {
            open.pop();
        }
        if open.iter().sum::<usize>() > LEVELS {
            return Err(TemplateError::TooDeep(LEVELS));
        }
    }
    Ok(())
}

fn brackets(tag: &str) -> Result<(), TemplateError> {
    let mut depth = 0usize;
    for b in tag.bytes() {
        match b {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > BRACKETS {
            return Err(TemplateError::TooDeep(BRACKETS));
        }
    }
    Ok(())
}
