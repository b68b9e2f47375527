//! Operations: what can be called, who may call it, what it takes and what it answers.
//!
//! One description serves the router, access control, `/openapi.json` and the page for people, so none of them can say
//! something else than the others. Each area of the API lists its operations, and `super::operations` chains the areas:
//!
//! ```ignore
//! pub(super) fn operations() -> Vec<Operation> {
//!     vec![
//!         Operation::get("/v3/{domain}/bounces", "listBounces", list)
//!             .summary("Addresses that nothing is sent to, since mail to them bounced")
//!             .query("limit", integer().range(1, 1000).default(100).about("At most so many"))
//!             .ok("A page of bounces", page_of(bounce())),
//!         Operation::put("/v4/domains/{domain}/verify", "verifyDomain", verify)
//!             .summary("Ask the DNS for the records of a domain")
//!             .ok("The domain", domain_answer())
//!             .twin(),
//!     ]
//! }
//! ```
//!
//! - The id is unique, in camel case: generators of clients make method names of it.
//! - The parameter of a path that names the sending domain is always called `{domain}`, whatever Mailgun's documents
//!   call it: access control reads it. Others are described with [`Operation::path`].
//! - Who may call is [`Access::Domain`] where the path has `{domain}`, and [`Access::Account`] elsewhere, unless
//!   [`Operation::access`] says otherwise.
//!   What is no `GET` and only asks is marked with [`Operation::reads`]. [`Access::Filtered`] handlers take the
//!   [`Caller`](super::http::auth::Caller), and look at its domain with `narrow`.
//! - 400, 401, 403, 404, 413, 429 and 503 are added where they can happen; [`Operation::answer`] is for those that are special.
//! - What only exists under one of `/v3/domains` and `/v4/domains` at Mailgun, and clients look for under both, is
//!   declared once and given a [`Operation::twin`].
//! - A required parameter or field has an [`example`](super::schema::Schema::example) that makes a good request. A field
//!   outside the path that names a sending domain is a [`sending_domain`](super::schema::sending_domain).

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::App;
use super::schema::{Schema, message, named, object, text};

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, without a key.
    Open,
    /// Every key that may send for the domain of the path.
    Sending,
    /// Keys of the account, and keys of the domain that the path names.
    Domain,
    /// Every key but sending keys. The handler shows and changes only what belongs to the caller's domains.
    Filtered,
    /// Keys of the account.
    Account,
    /// Keys of the account whose role is admin.
    Admin,
}

impl Access {
    /// Its name in the document.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Access::Open => "open",
            Access::Sending => "sending",
            Access::Domain => "domain",
            Access::Filtered => "filtered",
            Access::Account => "account",
            Access::Admin => "admin",
        }
    }
}

/// The method of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Put,
    Post,
    Delete,
}

impl Method {
    /// Its name in the document.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::Put => "put",
            Method::Post => "post",
            Method::Delete => "delete",
        }
    }
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the path.
    Path,
    /// In the query.
    Query,
}

/// A parameter.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) schema: Schema,
}

/// What a request carries.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// A form, in either of its two encodings.
    Form(Schema),
    /// Something else: types of content and their shapes.
    Content(Vec<(&'static str, Schema)>),
}

/// What may come back.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: String,
    /// The type of content and its shape, where something is said of it.
    pub(super) content: Option<(&'static str, Schema)>,
}

/// Something that can be called.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) id: String,
    pub(super) area: &'static str,
    pub(super) summary: String,
    pub(super) about: Option<String>,
    pub(super) access: Access,
    /// It changes nothing, so that keys that may only look may call it.
    pub(super) reads: bool,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    pub(super) handler: MethodRouter<App>,
    pub(super) has_twin: bool,
    /// The id of the one whose twin it is.
    pub(super) twin_of: Option<String>,
}

impl Operation {
    /// `GET`
    pub(super) fn get<T: 'static>(path: &str, id: &str, handler: impl Handler<T, App>) -> Operation {
        Operation::new(Method::Get, path, id, on(MethodFilter::GET, handler))
    }

    /// `PUT`
    pub(super) fn put<T: 'static>(path: &str, id: &str, handler: impl Handler<T, App>) -> Operation {
        Operation::new(Method::Put, path, id, on(MethodFilter::PUT, handler))
    }

    /// `POST`
    pub(super) fn post<T: 'static>(path: &str, id: &str, handler: impl Handler<T, App>) -> Operation {
        Operation::new(Method::Post, path, id, on(MethodFilter::POST, handler))
    }

    /// `DELETE`
    pub(super) fn delete<T: 'static>(path: &str, id: &str, handler: impl Handler<T, App>) -> Operation {
        Operation::new(Method::Delete, path, id, on(MethodFilter::DELETE, handler))
    }

    fn new(method: Method, path: &str, id: &str, handler: MethodRouter<App>) -> Operation {
        let operation = Operation {
            method,
            path: path.to_owned(),
            id: id.to_owned(),
            area: "",
            summary: String::new(),
            about: None,
            access: Access::Account,
            reads: method == Method::Get,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            handler,
            has_twin: false,
            twin_of: None,
        };
        let names_domain = operation.path_names().any(|name| name == "domain");
        match names_domain {
            true => operation.access(Access::Domain).path("domain", text().about("A sending domain")),
            false => operation,
        }
    }

    /// What it does, in a line.
    pub(super) fn summary(self, summary: &str) -> Operation {
        Operation { summary: summary.to_owned(), ..self }
    }

    /// What more there is to say.
    pub(super) fn about(self, about: &str) -> Operation {
        Operation { about: Some(about.to_owned()), ..self }
    }

    /// Who may call it.
    pub(super) fn access(self, access: Access) -> Operation {
        Operation { access, ..self }
    }

    /// It only asks, whatever its method.
    pub(super) fn reads(self) -> Operation {
        Operation { reads: true, ..self }
    }

    /// A parameter in the path.
    pub(super) fn path(self, name: &str, schema: Schema) -> Operation {
        self.parameter(name, Place::Path, schema.required())
    }

    /// A parameter in the query.
    pub(super) fn query(self, name: &str, schema: Schema) -> Operation {
        self.parameter(name, Place::Query, schema)
    }

    fn parameter(mut self, name: &str, place: Place, schema: Schema) -> Operation {
        self.parameters.push(Parameter { name: name.to_owned(), place, schema });
        self
    }

    /// The fields of its form.
    pub(super) fn form<'a>(self, fields: impl IntoIterator<Item = (&'a str, Schema)>) -> Operation {
        let form = object(fields);
        self.form_of(form)
    }

    /// Its form as a whole. Without a name of its own it is called after the operation.
    pub(super) fn form_of(self, schema: Schema) -> Operation {
        let has_name = schema.parts().0.get("$ref").is_some();
        let (first, rest) = self.id.split_at(1);
        let name = format!("{}{rest}Form", first.to_uppercase());
        let schema = if has_name { schema } else { named(&name, schema) };
        Operation { body: Some(Body::Form(schema)), ..self }
    }

    /// A body of one of these types.
    pub(super) fn content(self, types: impl IntoIterator<Item = (&'static str, Schema)>) -> Operation {
        Operation { body: Some(Body::Content(types.into_iter().collect())), ..self }
    }

    /// 200 with JSON.
    pub(super) fn ok(self, about: &str, schema: Schema) -> Operation {
        self.answer_as(200, about, "application/json", schema)
    }

    /// Another answer, with nothing special in it: a refusal is a message in JSON, anything else is not described.
    pub(super) fn answer(mut self, status: u16, about: &str) -> Operation {
        let content = (status >= 400).then(|| ("application/json", message()));
        self.answers.push(Answer { status, about: about.to_owned(), content });
        self
    }

    /// Another answer, in a type of content.
    pub(super) fn answer_as(mut self, status: u16, about: &str, kind: &'static str, schema: Schema) -> Operation {
        self.answers.push(Answer { status, about: about.to_owned(), content: Some((kind, schema)) });
        self
    }

    /// Declares it under the other of `/v3` and `/v4` too.
    pub(super) fn twin(self) -> Operation {
        Operation { has_twin: true, ..self }
    }

    /// Says to which area of the API it belongs.
    pub(super) fn of_area(self, area: &'static str) -> Operation {
        Operation { area, ..self }
    }

    /// It, and its twin if it has one, whose id tells the version.
    pub(super) fn with_twin(self) -> impl Iterator<Item = Operation> {
        let twin = self.has_twin.then(|| {
            let other = if self.path.starts_with("/v3") { "/v4" } else { "/v3" };
            let path = format!("{other}{}", &self.path[other.len()..]);
            let id = format!("{}{}", self.id, other[1..].to_uppercase());
            Operation { path, id, twin_of: Some(self.id.clone()), ..self.clone() }
        });
        std::iter::once(self).chain(twin)
    }

    /// The names of the parameters in its path.
    pub(super) fn path_names(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn nothing() {}

    #[test]
    fn who_may_call_follows_from_the_path_unless_it_is_said() {
        for (operation, access) in [
            (Operation::get("/v3/{domain}/events", "a", nothing), Access::Domain),
            (Operation::get("/v4/domains", "b", nothing), Access::Account),
            (Operation::get("/v1/things/{thing}", "c", nothing), Access::Account),
            (Operation::post("/v3/{domain}/messages", "d", nothing).access(Access::Sending), Access::Sending),
        ] {
            assert_eq!(operation.access, access, "{}", operation.path);
        }
    }

    #[test]
    fn a_twin_is_the_same_under_the_other_version() {
        let told = |path: &str| {
            let both = Operation::get(path, "readDomain", nothing).twin().with_twin();
            both.map(|operation| (operation.path, operation.id)).collect::<Vec<_>>()
        };
        let pair = |path: &str, id: &str| (path.to_owned(), id.to_owned());
        assert_eq!(told("/v4/domains"), [pair("/v4/domains", "readDomain"), pair("/v3/domains", "readDomainV3")]);
        assert_eq!(told("/v3/domains"), [pair("/v3/domains", "readDomain"), pair("/v4/domains", "readDomainV4")]);
        assert_eq!(Operation::get("/v4/domains", "x", nothing).with_twin().count(), 1);
    }
}
