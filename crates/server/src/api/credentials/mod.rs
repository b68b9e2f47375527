//! Logins for SMTP submission, under `/v3/domains/{domain}/credentials`.

use std::collections::HashMap;

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use serde_json::{Map, Value, json};
use smtp::{Address, Domain};
use store::{Credential, PasswordHash, StoreError, Timestamp};

use super::App;
use super::http::domain::KnownDomain;
use super::http::error::{ApiError, Json};
use super::http::form::{Form, parse_query};
use super::http::time;
use super::limits::{CREDENTIALS, CREDENTIALS_PER_PAGE, CREDENTIALS_PER_PAGE_DEFAULT};
use super::operation::Operation;
use super::schema::{integer, list, map_of, named, object, text};
use super::sending::{excerpt, once, plain_name};
use crate::config::Secret;
use crate::submission::password;

pub(super) fn operations() -> Vec<Operation> {
    let login = || text().about("The part before the @, or the whole login").example("alice");
    let password = || text().about("5 to 32 characters; without it one is made and shown, this once");
    let credential =
        object([("login", text()), ("mailbox", text()), ("created_at", text()), ("size_bytes", text().nullable())]);
    let page = object([("total_count", integer()), ("items", list(named("Credential", credential)))]);
    let shown = || {
        let shown = object([("message", text()), ("note", text()), ("credentials", map_of(text()))]);
        named("CredentialShown", shown)
    };
    let limit = integer().range(1, CREDENTIALS_PER_PAGE).default(CREDENTIALS_PER_PAGE_DEFAULT);
    let path = "/v3/domains/{domain}/credentials";
    let one = "/v3/domains/{domain}/credentials/{login}";
    let operations = [
        Operation::get(path, "listCredentials", list_all)
            .summary("List the SMTP credentials of a domain, without their passwords")
            .query("limit", limit.about("At most so many"))
            .query("skip", integer().about("Leave out so many first"))
            .ok("A page of credentials, by name", page),
        Operation::post(path, "createCredential", create)
            .summary("Make an SMTP credential")
            .form([("login", login().required()), ("password", password())])
            .ok("Made", shown()),
        Operation::delete(path, "deleteCredentials", delete_all)
            .summary("Delete all SMTP credentials of a domain")
            .ok("Deleted", object([("message", text()), ("count", integer())])),
        Operation::put(one, "updateCredential", update)
            .summary("Give an SMTP credential another password")
            .path("login", login())
            .form([("password", password())])
            .ok("Changed", shown()),
        Operation::delete(one, "deleteCredential", delete)
            .summary("Delete an SMTP credential")
            .path("login", login())
            .ok("Deleted", object([("message", text()), ("spec", text())])),
    ];
    operations.map(Operation::twin).into()
}

/// `GET …/credentials`
async fn list_all(State(app): State<App>, KnownDomain(domain): KnownDomain, uri: Uri) -> Result<Json, ApiError> {
    let (limit, skip) = page_of(uri.query().unwrap_or_default())?;
    let (total, credentials) = app.store.list_credentials(&domain.name, limit, skip).await?;
    let item = |credential: &Credential| {
        json!({
            "login": credential.login(),
            "mailbox": credential.login(),
            "created_at": time::to_date(credential.created_at.as_micros()),
            "size_bytes": null,
        })
    };
    Ok(Json(json!({ "total_count": total, "items": credentials.iter().map(item).collect::<Vec<_>>() })))
}

/// `POST …/credentials`
async fn create(State(app): State<App>, KnownDomain(domain): KnownDomain, request: Request) -> Result<Json, ApiError> {
    let fields = Fields::parse(&Form::read(&app, request).await?)?;
    let login = fields.login.ok_or_else(|| ApiError::bad_request("Parameter 'login' is missing"))?;
    let mailbox = mailbox_of(&login, &domain.name)?;
    if app.store.list_credentials(&domain.name, 1, 0).await?.0 >= CREDENTIALS {
        return Err(ApiError::bad_request(format!("a domain has at most {CREDENTIALS} credentials")));
    }
    let password = Password::given_or_made(fields.password)?;
    let hash = password.hash(&app).await?;
    let credential = Credential { domain: domain.name, mailbox, hash, created_at: Timestamp::now() };
    let login = credential.login();
    match app.store.create_credential(credential).await {
        Err(StoreError::Conflict(_)) => {
            Err(ApiError::bad_request(format!("The credentials {login} exist already; change their password with PUT")))
        }
        Err(error) => Err(error.into()),
        Ok(()) => Ok(password.shown("Created 1 credentials pair(s)", &login)),
    }
}

/// `PUT …/credentials/{login}`
async fn update(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
    request: Request,
) -> Result<Json, ApiError> {
    let fields = Fields::parse(&Form::read(&app, request).await?)?;
    if fields.login.is_some() {
        return Err(ApiError::bad_request("'login' of credentials cannot be changed"));
    }
    let mailbox = named_mailbox(&names, &domain.name)?;
    let password = Password::given_or_made(fields.password)?;
    let hash = password.hash(&app).await?;
    match app.store.set_credential_password(&domain.name, &mailbox, hash).await? {
        true => Ok(password.shown("Password changed", &format!("{mailbox}@{}", domain.name))),
        false => Err(not_found()),
    }
}

/// `DELETE …/credentials/{login}`
async fn delete(
    State(app): State<App>,
    KnownDomain(domain): KnownDomain,
    Path(names): Path<HashMap<String, String>>,
) -> Result<Json, ApiError> {
    let mailbox = named_mailbox(&names, &domain.name)?;
    match app.store.delete_credential(&domain.name, &mailbox).await? {
        true => {
            let spec = format!("{mailbox}@{}", domain.name);
            Ok(Json(json!({ "message": "Credentials have been deleted", "spec": spec })))
        }
        false => Err(not_found()),
    }
}

/// `DELETE …/credentials`
async fn delete_all(State(app): State<App>, KnownDomain(domain): KnownDomain) -> Result<Json, ApiError> {
    let count = app.store.delete_credentials(&domain.name).await?;
    Ok(Json(json!({ "message": "All domain credentials have been deleted", "count": count })))
}

fn not_found() -> ApiError {
    ApiError::not_found("Credentials not found")
}

/// What a form says about a credential.
#[derive(Debug, Default)]
struct Fields {
    login: Option<String>,
    password: Option<String>,
}

impl Fields {
    fn parse(form: &Form) -> Result<Fields, ApiError> {
        let mut fields = Fields::default();
        for field in &form.fields {
            match plain_name(&field.name).as_str() {
                // Two names of one thing: Mailgun's documents have both, clients send the first.
                "login" | "mailbox" => once(&mut fields.login, field.as_text()?.trim().to_owned(), &field.name)?,
                "password" => once(&mut fields.password, field.as_text()?.to_owned(), "password")?,
                "system" if matches!(field.as_text()?.to_ascii_lowercase().as_str(), "" | "no" | "false") => {}
                _ => return Err(ApiError::bad_request(format!("'{}' is not a parameter", excerpt(&field.name)))),
            }
        }
        Ok(fields)
    }
}

/// A password, and whether the client knows it.
struct Password {
    password: Secret,
    was_made: bool,
}

impl Password {
    fn given_or_made(given: Option<String>) -> Result<Password, ApiError> {
        match given {
            Some(given) => {
                password::check(&given).map_err(|error| ApiError::bad_request(error.to_string()))?;
                Ok(Password { password: Secret::new(given), was_made: false })
            }
            None => {
                let password = password::generate().ok_or_else(ApiError::internal)?;
                Ok(Password { password, was_made: true })
            }
        }
    }

    async fn hash(&self, app: &App) -> Result<PasswordHash, ApiError> {
        app.passwords.hash(self.password.expose()).await.map_err(|_| ApiError::unavailable())
    }

    /// The answer, with the password if nobody knows it otherwise.
    fn shown(&self, message: &str, login: &str) -> Json {
        if !self.was_made {
            return Json(json!({ "message": message }));
        }
        let credentials: Map<_, _> = [(login.to_owned(), Value::from(self.password.expose()))].into_iter().collect();
        Json(json!({ "message": message, "note": "The password is shown only now.", "credentials": credentials }))
    }
}

fn named_mailbox(names: &HashMap<String, String>, domain: &Domain) -> Result<String, ApiError> {
    let login = names.get("login").map(String::as_str).unwrap_or_default();
    mailbox_of(login, domain).map_err(|_| not_found())
}

/// What stands before the `@` of a login, in lower case. The login may be whole or not.
pub(crate) fn mailbox_of(login: &str, domain: &Domain) -> Result<String, ApiError> {
    let not_a_login = |why: String| ApiError::bad_request(format!("'login' is not valid: {why}"));
    let whole = if login.contains('@') { login.to_owned() } else { format!("{login}@{domain}") };
    let address: Address = whole.parse().map_err(|error: smtp::AddressError| not_a_login(error.to_string()))?;
    if address.domain() != domain {
        return Err(not_a_login(format!("it must end in @{domain}")));
    }
    let mailbox = address.local_part().to_ascii_lowercase();
    match mailbox.is_ascii() && !mailbox.starts_with('"') {
        true => Ok(mailbox),
        false => Err(not_a_login("it must be ASCII without quotes".to_owned())),
    }
}

fn page_of(query: &str) -> Result<(usize, usize), ApiError> {
    let (mut limit, mut skip) = (CREDENTIALS_PER_PAGE_DEFAULT, 0);
    for (name, value) in parse_query(query)? {
        let number = || {
            let number = value.trim().parse::<u32>().ok().filter(|number| *number <= i32::MAX as u32);
            number.map(|n| n as usize).ok_or_else(|| ApiError::bad_request(format!("'{name}' must be a number")))
        };
        match name.as_str() {
            _ if value.trim().is_empty() => {}
            "limit" => limit = number()?,
            "skip" => skip = number()?,
            _ => {}
        }
    }
    if limit > CREDENTIALS_PER_PAGE {
        return Err(ApiError::bad_request(format!("Limit parameter can't be larger than {CREDENTIALS_PER_PAGE}")));
    }
    Ok((limit, skip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_whole_or_not() {
        let domain: Domain = "example.com".parse().unwrap();
        for login in ["alice", "Alice@example.com", "ALICE@Example.COM"] {
            assert_eq!(mailbox_of(login, &domain).unwrap(), "alice", "{login}");
        }
        for (login, why) in [
            ("", "the part before the '@' is not valid"),
            ("a b", "the part before the '@' is not valid"),
            ("alice@example.net", "it must end in @example.com"),
            ("grün", "it must be ASCII without quotes"),
            ("\"a b\"", "it must be ASCII without quotes"),
        ] {
            let error = mailbox_of(login, &domain).unwrap_err();
            assert_eq!(error.message(), format!("'login' is not valid: {why}"), "{login}");
        }
    }

    #[test]
    fn pages_are_limited() {
        assert_eq!(page_of(""), Ok((100, 0)));
        assert_eq!(page_of("limit=5&skip=7&other=x"), Ok((5, 7)));
        for (query, error) in [
            ("limit=1001", "Limit parameter can't be larger than 1000"),
            ("limit=x", "'limit' must be a number"),
            ("skip=-1", "'skip' must be a number"),
        ] {
            assert_eq!(page_of(query).unwrap_err().message(), error, "{query}");
        }
    }
}
