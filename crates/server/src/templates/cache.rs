//! Compiled templates, so that a thousand copies compile theirs once. The source is the key: there is nothing to be
//! forgotten when a template changes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use handlebars::Template;

use super::TemplateError;

/// Octets of sources whose templates are kept; compiled they take some times as much.
const OCTETS: usize = 2 * 1024 * 1024;

#[derive(Default)]
struct Cache {
    compiled: HashMap<Arc<str>, Arc<Template>>,
    /// Oldest first.
    order: VecDeque<Arc<str>>,
    octets: usize,
}

static CACHE: Mutex<Option<Cache>> = Mutex::new(None);

/// The template of this source.
pub(super) fn compiled(source: &str) -> Result<Arc<Template>, TemplateError> {
    let lock = || CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().as_ref().and_then(|cache| cache.compiled.get(source)) {
        return Ok(known.clone());
    }
    let template = Arc::new(super::compile(source)?);
    lock().get_or_insert_default().keep(source, &template);
    Ok(template)
}

impl Cache {
    fn keep(&mut self, source: &str, template: &Arc<Template>) {
        let source: Arc<str> = source.into();
        if self.compiled.insert(source.clone(), template.clone()).is_some() {
            return;
        }
        // An empty source takes room too.
        self.octets += source.len() + 1024;
        self.order.push_back(source);
        while self.octets > OCTETS
            && let Some(oldest) = self.order.pop_front()
        {
            self.octets -= oldest.len() + 1024;
            self.compiled.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes() {
        let mut cache = Cache::default();
        let template = Arc::new(Template::default());
        for n in 0..100 {
            cache.keep(&format!("{n}{}", "x".repeat(100_000)), &template);
            cache.keep("twice", &template);
        }
        assert!(cache.octets <= OCTETS && cache.order.len() == cache.compiled.len());
        assert!(cache.compiled.keys().any(|source| source.starts_with("99x")));
        assert!(!cache.compiled.keys().any(|source| source.starts_with("1x")));
        let octets: usize = cache.compiled.keys().map(|source| source.len() + 1024).sum();
        assert_eq!(octets, cache.octets);
    }
}
