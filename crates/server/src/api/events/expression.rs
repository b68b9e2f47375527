//! Mailgun's filter expressions: `foo bar`, `foo AND NOT bar`, `"foo bar" OR (baz)`, `>10000 <20000`.
//!
//! ```text
//! either := all ("OR" all)*
//! all    := not (["AND"] not)*
//! not    := "NOT" not | "(" either ")" | word | "quoted"
//! ```
//! The operators are upper case; in lower case they are words.

use std::iter::Peekable;
use std::vec::IntoIter;

use store::Filter;

use crate::api::limits::{EXPRESSION_DEPTH, EXPRESSION_OCTETS, EXPRESSION_WORDS};

/// Why a text is not a filter expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpressionError {
    #[error("it is longer than {EXPRESSION_OCTETS} octets")]
    TooLong,
    #[error("it has more than {EXPRESSION_WORDS} words")]
    TooManyWords,
    #[error("it is nested more than {EXPRESSION_DEPTH} deep")]
    TooDeep,
    #[error("a quote is not closed")]
    OpenQuote,
    #[error("a parenthesis is not closed")]
    OpenParenthesis,
    #[error("a word is missing at {0}")]
    Missing(&'static str),
    #[error("{0}")]
    Word(String),
}

/// Reads an expression; `leaf` makes a filter of each word.
pub(super) fn parse(text: &str, leaf: &dyn Fn(&str) -> Result<Filter, String>) -> Result<Filter, ExpressionError> {
    if text.len() > EXPRESSION_OCTETS {
        return Err(ExpressionError::TooLong);
    }
    let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), leaf };
    let filter = parser.either(0)?;
    match parser.tokens.next() {
        None => Ok(filter),
        Some(_) => Err(ExpressionError::Missing("')'")),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Word(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, ExpressionError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        // An operator counts like a word, so that the tree stays as small as the text promises.
        if tokens.len() >= 2 * EXPRESSION_WORDS {
            return Err(ExpressionError::TooManyWords);
        }
        let (token, after) = match first {
            '(' => (Token::Open, &rest[1..]),
            ')' => (Token::Close, &rest[1..]),
            '"' => quoted(&rest[1..])?,
            _ => {
                let is_end = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"');
                let (word, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
                let token = match word {
                    "AND" => Token::And,
                    "OR" => Token::Or,
                    "NOT" => Token::Not,
                    word => Token::Word(word.to_owned()),
                };
                (token, after)
            }
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    let words = tokens.iter().filter(|token| matches!(token, Token::Word(_))).count();
    if words > EXPRESSION_WORDS { Err(ExpressionError::TooManyWords) } else { Ok(tokens) }
}

/// What follows an opening quote; `\"` is a quote inside.
fn quoted(text: &str) -> Result<(Token, &str), ExpressionError> {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Word(word), &text[at + 1..])),
            '\\' => word.push(chars.next().ok_or(ExpressionError::OpenQuote)?.1),
            c => word.push(c),
        }
    }
    Err(ExpressionError::OpenQuote)
}

struct Parser<'a> {
    tokens: Peekable<IntoIter<Token>>,
    leaf: &'a dyn Fn(&str) -> Result<Filter, String>,
}

impl Parser<'_> {
    fn either(&mut self, depth: usize) -> Result<Filter, ExpressionError> {
        let mut filters = vec![self.all(depth)?];
        while self.tokens.next_if_eq(&Token::Or).is_some() {
            filters.push(self.all(depth)?);
        }
        Ok(one_or(filters, Filter::Or))
    }

    fn all(&mut self, depth: usize) -> Result<Filter, ExpressionError> {
        let mut filters = vec![self.not(depth)?];
        loop {
            let and = self.tokens.next_if_eq(&Token::And).is_some();
            if !and && matches!(self.tokens.peek(), None | Some(Token::Or | Token::Close)) {
                return Ok(one_or(filters, Filter::And));
            }
            filters.push(self.not(depth)?);
        }
    }

    fn not(&mut self, depth: usize) -> Result<Filter, ExpressionError> {
        if depth == EXPRESSION_DEPTH {
            return Err(ExpressionError::TooDeep);
        }
        match self.tokens.next() {
            Some(Token::Not) => Ok(Filter::Not(Box::new(self.not(depth + 1)?))),
            Some(Token::Open) => {
                let inner = self.either(depth + 1)?;
                self.tokens.next_if_eq(&Token::Close).map(|_| inner).ok_or(ExpressionError::OpenParenthesis)
            }
            Some(Token::Word(word)) => (self.leaf)(&word).map_err(ExpressionError::Word),
            Some(Token::Close) => Err(ExpressionError::Missing("')'")),
            Some(Token::And) => Err(ExpressionError::Missing("'AND'")),
            Some(Token::Or) => Err(ExpressionError::Missing("'OR'")),
            None => Err(ExpressionError::Missing("the end")),
        }
    }
}

fn one_or(mut filters: Vec<Filter>, many: fn(Vec<Filter>) -> Filter) -> Filter {
    if filters.len() == 1 { filters.remove(0) } else { many(filters) }
}

#[cfg(test)]
mod tests {
    use store::Field;

    use super::*;

    fn read(text: &str) -> Result<String, ExpressionError> {
        let leaf = |word: &str| Ok(Filter::Contains(Field::Subject, word.to_owned()));
        parse(text, &leaf).map(|filter| show(&filter))
    }

    fn show(filter: &Filter) -> String {
        let list = |filters: &[Filter]| filters.iter().map(show).collect::<Vec<_>>().join(" ");
        match filter {
            Filter::And(filters) => format!("and({})", list(filters)),
            Filter::Or(filters) => format!("or({})", list(filters)),
            Filter::Not(filter) => format!("not({})", show(filter)),
            Filter::Contains(_, word) => word.clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn expressions_become_filters() {
        for (text, filter) in [
            ("foo", "foo"),
            ("foo bar", "and(foo bar)"),
            ("foo AND bar", "and(foo bar)"),
            ("foo OR bar baz", "or(foo and(bar baz))"),
            ("foo bar OR baz", "or(and(foo bar) baz)"),
            ("\"foo bar\"", "foo bar"),
            ("\"say \\\"hi\\\"\"", "say \"hi\""),
            ("\"OR\"", "OR"),
            ("NOT foo", "not(foo)"),
            ("foo AND NOT bar", "and(foo not(bar))"),
            ("NOT NOT foo", "not(not(foo))"),
            ("(foo OR bar) AND NOT (baz)", "and(or(foo bar) not(baz))"),
            ("foo(bar)baz", "and(foo bar baz)"),
            ("rock and roll", "and(rock and roll)"),
            (" a+b@example.com ", "a+b@example.com"),
            ("grüße", "grüße"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(filter), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let deep = "(".repeat(EXPRESSION_DEPTH + 1);
        let nots = "NOT ".repeat(EXPRESSION_DEPTH + 1);
        let words = "a ".repeat(EXPRESSION_WORDS + 1);
        let long = "a".repeat(EXPRESSION_OCTETS + 1);
        for (text, error) in [
            ("", ExpressionError::Missing("the end")),
            ("foo OR", ExpressionError::Missing("the end")),
            ("AND foo", ExpressionError::Missing("'AND'")),
            ("foo OR OR bar", ExpressionError::Missing("'OR'")),
            ("()", ExpressionError::Missing("')'")),
            ("foo)", ExpressionError::Missing("')'")),
            ("(foo", ExpressionError::OpenParenthesis),
            ("\"foo", ExpressionError::OpenQuote),
            ("\"foo\\", ExpressionError::OpenQuote),
            (&deep, ExpressionError::TooDeep),
            (&nots, ExpressionError::TooDeep),
            (&words, ExpressionError::TooManyWords),
            (&long, ExpressionError::TooLong),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
    }
}
