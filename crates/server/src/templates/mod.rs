//! Templates in the language of Handlebars, written by whoever may send: what one of them costs is bounded, in size, in
//! nesting, in steps and in time, and nothing but its variables is within its reach.
//!
//! A template has no partials and no decorators, so it cannot call itself. Every body of a block counts its steps: a loop
//! over a loop over a loop ends with an error, also where it writes nothing.

mod cache;
mod dialect;
mod nesting;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use handlebars::template::{HelperTemplate, TemplateElement};
use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError, RenderErrorReason,
    Renderable, Template,
};
use serde_json::{Map, Value};

/// Longest template, in octets, as Mailgun has it.
pub(crate) const TEMPLATE_OCTETS: usize = 100 * 1024;
/// Longest text that a template may lead to, in octets.
const OUTPUT_OCTETS: usize = 5 * 1024 * 1024;
/// Most bodies of blocks that are gone through in one rendering.
const STEPS: u32 = 100_000;
/// Longest rendering. It is looked at with each step.
const TIME: Duration = Duration::from_secs(2);
/// The name of the helper that counts.
const STEP: &str = "__step";

/// Why a template leads to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// It is longer than [`TEMPLATE_OCTETS`].
    #[error("it is longer than {} kB", TEMPLATE_OCTETS / 1024)]
    TooLong,
    /// Blocks or parentheses are nested too deep.
    #[error("it is nested more than {0} levels deep")]
    TooDeep(usize),
    /// `{{> name}}` and `{{* name}}`.
    #[error("partials and decorators are not supported")]
    Partial,
    /// It is no template.
    #[error("{0}")]
    Syntax(String),
    /// Rendering it fails: a helper is missing, or takes something else.
    #[error("{0}")]
    Render(String),
    /// What comes of it is longer than [`OUTPUT_OCTETS`].
    #[error("what comes of it is longer than {} MiB", OUTPUT_OCTETS >> 20)]
    TooMuch,
    /// It goes through too many steps, or takes too long.
    #[error("it takes too many steps")]
    TooSlow,
}

/// What is done with the characters that mean something in HTML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Escape {
    /// `{{x}}` is escaped and `{{{x}}}` is not, as in handlebars.js.
    Html,
    /// Nothing: the text is no HTML.
    None,
}

/// Whether the text is a template.
pub(crate) fn check(source: &str) -> Result<(), TemplateError> {
    compile(source).map(|_| ())
}

/// What comes of the template with these variables. One that is not there is empty.
pub(crate) fn render(source: &str, variables: &Map<String, Value>, escape: Escape) -> Result<String, TemplateError> {
    let template = cache::compiled(source)?;
    let context = Context::from(Value::Object(variables.clone()));
    let mut state = RenderContext::new(None);
    state.register_local_helper(STEP, Box::new(Steps { left: AtomicU32::new(STEPS), until: Instant::now() + TIME }));
    let mut output = Limited { text: String::new(), is_full: false };
    match template.render(registry(escape), &context, &mut state, &mut output) {
        Ok(()) => Ok(output.text),
        Err(_) if output.is_full => Err(TemplateError::TooMuch),
        Err(error) if error.to_string().contains(TOO_SLOW) => Err(TemplateError::TooSlow),
        Err(error) => Err(TemplateError::Render(error.reason().to_string())),
    }
}

fn registry(escape: Escape) -> &'static Handlebars<'static> {
    static HTML: OnceLock<Handlebars<'static>> = OnceLock::new();
    static PLAIN: OnceLock<Handlebars<'static>> = OnceLock::new();
    let make = || {
        let mut registry = Handlebars::new();
        // What others write does not belong into our log.
        registry.unregister_helper("log");
        registry.register_helper("equal", Box::new(Equal));
        dialect::register(&mut registry);
        registry
    };
    match escape {
        Escape::Html => HTML.get_or_init(make),
        Escape::None => PLAIN.get_or_init(|| {
            let mut registry = make();
            registry.register_escape_fn(handlebars::no_escape);
            registry
        }),
    }
}

fn compile(source: &str) -> Result<Template, TemplateError> {
    if source.len() > TEMPLATE_OCTETS {
        return Err(TemplateError::TooLong);
    }
    nesting::check(source)?;
    let mut template = Template::compile(&dialect::spell_out_this(source)).map_err(|error| {
        let place = error.pos().map(|(line, column)| format!("line {line}, column {column}: ")).unwrap_or_default();
        TemplateError::Syntax(format!("{place}{}", error.reason()))
    })?;
    let step =
        Template::compile(&format!("{{{{{STEP}}}}}")).map_err(|error| TemplateError::Syntax(error.to_string()))?;
    prepare(&mut template, &step)?;
    Ok(template)
}

/// Puts a step before each body of a block, and rewrites what the dialect says; refuses what may call itself. The depth
/// was checked before.
fn prepare(template: &mut Template, step: &Template) -> Result<(), TemplateError> {
    for element in &mut template.elements {
        match element {
            TemplateElement::HelperBlock(block) => prepare_block(block, step)?,
            TemplateElement::HtmlExpression(expression) | TemplateElement::Expression(expression) => {
                dialect::rewrite_expression(expression);
            }
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
            // Partials, decorators, and whatever a later version of the language brings.
            _ => return Err(TemplateError::Partial),
        }
    }
    Ok(())
}

fn prepare_block(block: &mut HelperTemplate, step: &Template) -> Result<(), TemplateError> {
    dialect::rewrite_parameters(block);
    for body in [&mut block.template, &mut block.inverse].into_iter().flatten() {
        prepare(body, step)?;
        body.elements.splice(0..0, step.elements.iter().cloned());
        body.mapping.splice(0..0, step.mapping.iter().cloned());
    }
    Ok(())
}

/// What the helper that counts says at the end; nobody else says it.
const TOO_SLOW: &str = "too many steps";

/// Counts the steps of one rendering.
struct Steps {
    left: AtomicU32,
    until: Instant,
}

impl HelperDef for Steps {
    fn call<'reg: 'rc, 'rc>(
        &self,
        _: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn Output,
    ) -> HelperResult {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 || Instant::now() >= self.until {
            return Err(RenderErrorReason::Other(TOO_SLOW.to_owned()).into());
        }
        self.left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }
}

/// `{{#equal a b}}…{{else}}…{{/equal}}`, which Mailgun has beside what is built in.
struct Equal;

impl HelperDef for Equal {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        output: &mut dyn Output,
    ) -> HelperResult {
        let value = |index| {
            let missing = || RenderError::from(RenderErrorReason::ParamNotFoundForIndex("equal", index));
            helper.param(index).map(|value| value.value()).ok_or_else(missing)
        };
        let is_equal = value(0)? == value(1)?;
        let body = if is_equal { helper.template() } else { helper.inverse() };
        body.map_or(Ok(()), |body| body.render(registry, context, state, output))
    }
}

/// Text that grows to a limit.
struct Limited {
    text: String,
    is_full: bool,
}

impl Output for Limited {
    fn write(&mut self, part: &str) -> std::io::Result<()> {
        if self.text.len() + part.len() > OUTPUT_OCTETS {
            self.is_full = true;
            return Err(std::io::Error::other("full"));
        }
        self.text.push_str(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
