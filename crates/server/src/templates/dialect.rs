//! Where the library would say something else than handlebars.js says: `{{.}}`, the length of a list, blocks of a variable
//! (`{{#people}}…{{/people}}`), and lists, objects and numbers as text. What still differs is in docs/mailgun.md.

use std::borrow::Cow;
use std::collections::HashMap;

use handlebars::template::{HelperTemplate, Parameter, Subexpression};
use handlebars::{
    BlockContext, Context, Handlebars, Helper, HelperDef, HelperResult, Output, Path, PathSeg, RenderContext,
    RenderError, RenderErrorReason, Renderable, ScopedJson,
};
use serde_json::{Number, Value};

/// The names of the helpers that expressions are rewritten to.
const TEXT: &str = "__text";
const LENGTH: &str = "__length";

pub(super) fn register(registry: &mut Handlebars<'_>) {
    registry.register_helper(TEXT, Box::new(Text));
    registry.register_helper(LENGTH, Box::new(Length));
    // What the library asks for a block that no helper has the name of.
    registry.register_helper("blockHelperMissing", Box::new(Section));
}

/// The source with `this` for each `.` that stands alone in a tag; the parser knows the former only.
pub(super) fn spell_out_this(source: &str) -> Cow<'_, str> {
    let mut spelled = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(begin) = source[at..].find("{{").map(|found| at + found) {
        let inside = &source[begin + 2..];
        let named = inside.trim_start_matches(['{', '~']);
        let end = begin + 2 + if named.starts_with('!') { comment(inside) } else { tag(inside) };
        // What follows a backslash is text.
        if !source[..begin].ends_with('\\') && !named.starts_with('!') {
            for dot in lone_dots(&source[begin..end]) {
                spelled.push_str(&source[copied..begin + dot]);
                spelled.push_str("this");
                copied = begin + dot + 1;
            }
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(source);
    }
    spelled.push_str(&source[copied..]);
    Cow::Owned(spelled)
}

/// How long a comment is, from behind its `{{` on.
fn comment(inside: &str) -> usize {
    let end = if inside.trim_start_matches('~').starts_with("!--") { "--" } else { "}}" };
    inside.find(end).map_or(inside.len(), |found| found + end.len())
}

/// How long a tag is, from behind its `{{` on. Braces in quotes do not end it.
fn tag(inside: &str) -> usize {
    let mut quote = None;
    for (at, b) in inside.bytes().enumerate() {
        match quote {
            Some(open) if b == open => quote = None,
            Some(_) => {}
            None if b == b'"' || b == b'\'' => quote = Some(b),
            None if inside.as_bytes()[at..].starts_with(b"}}") => return at,
            None => {}
        }
    }
    inside.len()
}

/// Where in a tag, which begins with `{{` and is without its end, a dot is the whole of a word.
fn lone_dots(tag: &str) -> Vec<usize> {
    let mut quote = None;
    let bytes = tag.as_bytes();
    let stands_alone = |at: usize| {
        b" \t\r\n{(~=&".contains(&bytes[at - 1]) && bytes.get(at + 1).is_none_or(|next| b" \t\r\n})~".contains(next))
    };
    let mut found = Vec::new();
    for (at, &b) in bytes.iter().enumerate() {
        match quote {
            Some(open) if b == open => quote = None,
            Some(_) => {}
            None if b == b'"' || b == b'\'' => quote = Some(b),
            None if b == b'.' && stands_alone(at) => found.push(at),
            None => {}
        }
    }
    found
}

/// `{{name}}` becomes `{{__text name}}`, and whatever ends with `.length` is counted.
pub(super) fn rewrite_expression(expression: &mut HelperTemplate) {
    if matches!(expression.name, Parameter::Path(_)) && expression.params.is_empty() && expression.hash.is_empty() {
        expression.params.push(std::mem::replace(&mut expression.name, Parameter::Name(TEXT.to_owned())));
    }
    rewrite_parameters(expression);
}

/// Whatever ends with `.length` is counted. How deep parentheses are nested was checked before.
pub(super) fn rewrite_parameters(helper: &mut HelperTemplate) {
    for parameter in helper.params.iter_mut().chain(helper.hash.values_mut()) {
        match parameter {
            Parameter::Path(Path::Relative((segments, raw))) => {
                let is_last = segments.last().is_some_and(|last| *last == PathSeg::Named("length".to_owned()));
                // `length` alone is a variable.
                if is_last && (segments.len() > 1 || raw.starts_with("this")) {
                    segments.pop();
                    let path = Parameter::Path(Path::Relative((std::mem::take(segments), std::mem::take(raw))));
                    let counted = Subexpression::new(Parameter::Name(LENGTH.to_owned()), vec![path], HashMap::new());
                    *parameter = Parameter::Subexpression(counted);
                }
            }
            Parameter::Subexpression(inner) => {
                if let handlebars::template::TemplateElement::Expression(inner) = inner.element.as_mut() {
                    rewrite_parameters(inner);
                }
            }
            _ => {}
        }
    }
}

/// A value as text.
struct Text;

impl HelperDef for Text {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let text = helper.param(0).map(|value| text(value.value())).unwrap_or_default();
        Ok(ScopedJson::Derived(Value::String(text)))
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => number(n),
        Value::String(s) => s.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(_) => "[object Object]".to_owned(),
    }
}

/// Without a decimal point where nothing is behind it, and with an exponent where JavaScript has one.
fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(f) if number.is_f64() && (f == 0.0 || (1e-6..1e21).contains(&f.abs())) => format!("{}", f + 0.0),
        _ => number.to_string(),
    }
}

/// How long a list or a text is; of an object what it calls so.
struct Length;

impl HelperDef for Length {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let length = match helper.param(0).map(|value| value.value()) {
            Some(Value::Array(list)) => list.len().into(),
            // In the units of UTF-16, as JavaScript counts.
            Some(Value::String(text)) => text.encode_utf16().count().into(),
            Some(Value::Object(object)) => object.get("length").cloned().unwrap_or_default(),
            _ => Value::Null,
        };
        Ok(ScopedJson::Derived(length))
    }
}

/// `{{#name}}…{{else}}…{{/name}}`, where `name` is a variable: for each of a list, with an object, or if there is something.
struct Section;

impl HelperDef for Section {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        output: &mut dyn Output,
    ) -> HelperResult {
        if !helper.params().is_empty() || !helper.hash().is_empty() {
            return Err(RenderErrorReason::HelperNotFound(helper.name().to_owned()).into());
        }
        let value = state.evaluate(context, helper.name())?;
        let Some(body) = helper.template() else { return Ok(()) };
        match value.as_json() {
            Value::Bool(true) => body.render(registry, context, state, output),
            Value::Null | Value::Bool(false) => otherwise(helper, registry, context, state, output),
            Value::Array(list) if list.is_empty() => otherwise(helper, registry, context, state, output),
            Value::Array(list) => {
                for (index, item) in list.iter().enumerate() {
                    let mut block = block_of(&value, Some((index, item)));
                    block.set_local_var("first", (index == 0).into());
                    block.set_local_var("last", (index + 1 == list.len()).into());
                    block.set_local_var("index", index.into());
                    state.push_block(block);
                    let rendered = body.render(registry, context, state, output);
                    state.pop_block();
                    rendered?;
                }
                Ok(())
            }
            _ => {
                state.push_block(block_of(&value, None));
                let rendered = body.render(registry, context, state, output);
                state.pop_block();
                rendered
            }
        }
    }
}

fn otherwise<'reg: 'rc, 'rc>(
    helper: &Helper<'rc>,
    registry: &'reg Handlebars<'reg>,
    context: &'rc Context,
    state: &mut RenderContext<'reg, 'rc>,
    output: &mut dyn Output,
) -> HelperResult {
    helper.inverse().map_or(Ok(()), |body| body.render(registry, context, state, output))
}

/// What names mean within a block: they are looked up in the value, or in one item of it.
fn block_of<'rc>(value: &ScopedJson<'rc>, item: Option<(usize, &Value)>) -> BlockContext<'rc> {
    let mut block = BlockContext::new();
    match value.context_path() {
        Some(path) => {
            block.base_path_mut().clone_from(path);
            block.base_path_mut().extend(item.map(|(index, _)| index.to_string()));
        }
        None => block.set_base_value(item.map_or(value.as_json(), |(_, item)| item).clone()),
    }
    block
}
