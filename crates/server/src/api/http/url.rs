//! The address under which clients reach this server, for the links in answers.

use axum::http::{HeaderMap, header};
use url::Url;

/// The configured public address, or what the client called us, without a slash at the end.
///
/// Links must be absolute whatever happens: clients give them to URL parsers that accept nothing else.
pub(crate) fn base(public_url: Option<&Url>, headers: &HeaderMap) -> String {
    let called = || {
        let host = headers.get(header::HOST)?.to_str().ok()?;
        let url = Url::parse(&format!("http://{host}")).ok()?;
        // Nothing but a host and a port may come from the header.
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        (plain && url.password().is_none()).then(|| url.to_string())
    };
    let base = public_url.map(Url::to_string).or_else(called).unwrap_or_else(|| "http://localhost/".to_owned());
    base.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_start_with_the_public_address_or_the_host_header() {
        let public: Url = "https://mail.example.com/api/".parse().unwrap();
        for (public, host, expected) in [
            (Some(&public), "127.0.0.1:8025", "https://mail.example.com/api"),
            (None, "127.0.0.1:8025", "http://127.0.0.1:8025"),
            (None, "[::1]:8025", "http://[::1]:8025"),
            (None, "mail.example.com", "http://mail.example.com"),
            (None, "evil/path?", "http://localhost"),
            (None, "user@evil", "http://localhost"),
            (None, "", "http://localhost"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            assert_eq!(base(public, &headers), expected, "{host}");
        }
        assert_eq!(base(None, &HeaderMap::new()), "http://localhost");
    }
}
