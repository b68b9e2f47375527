//! What the programs of recipients call. Nobody is asked for a key; a link that was not made here says nothing.
//!
//! An answer never waits for the store, but for the key of the links, once.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use store::EventKind;
use store::tracking::Interaction;

use crate::api::App;
use crate::api::http::error::ApiError;
use crate::tracking::{Claim, client_info};

/// A transparent GIF of one pixel.
const PICTURE: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\
    \x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// `GET /t/o/{token}`: the picture.
pub(super) async fn open(
    State(app): State<App>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    match claim(&app, &token).await? {
        claim @ Claim::Open(_) => {
            tell(&app, &claim, EventKind::Opened, None, &request);
            Ok(private(([(header::CONTENT_TYPE, "image/gif")], PICTURE).into_response()))
        }
        Claim::Click(..) | Claim::Unsubscribe(..) => Err(no_link()),
    }
}

/// `GET /t/c/{token}`: to where the link leads. That stands in the link, sealed, so it leads nowhere else.
pub(super) async fn click(
    State(app): State<App>,
    Path(token): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let claim = claim(&app, &token).await?;
    let Claim::Click(_, url) = &claim else { return Err(no_link()) };
    let location = HeaderValue::from_str(url).map_err(|_| no_link())?;
    tell(&app, &claim, EventKind::Clicked, Some(url.clone()), &request);
    Ok(private((StatusCode::FOUND, [(header::LOCATION, location)]).into_response()))
}

pub(super) async fn claim(app: &App, token: &str) -> Result<Claim, ApiError> {
    let seal = app.tracking.seals.of(&app.store).await?;
    seal.open(token).ok_or_else(no_link)
}

pub(super) fn no_link() -> ApiError {
    ApiError::not_found("there is no such link")
}

/// Not from any cache, so that each call is told; and not a word of it to where the link leads.
pub(super) fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, private"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// HEAD only asks whether there is something: nobody saw it.
fn tell(app: &App, claim: &Claim, kind: EventKind, url: Option<String>, request: &Request) {
    let Some(copy) = claim.copy().filter(|_| request.method() == Method::GET) else { return };
    app.tracking.tell(&app.store, copy, kind, Interaction { url, ..interaction(request) });
}

/// Who calls.
pub(super) fn interaction(request: &Request) -> Interaction {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
    let user_agent = request.headers().get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let client = client_info(&user_agent.unwrap_or_default());
    Interaction { ip: peer.map(|peer| caller(peer, request.headers())), url: None, client }
}

/// Whose call it is: a proxy of ours, which is on this machine or in its private network, says it in the last entry of
/// `X-Forwarded-For`. Nobody else is believed.
fn caller(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_ours = match peer.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    };
    let told = || {
        let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        last.rsplit(',').next()?.trim().parse::<IpAddr>().ok()
    };
    is_ours.then(told).flatten().unwrap_or(peer).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proxy_of_ours_is_believed() {
        for (peer, forwarded, expected) in [
            ("127.0.0.1", Some("192.0.2.9"), "192.0.2.9"),
            ("10.1.2.3", Some("1.1.1.1, 2001:db8::1"), "2001:db8::1"),
            ("::ffff:127.0.0.1", Some("192.0.2.9"), "192.0.2.9"),
            ("127.0.0.1", Some("unknown"), "127.0.0.1"),
            ("127.0.0.1", None, "127.0.0.1"),
            ("192.0.2.1", Some("192.0.2.9"), "192.0.2.1"),
        ] {
            let mut headers = HeaderMap::new();
            forwarded.map(|value| headers.insert("x-forwarded-for", value.parse().unwrap()));
            assert_eq!(caller(peer.parse().unwrap(), &headers), expected.parse::<IpAddr>().unwrap(), "{peer}");
        }
    }
}
