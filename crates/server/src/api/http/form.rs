//! Forms: `multipart/form-data` (RFC 7578) and `application/x-www-form-urlencoded`, as clients mix them.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use percent_encoding::percent_decode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::disposition::Disposition;
use super::error::ApiError;
use crate::api::App;
use crate::api::limits::{
    FIELD_NAME_OCTETS, FORM_FIELDS, FORM_FILES, FORM_TIME, FORM_WAIT, FORMS_IN_MEMORY_OCTETS, MESSAGE_OCTETS,
    QUERY_OCTETS, REQUEST_OCTETS,
};
use crate::api::sending::excerpt;

/// The fields of a form in their order; a name may occur often.
#[derive(Debug, Default)]
pub(crate) struct Form {
    /// The fields.
    pub(crate) fields: Vec<Field>,
    /// The share of memory that the form holds while it lives.
    _share: Option<Share>,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name as given.
    pub(crate) name: String,
    /// Its content.
    pub(crate) content: Bytes,
    /// What makes it a file.
    pub(crate) file: Option<File>,
}

/// How a field describes the file that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// The name; empty when the client gave an empty one.
    pub(crate) filename: String,
    /// `Content-Type` of the part; empty when there is none.
    pub(crate) content_type: String,
}

impl Field {
    /// A plain field.
    #[cfg(test)]
    pub(crate) fn text(name: impl Into<String>, value: impl Into<String>) -> Field {
        Field { name: name.into(), content: Bytes::from(value.into()), file: None }
    }

    /// The value of a plain field.
    pub(crate) fn as_text(&self) -> Result<&str, ApiError> {
        if self.file.is_some() {
            return Err(ApiError::bad_request(format!("'{}' parameter is a file, a plain field is wanted", self.name)));
        }
        std::str::from_utf8(&self.content)
            .map_err(|_| ApiError::bad_request(format!("'{}' parameter is not valid UTF-8", self.name)))
    }
}

impl Form {
    /// A form of these fields.
    #[cfg(test)]
    pub(crate) fn of(fields: Vec<Field>) -> Form {
        Form { fields, _share: None }
    }

    /// Reads the body of a request. No body at all is a form without fields.
    pub(crate) async fn read(app: &App, request: Request) -> Result<Form, ApiError> {
        let (parts, body) = request.into_parts();
        check_head(&parts)?;
        let longest = body.size_hint().upper().unwrap_or(REQUEST_OCTETS);
        if longest > REQUEST_OCTETS {
            return Err(request_too_large());
        }
        if longest == 0 {
            return Ok(Form::default());
        }
        let mut share = Share { memory: app.memory.clone(), held: None };
        let fields = timeout(FORM_TIME, read_fields(&parts.headers, body, &mut share));
        let fields =
            fields.await.map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "request took too long"))??;
        Ok(Form { fields, _share: Some(share) })
    }
}

/// The parameters of a request, by name: in the query, where some clients put a single one, or in a form. Those of the
/// query come first.
pub(crate) async fn read_anywhere(app: &App, mut request: Request) -> Result<Vec<(String, String)>, ApiError> {
    let mut given = parse_query(request.uri().query().unwrap_or_default())?;
    // Forms are read where nothing stands in the query; here it was read already.
    *request.uri_mut() = Uri::from_static("/");
    for field in &Form::read(app, request).await?.fields {
        given.push((field.name.clone(), field.as_text()?.to_owned()));
    }
    Ok(given)
}

/// Refuses what the head of a request asks for and no form can give.
fn check_head(parts: &Parts) -> Result<(), ApiError> {
    // Whatever stands in the query was meant to have an effect, and only fields of the body have any.
    let query = parse_query(parts.uri.query().unwrap_or_default())?;
    if let Some((name, _)) = query.first() {
        let text = format!("'{}' is in the query; parameters belong into the body", excerpt(name));
        return Err(ApiError::bad_request(text));
    }
    match parts.headers.get(header::CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is not supported"))
        }
        _ => Ok(()),
    }
}

/// What a form holds of the memory for forms. It grows with what has come of the body, so that clients who announce
/// much and send nothing keep nobody waiting.
#[derive(Debug)]
struct Share {
    memory: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Waits until the other forms in memory leave room for so many octets of this one.
    async fn grow_to(&mut self, octets: usize) -> Result<(), ApiError> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = (octets as u64).div_ceil(MEMORY_UNIT).saturating_sub(held as u64);
        if missing == 0 {
            return Ok(());
        }
        let more = self.memory.clone().acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX));
        let more = timeout(FORM_WAIT, more).await.ok().and_then(Result::ok).ok_or_else(ApiError::unavailable)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// Memory is shared out in units of so many octets.
const MEMORY_UNIT: u64 = 64 * 1024;
/// All units there are.
pub(crate) const MEMORY_UNITS: usize = (FORMS_IN_MEMORY_OCTETS / MEMORY_UNIT) as usize;

async fn read_fields(headers: &HeaderMap, body: Body, share: &mut Share) -> Result<Vec<Field>, ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let kind = content_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match kind.as_deref() {
        Some("multipart/form-data") => {
            let boundary = content_type.and_then(|value| multer::parse_boundary(value).ok());
            read_multipart(boundary.ok_or_else(malformed)?, read_whole(body, share).await?).await
        }
        Some("application/x-www-form-urlencoded") => parse_urlencoded(&read_whole(body, share).await?),
        // A chunked body may turn out to be empty, and then needs no type.
        other => {
            let body = read_whole(body, share).await?;
            if body.is_empty() { Ok(Vec::new()) } else { Err(unexpected_type(other.unwrap_or_default())) }
        }
    }
}

fn unexpected_type(kind: &str) -> ApiError {
    ApiError::bad_request(format!(
        "Invalid request content type. Expecting 'multipart/form-data' or 'application/x-www-form-urlencoded' but got '{kind}'"
    ))
}

/// The parts of a body that is there as a whole: given in pieces, the parser begins its search anew with each, and one
/// long header keeps it busy for minutes.
async fn read_multipart(boundary: String, body: Bytes) -> Result<Vec<Field>, ApiError> {
    let size_limit = multer::SizeLimit::new().whole_stream(REQUEST_OCTETS).per_field(MESSAGE_OCTETS);
    let constraints = multer::Constraints::new().size_limit(size_limit);
    let mut parts = multer::Multipart::with_constraints(Body::from(body).into_data_stream(), boundary, constraints);
    let (mut fields, mut files) = (Vec::new(), 0);
    while let Some(mut part) = parts.next_field().await.map_err(multipart_error)? {
        let mut field = describe(part.headers())?;
        files += usize::from(field.file.is_some());
        if files > FORM_FILES {
            return Err(ApiError::bad_request(format!("too many files, max is {FORM_FILES}")));
        }
        // A part of a whole body comes in one piece, which is not copied.
        field.content = part.chunk().await.map_err(multipart_error)?.unwrap_or_default();
        let mut content = Vec::new();
        while let Some(chunk) = part.chunk().await.map_err(multipart_error)? {
            content.extend_from_slice(if content.is_empty() { &field.content } else { &[] });
            content.extend_from_slice(&chunk);
        }
        if !content.is_empty() {
            field.content = content.into();
        }
        add(&mut fields, field)?;
    }
    Ok(fields)
}

/// The field that a part's headers announce, yet without its content.
fn describe(headers: &HeaderMap) -> Result<Field, ApiError> {
    let disposition = headers.get(header::CONTENT_DISPOSITION).and_then(|value| Disposition::parse(value.as_bytes()));
    let disposition = disposition.ok_or_else(malformed)?;
    // RFC 7578 §4.7 has done away with encodings: to keep "eWVz" where "yes" was said would be worse than to refuse.
    let encoding = headers.get("content-transfer-encoding").map(|value| value.as_bytes().trim_ascii());
    let is_none =
        |encoding: &[u8]| ["7bit", "8bit", "binary"].iter().any(|none| encoding.eq_ignore_ascii_case(none.as_bytes()));
    if encoding.is_some_and(|encoding| !is_none(encoding)) {
        return Err(ApiError::bad_request("Content-Transfer-Encoding of a form's part is not supported"));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let file = disposition.filename.map(|filename| File { filename, content_type: content_type.to_owned() });
    Ok(Field { name: disposition.name.ok_or_else(malformed)?, content: Bytes::new(), file })
}

fn multipart_error(error: multer::Error) -> ApiError {
    match error {
        multer::Error::StreamSizeExceeded { .. } => request_too_large(),
        multer::Error::FieldSizeExceeded { .. } => field_too_large(),
        _ => malformed(),
    }
}

async fn read_whole(mut body: Body, share: &mut Share) -> Result<Bytes, ApiError> {
    let announced = body.size_hint().lower().min(REQUEST_OCTETS);
    let mut whole = Vec::with_capacity(announced as usize);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| {
            tracing::debug!(%error, "a request body could not be read");
            ApiError::bad_request("the request's body is broken off or malformed")
        })?;
        // What is no data is a trailer, and says nothing to us.
        let data = frame.into_data().unwrap_or_default();
        if (whole.len() + data.len()) as u64 > REQUEST_OCTETS {
            return Err(request_too_large());
        }
        share.grow_to(whole.len() + data.len()).await?;
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// `a=1&b=x%20y`, in UTF-8.
fn parse_urlencoded(body: &[u8]) -> Result<Vec<Field>, ApiError> {
    let mut fields = Vec::new();
    for pair in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let name = decode(&pair[..at]).ok().and_then(|name| String::from_utf8(name).ok());
        let name = name.ok_or_else(|| ApiError::bad_request("a parameter's name is not valid UTF-8"))?;
        let content = decode(pair.get(at + 1..).unwrap_or_default())?;
        if content.len() as u64 > MESSAGE_OCTETS {
            return Err(field_too_large());
        }
        add(&mut fields, Field { name, content: content.into(), file: None })?;
    }
    Ok(fields)
}

/// The parameters of a query string, in order.
pub(crate) fn parse_query(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    if query.len() > QUERY_OCTETS {
        return Err(ApiError::bad_request(format!("the query is longer than {QUERY_OCTETS} octets")));
    }
    let text = |field: Field| field.as_text().map(|value| (field.name.clone(), value.to_owned()));
    parse_urlencoded(query.as_bytes())?.into_iter().map(text).collect()
}

/// Percent signs must introduce an octet: a text that was never encoded is not guessed at.
fn decode(text: &[u8]) -> Result<Vec<u8>, ApiError> {
    let is_hex = |at: usize| text.get(at).is_some_and(u8::is_ascii_hexdigit);
    let encoded = text.iter().enumerate().all(|(at, b)| *b != b'%' || (is_hex(at + 1) && is_hex(at + 2)));
    if !encoded {
        return Err(ApiError::bad_request("malformed application/x-www-form-urlencoded request"));
    }
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    Ok(percent_decode(&spaced).collect())
}

fn add(fields: &mut Vec<Field>, field: Field) -> Result<(), ApiError> {
    if field.name.len() > FIELD_NAME_OCTETS {
        return Err(ApiError::bad_request(format!("a parameter's name is longer than {FIELD_NAME_OCTETS} octets")));
    }
    if fields.len() == FORM_FIELDS {
        return Err(ApiError::bad_request(format!("too many parameters, max is {FORM_FIELDS}")));
    }
    fields.push(field);
    Ok(())
}

fn malformed() -> ApiError {
    ApiError::bad_request("malformed multipart/form-data request")
}

fn request_too_large() -> ApiError {
    ApiError::too_large("request size exceeds 52.4MiB limit")
}

fn field_too_large() -> ApiError {
    ApiError::too_large("message size exceeds 25MiB limit")
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};
    use std::time::Duration;

    use hyper::body::Frame;

    use super::*;

    async fn read(content_type: &str, body: &'static [u8]) -> Result<Vec<Field>, ApiError> {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        }
        read_fields(&headers, Body::from(body), &mut share()).await
    }

    fn share() -> Share {
        Share { memory: Arc::new(Semaphore::new(MEMORY_UNITS)), held: None }
    }

    #[tokio::test]
    async fn memory_is_held_for_what_has_come() {
        let mut share = share();
        let used = |share: &Share| (MEMORY_UNITS - share.memory.available_permits()) as u64 * MEMORY_UNIT;
        read_whole(Body::from("a=b"), &mut share).await.unwrap();
        assert_eq!(used(&share), MEMORY_UNIT);
        share.grow_to(10 << 20).await.unwrap();
        share.grow_to(1).await.unwrap();
        assert_eq!(used(&share), 10 << 20);
        share.held = None;
        assert_eq!(used(&share), 0);
    }

    fn file(name: &str, filename: &str, content_type: &str, content: &'static [u8]) -> Field {
        let file = File { filename: filename.to_owned(), content_type: content_type.to_owned() };
        Field { name: name.to_owned(), content: Bytes::from_static(content), file: Some(file) }
    }

    #[tokio::test]
    async fn urlencoded_keeps_order_and_repetition() {
        let body = "to=a%40example.com&from=J%C3%B6rg+%3Cj%40example.com%3E&to=b%40example.com&empty=&bare&&x=a%3D=b";
        let fields = read("application/x-www-form-urlencoded; charset=utf-8", body.as_bytes()).await.unwrap();
        let expected = [
            ("to", "a@example.com"),
            ("from", "Jörg <j@example.com>"),
            ("to", "b@example.com"),
            ("empty", ""),
            ("bare", ""),
            ("x", "a==b"),
        ];
        assert_eq!(fields, expected.map(|(name, value)| Field::text(name, value)));
    }

    #[tokio::test]
    async fn multipart_tells_files_from_fields() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\na@example.com\r\n--b\r\n\
            Content-Disposition: form-data; name=\"to\"\r\nContent-Type: text/plain\r\n\r\n\r\n--b\r\n\
            Content-Disposition: form-data; name=\"attachment\"; filename*=utf-8''h%C3%A6.csv\r\n\
            Content-Type: text/csv; charset=utf-8\r\n\r\n1,2\r\n\r\n--b--\r\n";
        let fields = read("multipart/form-data; boundary=b", body.as_bytes()).await.unwrap();
        let attachment = file("attachment", "hæ.csv", "text/csv; charset=utf-8", b"1,2\r\n");
        assert_eq!(fields, [Field::text("to", "a@example.com"), Field::text("to", ""), attachment]);
    }

    #[tokio::test]
    async fn what_is_no_form_is_refused() {
        let malformed = "malformed multipart/form-data request";
        for (content_type, body, message) in [
            ("multipart/form-data", "x", malformed),
            ("multipart/form-data; boundary=b", "x", malformed),
            ("multipart/form-data; boundary=b", "--b\r\n", malformed),
            ("multipart/form-data; boundary=b", "--b\r\n\r\nno disposition\r\n--b--", malformed),
            ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", malformed),
            (
                "multipart/form-data; boundary=b",
                "--b\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\neWVz\r\n--b--",
                "Content-Transfer-Encoding of a form's part is not supported",
            ),
            ("application/x-www-form-urlencoded", "a=%zz", "malformed application/x-www-form-urlencoded request"),
            ("application/x-www-form-urlencoded", "%ff=1", "a parameter's name is not valid UTF-8"),
            (
                "application/json",
                "{}",
                "Invalid request content type. Expecting 'multipart/form-data' or 'application/x-www-form-urlencoded' but got 'application/json'",
            ),
            (
                "",
                "a=1",
                "Invalid request content type. Expecting 'multipart/form-data' or 'application/x-www-form-urlencoded' but got ''",
            ),
        ] {
            let error = read(content_type, body.as_bytes()).await.unwrap_err();
            assert_eq!(error.message(), message, "{content_type} {body}");
        }
        assert_eq!(read("", b"").await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn too_many_fields_are_refused() {
        let body: &'static str = "a=&".repeat(FORM_FIELDS + 1).leak();
        let error = read("application/x-www-form-urlencoded", body.as_bytes()).await.unwrap_err();
        assert_eq!(error.message(), "too many parameters, max is 4096");
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_though_nobody_announced_it() {
        let part = |size: usize| {
            let head = "--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n".to_owned();
            head + &"x".repeat(size) + "\r\n"
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "multipart/form-data; boundary=b".parse().unwrap());
        for (body, message) in [
            (part(20 << 20).repeat(3) + "--b--", "request size exceeds 52.4MiB limit"),
            (part((25 << 20) + 1) + "--b--", "message size exceeds 25MiB limit"),
        ] {
            let error = read_fields(&headers, Body::from(body), &mut share()).await.unwrap_err();
            assert_eq!(error, ApiError::too_large(message));
        }
        headers.insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
        let error = read_fields(&headers, Body::from("a".repeat(53 << 20)), &mut share()).await.unwrap_err();
        assert_eq!(error, ApiError::too_large("request size exceeds 52.4MiB limit"));
    }

    #[tokio::test]
    async fn a_form_without_end_is_searched_once() {
        // In small pieces: a search that begins anew with each would take many minutes, one that goes on a second or
        // two. The bound lies far from both, since machines are noisy.
        let pieces = |octets: &'static [u8]| Body::new(Pieces { rest: octets.chunks(1024), comes: false });
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "multipart/form-data; boundary=b".parse().unwrap());
        for beginning in ["", "--b\r\nX: "] {
            let octets = [beginning.as_bytes(), &vec![b'-'; 40 << 20]].concat().leak();
            let started = std::time::Instant::now();
            assert_eq!(read_fields(&headers, pieces(octets), &mut share()).await, Err(malformed()));
            assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
        }
    }

    /// A body that lets its reader wait for every piece.
    struct Pieces {
        rest: std::slice::Chunks<'static, u8>,
        comes: bool,
    }

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.comes = !self.comes;
            if self.comes {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(self.rest.next().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))))
        }
    }

    #[test]
    fn values_must_be_text_where_text_is_wanted() {
        let binary = Field { name: "text".into(), content: Bytes::from_static(b"\xff"), file: None };
        assert_eq!(binary.as_text().unwrap_err().message(), "'text' parameter is not valid UTF-8");
        let file = file("text", "a.txt", "", b"a");
        assert_eq!(file.as_text().unwrap_err().message(), "'text' parameter is a file, a plain field is wanted");
    }
}
