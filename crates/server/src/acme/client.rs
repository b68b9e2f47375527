//! The HTTP side of the ACME client: HTTPS alone, by the roots that the configuration trusts, within bounds.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::{RETRY_AFTER, USER_AGENT};
use axum::http::{HeaderValue, Request};
use bytes::Bytes;
use delivery::web::Web;
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use store::Timestamp;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The client, and what the authority last asked for in `Retry-After` when it refused.
#[derive(Clone)]
pub(super) struct Http {
    web: Web,
    retry_after: Arc<Mutex<Option<Duration>>>,
}

impl Http {
    pub(super) fn new(web: Web) -> Http {
        Http { web, retry_after: Arc::default() }
    }

    /// How long the authority wants to be left alone, if it said so since this was asked last.
    pub(super) fn take_retry_after(&self) -> Option<Duration> {
        self.retry_after.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            if head.uri.scheme_str() != Some("https") {
                // RFC 8555 §6.1.
                return Err(Error::Other("the authority names a URL that is not https".into()));
            }
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            head.headers.insert(USER_AGENT, HeaderValue::from_static(concat!("waxwing/", env!("CARGO_PKG_VERSION"))));
            let exchange = this.web.exchange(Request::from_parts(head, body));
            let answer = tokio::time::timeout(PATIENCE, exchange).await;
            let answer = answer.map_err(|_| Error::Other("the authority did not answer in time".into()))?;
            let answer = answer.map_err(|error| Error::Other(error.into()))?;
            if answer.status().is_client_error() || answer.status().is_server_error() {
                let wanted = answer.headers().get(RETRY_AFTER).and_then(|value| seconds(value, Timestamp::now()));
                *this.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
            }
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn seconds(value: &HeaderValue, now: Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Timestamp::from_micros(date.as_microsecond()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp::from_secs(784_111_777);
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let found = seconds(&HeaderValue::from_str(text).unwrap(), now);
            assert_eq!(found, expected.map(Duration::from_secs), "{text}");
        }
    }
}
