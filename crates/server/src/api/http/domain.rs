//! The sending domain that a path names.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use smtp::Domain;
use store::SendingDomain;

use super::auth::is_about_domains;
use super::error::ApiError;
use crate::api::App;

/// The sending domain of the path's `{domain}`. A path that names another is answered with 404.
#[derive(Debug)]
pub(crate) struct KnownDomain(pub(crate) SendingDomain);

impl FromRequestParts<App> for KnownDomain {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, app).await;
        let name = path.ok().and_then(|Path(mut names)| names.remove("domain")).unwrap_or_default();
        let found = match name.parse::<Domain>() {
            Ok(domain) => app.store.domain(&domain).await?,
            Err(_) => None,
        };
        found.map(KnownDomain).ok_or_else(|| not_found(parts.uri.path(), &name))
    }
}

/// The answer to a path that names a domain which there is not.
pub(super) fn not_found(path: &str, name: &str) -> ApiError {
    if is_about_domains(path) { ApiError::not_found("Domain not found") } else { domain_not_found(name) }
}

/// The answer to another place that names one.
pub(crate) fn domain_not_found(name: &str) -> ApiError {
    let name: String = name.chars().filter(|c| !c.is_control()).take(255).collect();
    ApiError::not_found(format!("Domain not found: {name}"))
}
