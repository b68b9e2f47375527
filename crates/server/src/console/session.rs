//! Who is looking: a session, known by a token that the browser keeps in a cookie and the store only as its hash.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::header::{COOKIE, HOST, ORIGIN, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use store::user::{NewSession, Session, User};
use store::{KeyHash, Timestamp};
use url::form_urlencoded;

use super::Console;
use super::client::{Client, Refusal, with_query};
use super::limits::{AGENT_OCTETS, NOTICE_OCTETS, SESSION_IDLE, SESSION_NOTED, SESSION_TIME};
use super::parts::cut;
use crate::api::Caller;
use crate::config::Secret;

/// The cookie that holds a notice for the next page.
const NOTICE: &str = "waxwing-notice";

/// Octets of randomness in a token; more than anybody can guess.
const TOKEN_OCTETS: usize = 32;

/// A token from the system's randomness. `None` when the system has none to give.
pub(super) fn random() -> Option<Secret> {
    let mut octets = [0; TOKEN_OCTETS];
    aws_lc_rs::rand::fill(&mut octets).ok()?;
    Some(Secret::new(URL_SAFE_NO_PAD.encode(octets)))
}

/// How a page follows another, in a word and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    /// Whether something went wrong.
    pub(super) is_error: bool,
    /// The sentence.
    pub(super) text: String,
}

/// Who is looking at a page, and from where.
#[derive(Debug, Clone)]
pub(super) struct Viewer {
    /// The panel.
    pub(super) console: Console,
    /// Who.
    pub(super) user: User,
    /// In which session.
    pub(super) session: Session,
    /// The hash of the session's token.
    pub(super) token: KeyHash,
    /// What every form of this session has.
    pub(super) csrf: String,
    /// What the page before left to be said.
    pub(super) notice: Option<Notice>,
    client: Client,
}

impl Viewer {
    /// The API with the rights of this user.
    pub(super) fn api(&self) -> &Client {
        &self.client
    }

    /// Where the browser is.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.client.peer().map(|peer| peer.ip())
    }

    /// The one sending domain that the user has to do with; `None` is all of them.
    pub(super) fn domain(&self) -> Option<&str> {
        self.user.role.domain().map(smtp::Domain::as_str)
    }

    /// Whether the user may do everything.
    pub(super) fn is_admin(&self) -> bool {
        self.domain().is_none()
    }

    /// Lets only those through who may do everything.
    pub(super) fn admin(&self) -> Result<(), Refusal> {
        match self.is_admin() {
            true => Ok(()),
            false => Err(Refusal::new(StatusCode::FORBIDDEN, "Only administrators may do this.")),
        }
    }
}

impl FromRequestParts<Console> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Viewer, Response> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let cookies = Cookies::of(&parts.headers, console.0.is_https);
        let Some(token) = cookies.token() else { return Err(to_sign_in(&path)) };
        let (hash, now) = (KeyHash::of(token), Timestamp::now());
        let found = console.0.store.session(hash, now).await;
        let found = found.map_err(|error| Refusal::from(error).into_response())?;
        let Some((session, user)) = found.filter(|(session, _)| session.used_at + SESSION_IDLE > now) else {
            return Err(to_sign_in(&path));
        };
        if session.used_at + SESSION_NOTED < now {
            let store = console.0.store.clone();
            // Nothing hangs on it but when the session ends.
            tokio::spawn(async move { store.use_session(hash, now).await });
        }
        let client = Client::new(console.0.api.clone(), Caller::of_user(&user), parts);
        let csrf = csrf_of(token);
        let notice = cookies.notice();
        Ok(Viewer { console: console.clone(), user, session, token: hash, csrf, notice, client })
    }
}

/// Where the request came from.
pub(super) fn peer_of(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}

/// Known to the session's own pages alone: nobody makes it without the token, and it does not tell the token.
fn csrf_of(token: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, b"form"))
}

fn to_sign_in(path: &str) -> Response {
    let next = if path == "/" { "" } else { path };
    see_other(&with_query("/sign-in", &[("next", next)]))
}

/// 303: what follows is a page of its own (RFC 9110 §15.4.4).
pub(super) fn see_other(path: &str) -> Response {
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(axum::http::header::LOCATION, location)]).into_response()
}

/// A form of a page, sent by one of this session's own pages.
#[derive(Debug)]
pub(super) struct Submitted {
    /// Who sent it.
    pub(super) viewer: Viewer,
    /// What it says.
    pub(super) form: Fields,
}

impl FromRequest<Console> for Submitted {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Console) -> Result<Submitted, Response> {
        let (mut parts, body) = request.into_parts();
        let viewer = Viewer::from_request_parts(&mut parts, console).await?;
        let form = Fields::read(Request::from_parts(parts, body)).await.map_err(IntoResponse::into_response)?;
        let (given, own) = (form.get("csrf").as_bytes(), viewer.csrf.as_bytes());
        if constant_time::verify_slices_are_equal(given, own).is_err() {
            let words = "This form is not from this session. Go back, reload the page and try again.";
            return Err(Refusal::new(StatusCode::FORBIDDEN, words).into_response());
        }
        Ok(Submitted { viewer, form })
    }
}

/// The fields of a form, in their order.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a form that was sent by a page of ours, as far as the browser says from where.
    pub(super) async fn read(request: Request) -> Result<Fields, Refusal> {
        if !is_from_here(request.headers()) {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "This form was sent by a page of another site."));
        }
        let body = Bytes::from_request(request, &()).await;
        let body = body.map_err(|error| Refusal::new(error.status(), "The form is too large."))?;
        Ok(Fields(form_urlencoded::parse(&body).into_owned().collect()))
    }

    /// A form that says this.
    pub(super) fn of<const N: usize>(fields: [(&str, String); N]) -> Fields {
        Fields(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The first value of the field, or nothing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The same without blanks around it.
    pub(super) fn trimmed(&self, name: &str) -> &str {
        self.get(name).trim()
    }

    /// Every value of the field.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Browsers say from where a form comes; other programs have no cookies that somebody could abuse.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(ORIGIN.as_str()) else { return true };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == text(HOST.as_str())
}

/// The cookies of a request.
struct Cookies<'a> {
    text: Vec<&'a str>,
    is_https: bool,
}

impl<'a> Cookies<'a> {
    fn of(headers: &'a HeaderMap, is_https: bool) -> Cookies<'a> {
        let text = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
        Cookies { text, is_https: is_https || is_forwarded_https(headers) }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let all = self.text.iter().flat_map(|text| text.split(';'));
        let mut pairs = all.filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn token(&self) -> Option<&'a str> {
        self.get(cookie_name(self.is_https)).filter(|token| !token.is_empty() && token.len() <= 100)
    }

    fn notice(&self) -> Option<Notice> {
        let value = self.get(NOTICE).filter(|value| value.len() <= 2 * NOTICE_OCTETS)?;
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(value).ok()?).ok()?;
        let (kind, text) = text.split_at_checked(1)?;
        Some(Notice { is_error: kind == "!", text: text.to_owned() })
    }
}

/// Whether a proxy says that the browser reached it by https.
pub(super) fn is_forwarded_https(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// Over https the name keeps others from setting it (RFC 6265bis §4.1.3.2).
fn cookie_name(is_https: bool) -> &'static str {
    if is_https { "__Host-waxwing" } else { "waxwing" }
}

/// Has the browser keep a cookie, out of the reach of scripts and of requests that other sites make.
pub(super) fn keep_cookie(response: &mut Response, name: &str, value: &str, seconds: u64, is_https: bool) {
    let secure = if is_https { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(axum::http::header::SET_COOKIE, cookie);
    }
}

/// Has the next page say it.
pub(super) fn leave_notice(response: &mut Response, notice: &Notice) {
    let text = format!("{}{}", if notice.is_error { '!' } else { '+' }, notice.text);
    keep_cookie(response, NOTICE, &URL_SAFE_NO_PAD.encode(cut(&text, NOTICE_OCTETS)), 60, false);
}

/// Has it not said again.
pub(super) fn drop_notice(response: &mut Response) {
    keep_cookie(response, NOTICE, "", 0, false);
}

/// Opens a session for a user who showed a password, and leads on.
pub(super) async fn open(
    console: &Console,
    user: &User,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
    next: &str,
) -> Result<Response, Refusal> {
    let no_randomness = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "The system has no randomness to give.");
    let token = random().ok_or_else(no_randomness)?;
    let agent = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let agent = cut(&agent.unwrap_or_default(), AGENT_OCTETS).to_owned();
    let now = Timestamp::now();
    let address = peer.map(|peer| peer.ip().to_string()).unwrap_or_default();
    let new = NewSession {
        token: KeyHash::of(token.expose()),
        user: user.id,
        address,
        agent,
        now,
        ends_at: now + SESSION_TIME,
    };
    console.0.store.open_session(new).await?;
    let is_https = console.0.is_https || is_forwarded_https(headers);
    let mut response = see_other(next);
    keep_cookie(&mut response, cookie_name(is_https), token.expose(), SESSION_TIME.as_secs(), is_https);
    Ok(response)
}

/// Has the browser forget its session.
pub(super) fn forget(response: &mut Response) {
    keep_cookie(response, cookie_name(false), "", 0, false);
    keep_cookie(response, cookie_name(true), "", 0, true);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn forms_of_other_sites_are_known() {
        for (pairs, expected) in [
            (vec![], true),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "same-site"), ("origin", "http://a"), ("host", "a")], false),
            (vec![("origin", "https://mail.example:8080"), ("host", "mail.example:8080")], true),
            (vec![("origin", "https://mail.example"), ("host", "other.example")], false),
            (vec![("origin", "null"), ("host", "null")], false),
        ] {
            assert_eq!(is_from_here(&headers(&pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn over_https_only_the_cookie_counts_that_others_cannot_set() {
        let both = headers(&[("cookie", "a=b; waxwing=plain; __Host-waxwing=host")]);
        assert_eq!(Cookies::of(&both, false).token(), Some("plain"));
        assert_eq!(Cookies::of(&both, true).token(), Some("host"));
        let forwarded = headers(&[("cookie", "waxwing=plain"), ("x-forwarded-proto", "https")]);
        assert_eq!(Cookies::of(&forwarded, false).token(), None);
    }

    #[test]
    fn a_notice_goes_from_page_to_page() {
        let mut response = see_other("/");
        let notice = Notice { is_error: true, text: "Grüße; <b>".to_owned() };
        leave_notice(&mut response, &notice);
        let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        assert_eq!(Cookies::of(&headers(&[("cookie", &cookie)]), false).notice(), Some(notice));
        assert_eq!(Cookies::of(&headers(&[("cookie", "waxwing-notice=%%")]), false).notice(), None);
    }

    #[test]
    fn a_session_has_a_token_for_forms_of_its_own() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_ne!(csrf_of(one.expose()), csrf_of(other.expose()));
        assert_eq!(csrf_of(one.expose()), csrf_of(one.expose()));
    }
}
