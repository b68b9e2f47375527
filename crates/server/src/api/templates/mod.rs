//! `/v3/{domain}/templates`: templates of sending domains and their versions.

mod fields;
mod json;
mod operations;
mod page;

use std::collections::HashMap;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use smtp::Domain;
use store::template::{NewTemplate, NewTemplateVersion, TemplateVersionChange};
use store::{StoreError, Timestamp};

pub(super) use self::operations::operations;

use self::fields::{Fields, tag, template_name};
use self::page::Page;
use super::App;
use super::http::domain::KnownDomain;
use super::http::error::{ApiError, Json};
use super::http::form::{Form, parse_query, read_anywhere};
use super::sending::{excerpt, once, yes_no};
use crate::api::limits::TEMPLATE_COMMENT_OCTETS;

/// The tag of a version that is made with its template and given none.
const FIRST_TAG: &str = "initial";

type Names = Path<HashMap<String, String>>;

/// `GET …/templates`
async fn list(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json, ApiError> {
    let page = Page::parse(uri.query().unwrap_or_default())?;
    let found = app.store.templates(&domain.name, page.place(), page.limit).await?;
    let names: Vec<&str> = found.iter().map(|(template, _)| template.name.as_str()).collect();
    let paging = page.links(app.public_url.as_ref(), &headers, uri.path(), &names);
    let active = |version| if page.active { version } else { None };
    let items: Vec<Value> =
        found.iter().map(|(template, version)| json::template(template, active(version.as_ref()), true)).collect();
    Ok(Json(json!({ "items": items, "paging": paging })))
}

/// `POST …/templates`
async fn create(State(app): State<App>, KnownDomain(domain): KnownDomain, request: Request) -> Result<Json, ApiError> {
    let fields = Fields::parse(&Form::read(&app, request).await?, fields::OF_TEMPLATE)?;
    let name = fields.name.clone().ok_or_else(|| ApiError::bad_request("name parameter is missing"))?;
    let now = Timestamp::now();
    let version = match &fields.source {
        Some(_) => Some(version_of(&fields, fields.tag.clone().unwrap_or_else(|| FIRST_TAG.to_owned()), now)?),
        None => fields.nothing_of_a_version().map(|()| None)?,
    };
    let template = NewTemplate {
        name,
        description: fields.description.unwrap_or_default(),
        created_by: fields.created_by.unwrap_or_default(),
        version,
        now,
    };
    let (template, version) = app.store.create_template(&domain.name, template).await.map_err(refused)?;
    let template = json::template(&template, version.as_ref(), false);
    Ok(Json(json!({ "message": "template has been stored", "template": template })))
}

/// `DELETE …/templates`
async fn delete_all(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    app.store.delete_templates(&domain.name, None).await?;
    Ok(Json(json!({ "message": "templates have been deleted" })))
}

/// `GET …/templates/{name}`
async fn read(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Names,
    uri: Uri,
) -> Result<Json, ApiError> {
    let mut with_version = false;
    for (name, value) in parse_query(uri.query().unwrap_or_default())? {
        if name == "active" && !value.is_empty() {
            with_version = yes_no(&value, "active")?;
        }
    }
    let found = app.store.template(&domain.name, &named(&names)?).await?;
    let (template, version) = found.ok_or_else(no_template)?;
    let version = version.as_ref().filter(|_| with_version);
    Ok(Json(json!({ "template": json::template(&template, version, true) })))
}

/// `PUT …/templates/{name}`
async fn update(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Names,
    request: Request,
) -> Result<Json, ApiError> {
    let fields = Fields::parse(&Form::read(&app, request).await?, fields::OF_DESCRIPTION)?;
    let name = named(&names)?;
    if !app.store.describe_template(&domain.name, &name, fields.description.unwrap_or_default()).await? {
        return Err(no_template());
    }
    Ok(Json(json!({ "message": "template has been updated", "template": { "name": name } })))
}

/// `DELETE …/templates/{name}`
async fn delete(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Names,
) -> Result<Json, ApiError> {
    let name = named(&names)?;
    match app.store.delete_templates(&domain.name, Some(&name)).await? {
        0 => Err(no_template()),
        _ => Ok(Json(json!({ "message": "template has been deleted", "template": { "name": name } }))),
    }
}

/// `GET …/templates/{name}/versions`
async fn list_versions(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Names,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json, ApiError> {
    let page = Page::parse(uri.query().unwrap_or_default())?;
    let found = app.store.template_versions(&domain.name, &named(&names)?, page.place(), page.limit).await?;
    let (template, versions) = found.ok_or_else(no_template)?;
    let tags: Vec<&str> = versions.iter().map(|version| version.tag.as_str()).collect();
    let paging = page.links(app.public_url.as_ref(), &headers, uri.path(), &tags);
    let mut template = json::template(&template, None, false);
    template["versions"] = versions.iter().map(|version| json::version(version, false)).collect();
    Ok(Json(json!({ "template": template, "paging": paging })))
}

/// `POST …/templates/{name}/versions`
async fn create_version(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Names,
    request: Request,
) -> Result<Json, ApiError> {
    let fields = Fields::parse(&Form::read(&app, request).await?, fields::OF_VERSION)?;
    let tag = fields.tag.clone().ok_or_else(|| ApiError::bad_request("tag parameter is missing"))?;
    let version = version_of(&fields, tag, Timestamp::now())?;
    keep_version(&app, &domain.name, &named(&names)?, version, "new version of the template has been stored").await
}

async fn keep_version(
    app: &App,
    domain: &Domain,
    name: &str,
    version: NewTemplateVersion,
    text: &str,
) -> Result<Json, ApiError> {
    let made = app.store.create_template_version(domain, name, version).await.map_err(refused)?;
    let (template, version) = made.ok_or_else(no_template)?;
    let answer = json!({
        "message": text,
        "template": json::template(&template, Some(&version), true),
        "version": json::version(&version, true),
    });
    Ok(Json(answer))
}

/// `GET …/templates/{name}/versions/{tag}`
async fn read_version(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Names,
) -> Result<Json, ApiError> {
    let found = app.store.template_version(&domain.name, &named(&names)?, &tagged(&names, "tag")?).await?;
    let (template, version) = found.ok_or_else(no_version)?;
    Ok(Json(json!({ "template": json::template(&template, Some(&version), true) })))
}

/// `PUT …/templates/{name}/versions/{tag}`
async fn update_version(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Names,
    request: Request,
) -> Result<Json, ApiError> {
    let fields = Fields::parse(&Form::read(&app, request).await?, fields::OF_CHANGE)?;
    let (name, tag) = (named(&names)?, tagged(&names, "tag")?);
    let change = TemplateVersionChange {
        source: fields.source,
        comment: fields.comment,
        headers: fields.headers,
        activate: fields.active.unwrap_or(false),
    };
    match app.store.change_template_version(&domain.name, &name, &tag, change).await? {
        true => Ok(changed("version has been updated", &name, &tag)),
        false => Err(no_version()),
    }
}

/// `DELETE …/templates/{name}/versions/{tag}`
async fn delete_version(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Names,
) -> Result<Json, ApiError> {
    let (name, tag) = (named(&names)?, tagged(&names, "tag")?);
    match app.store.delete_template_version(&domain.name, &name, &tag).await? {
        true => Ok(changed("version has been deleted", &name, &tag)),
        false => Err(no_version()),
    }
}

/// `PUT …/templates/{name}/versions/{tag}/copy/{new_tag}`
async fn copy_version(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Names,
    request: Request,
) -> Result<Json, ApiError> {
    let (name, new_tag) = (named(&names)?, tagged(&names, "new_tag")?);
    let mut comment = None;
    for (parameter, value) in read_anywhere(&app, request).await? {
        match parameter.as_str() {
            "comment" => once(&mut comment, value, "comment")?,
            other => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(other)))),
        }
    }
    let found = app.store.template_version(&domain.name, &name, &tagged(&names, "tag")?).await?;
    let (_, version) = found.ok_or_else(no_version)?;
    let comment = comment.unwrap_or(version.comment);
    if comment.len() > TEMPLATE_COMMENT_OCTETS {
        return Err(ApiError::bad_request("'comment' is too long"));
    }
    let copy = NewTemplateVersion {
        tag: new_tag,
        source: version.source,
        comment,
        headers: version.headers,
        active: false,
        now: Timestamp::now(),
    };
    keep_version(&app, &domain.name, &name, copy, "version has been copied").await
}

fn version_of(fields: &Fields, tag: String, now: Timestamp) -> Result<NewTemplateVersion, ApiError> {
    let missing = || ApiError::bad_request("template parameter is missing");
    Ok(NewTemplateVersion {
        tag,
        source: fields.source.clone().ok_or_else(missing)?,
        comment: fields.comment.clone().unwrap_or_default(),
        headers: fields.headers.clone().unwrap_or_default(),
        active: fields.active.unwrap_or(false),
        now,
    })
}

fn changed(text: &str, name: &str, tag: &str) -> Json {
    Json(json!({ "message": text, "template": { "name": name, "version": { "tag": tag } } }))
}

fn named(names: &HashMap<String, String>) -> Result<String, ApiError> {
    template_name(names.get("name").map(String::as_str).unwrap_or_default())
}

fn tagged(names: &HashMap<String, String>, part: &str) -> Result<String, ApiError> {
    tag(names.get(part).map(String::as_str).unwrap_or_default(), part)
}

fn refused(error: StoreError) -> ApiError {
    match error {
        StoreError::Conflict(_) => ApiError::new(StatusCode::CONFLICT, error.to_string()),
        other => other.into(),
    }
}

fn no_template() -> ApiError {
    ApiError::not_found("template not found")
}

fn no_version() -> ApiError {
    ApiError::not_found("template version not found")
}
