//! How pages read what the API answers. What is not there is empty: a page shows what there is.

use serde_json::Value;

/// Looks into an answer by a pointer (RFC 6901), as `/delivery-status/code`.
pub(super) trait Look {
    /// The text there.
    fn text(&self, at: &str) -> &str;
    /// The number there, without what is behind the point.
    fn number(&self, at: &str) -> i64;
    /// The number there.
    fn float(&self, at: &str) -> Option<f64>;
    /// Whether it says yes there.
    fn is(&self, at: &str) -> bool;
    /// The list there.
    fn items(&self, at: &str) -> &[Value];
    /// The object there, as its parts in their order.
    fn parts(&self, at: &str) -> Vec<(&str, &Value)>;
    /// What is there, if it is anything.
    fn some(&self, at: &str) -> Option<&Value>;
}

impl Look for Value {
    fn text(&self, at: &str) -> &str {
        self.pointer(at).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, at: &str) -> i64 {
        self.float(at).map_or(0, |number| number as i64)
    }

    fn float(&self, at: &str) -> Option<f64> {
        self.pointer(at).and_then(Value::as_f64)
    }

    fn is(&self, at: &str) -> bool {
        self.pointer(at).and_then(Value::as_bool).unwrap_or_default()
    }

    fn items(&self, at: &str) -> &[Value] {
        self.pointer(at).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn parts(&self, at: &str) -> Vec<(&str, &Value)> {
        let object = self.pointer(at).and_then(Value::as_object);
        object.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect()
    }

    fn some(&self, at: &str) -> Option<&Value> {
        self.pointer(at).filter(|value| !value.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_there_is_empty() {
        let answer = json!({ "a": { "b": "x", "n": 2.9, "yes": true, "list": [1, 2], "none": null } });
        assert_eq!((answer.text("/a/b"), answer.text("/a/n"), answer.text("/c")), ("x", "", ""));
        assert_eq!((answer.number("/a/n"), answer.number("/a/b")), (2, 0));
        assert!(answer.is("/a/yes") && !answer.is("/a/b"));
        assert_eq!((answer.items("/a/list").len(), answer.items("/a/b").len()), (2, 0));
        assert_eq!(answer.parts("/a").first().map(|(name, _)| *name), Some("b"));
        assert!(answer.some("/a/none").is_none() && answer.some("/a/b").is_some());
    }
}
