//! Every operation that there is, called with keys of somebody else: nothing leaks and nothing changes.
//!
//! The operations are read from `/openapi.json`, so that a new one is tested without a word here. One that cannot be
//! called with what its description says fails these tests: give its parameters and fields examples.

use policy::tls::TlsSettings;
use reqwest::{Method, RequestBuilder};
use rusqlite::Connection;
use serde_json::{Map, Value};
use store::dkim::{NewDkimKey, PrivateKey};
use store::{KeyHash, KeyRole, KeyScope, NewKey, Timestamp};

use crate::support::{Answer, KEY, Server, send};

/// Whose things are not to be seen.
const VICTIM: &str = "victim.example";
/// Who would like to see them.
const OTHER: &str = "other.example";
/// Nobody; as long as the victim's, so that answers can be compared.
const NOBODY: &str = "nobody.example";

/// Operations that name something of a domain without naming the domain, and the tests that try them with other keys.
const TESTED_ELSEWHERE: [&str; 0] = [];

/// An operation as the document has it.
struct Operation {
    method: Method,
    path: String,
    described: Value,
    document: Value,
}

impl Operation {
    fn id(&self) -> &str {
        self.described["operationId"].as_str().unwrap()
    }

    fn access(&self) -> &str {
        self.described["x-access"].as_str().unwrap()
    }

    /// The shape behind references.
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }

    fn parameters(&self) -> impl Iterator<Item = &Value> {
        self.described["parameters"].as_array().into_iter().flatten()
    }

    /// The type and the shape of the body.
    fn body(&self) -> Option<(&str, &Value)> {
        let (kind, content) = self.described["requestBody"]["content"].as_object()?.iter().next()?;
        Some((kind, self.resolved(&content["schema"])))
    }

    /// Whether a parameter of the query or a field names a domain.
    fn names_a_domain_beside_the_path(&self) -> bool {
        let fields = self.body().and_then(|(_, schema)| schema["properties"].as_object());
        let fields = fields.into_iter().flat_map(Map::values);
        self.parameters().map(|parameter| &parameter["schema"]).chain(fields).any(is_domain)
    }

    fn has_path_names(&self) -> bool {
        self.path.contains('{')
    }

    /// A request about the domain, without a key.
    fn request(&self, server: &Server, domain: &str) -> RequestBuilder {
        let (mut path, mut query) = (self.path.clone(), Vec::new());
        for parameter in self.parameters() {
            let name = parameter["name"].as_str().unwrap();
            let value = self.value(&parameter["schema"], domain, parameter["required"] == true, name);
            match parameter["in"].as_str().unwrap() {
                "path" if name == "domain" => path = path.replace("{domain}", domain),
                "path" => path = path.replace(&format!("{{{name}}}"), &text(&value.unwrap())),
                _ => query.extend(value.map(|value| (name.to_owned(), text(&value)))),
            }
        }
        let request = server.anonymous(self.method.clone(), &path).query(&query);
        let Some((kind, schema)) = self.body() else { return request };
        match (kind, schema["properties"].as_object()) {
            ("application/x-www-form-urlencoded", Some(properties)) => {
                request.form(&self.fields(schema, properties, domain))
            }
            ("application/json", Some(properties)) => request.json(&self.fields(schema, properties, domain)),
            _ => {
                let example =
                    schema["example"].as_str().unwrap_or_else(|| panic!("{}: no example of a body", self.id()));
                request.header("content-type", kind).body(example.to_owned())
            }
        }
    }

    fn fields(&self, schema: &Value, properties: &Map<String, Value>, domain: &str) -> Map<String, Value> {
        let is_required = |name: &str| schema["required"].as_array().into_iter().flatten().any(|one| one == name);
        let value = |(name, field): (&String, &Value)| {
            Some((name.clone(), self.value(field, domain, is_required(name), name)?))
        };
        properties.iter().filter_map(value).collect()
    }

    /// What to give: the domain where one is named, else the example. What is required must have one.
    fn value(&self, schema: &Value, domain: &str, is_required: bool, name: &str) -> Option<Value> {
        if is_domain(schema) {
            return Some(domain.into());
        }
        let example = schema.get("example").or_else(|| self.resolved(schema)["enum"].get(0).filter(|_| is_required));
        assert!(example.is_some() || !is_required || name == "domain", "{}: '{name}' has no example", self.id());
        example.cloned()
    }
}

fn is_domain(schema: &Value) -> bool {
    schema["format"] == "sending-domain"
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// All operations that ask for a key.
async fn guarded_operations(server: &Server) -> Vec<Operation> {
    let document = send(server.anonymous(Method::GET, "/openapi.json")).await.json;
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, described) in item.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            let (path, described) = (path.clone(), described.clone());
            found.push(Operation { method, path, described, document: document.clone() });
        }
    }
    found.retain(|operation| operation.access() != "open");
    assert!(found.len() > 20);
    found
}

/// A server with a victim that has sent something, and another tenant.
async fn two_tenants() -> Server {
    let server = Server::start().await;
    // Only the victim has the tag that examples name.
    for (name, subject, tag) in [(VICTIM, "for your eyes only", "newsletter"), (OTHER, "for others", "other")] {
        server.add_domain(name, TlsSettings::default()).await;
        for (selector, active) in [("s1", true), ("s7", false)] {
            let key = dkim_key(selector, active);
            server.store.create_dkim_key(&name.parse().unwrap(), key).await.unwrap().unwrap();
        }
        let answer = server.send_for(name, &[("subject", subject), ("o:tag", tag)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    server
}

/// One that signs nothing here: nothing is delivered.
fn dkim_key(selector: &str, active: bool) -> NewDkimKey {
    NewDkimKey {
        selector: selector.parse().unwrap(),
        rsa_bits: None,
        private: PrivateKey::new("for your eyes only".to_owned()),
        record: "v=DKIM1; k=ed25519; p=AAAA".to_owned(),
        active,
        now: Timestamp::now(),
    }
}

pub(crate) async fn key_of(server: &Server, domain: &str, role: KeyRole) -> String {
    let (key, scope) = (format!("key-{}-{domain}", role.as_str()), KeyScope::Domain(domain.parse().unwrap()));
    let (hash, now) = (KeyHash::of(&key), Timestamp::now());
    let new = NewKey { hash, description: String::new(), hint: String::new(), scope, role, expires_at: None, now };
    server.store.create_key(new).await.unwrap();
    key
}

async fn call(operation: &Operation, server: &Server, domain: &str, key: &str) -> Answer {
    send(operation.request(server, domain).basic_auth("api", Some(key))).await
}

/// All that is kept, table by table, row by row.
fn everything(server: &Server) -> Vec<String> {
    if let Some(mut rows) = testkit::store::everything(&server.directory) {
        rows.sort_unstable();
        return rows;
    }
    let connection = Connection::open(server.directory.join("waxwing.db")).unwrap();
    let mut tables = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mut rows = Vec::new();
    for table in tables {
        let mut select = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns = select.column_count();
        let told = select.query_map([], |row| {
            let values: Result<Vec<rusqlite::types::Value>, _> = (0..columns).map(|column| row.get(column)).collect();
            Ok(format!("{table} {:?}", values?))
        });
        rows.extend(told.unwrap().map(Result::unwrap));
    }
    assert!(rows.iter().any(|row| row.contains("for your eyes only")));
    rows
}

#[tokio::test]
async fn a_key_of_another_domain_sees_and_changes_nothing() {
    let server = two_tenants().await;
    let mut keys = Vec::new();
    for role in KeyRole::ALL {
        keys.push((role, key_of(&server, OTHER, role).await));
    }
    let before = everything(&server);
    for operation in guarded_operations(&server).await {
        for (role, key) in &keys {
            let what = format!("{} {} as {role:?}", operation.method, operation.path);
            let there = call(&operation, &server, VICTIM, key).await;
            let not_there = call(&operation, &server, NOBODY, key).await;
            assert_eq!(
                (there.status, there.content_type.as_str(), there.text.replace(VICTIM, NOBODY)),
                (not_there.status, not_there.content_type.as_str(), not_there.text.clone()),
                "{what} tells whether the domain exists"
            );
            assert!(!there.text.contains("for your eyes only"), "{what}: {}", there.text);
            let names_the_victim = operation.path.contains("{domain}") || operation.names_a_domain_beside_the_path();
            if names_the_victim || operation.access() != "filtered" {
                assert!([403, 404].contains(&there.status), "{what}: {} {}", there.status, there.text);
            } else {
                assert!(!there.text.contains(VICTIM), "{what}: {}", there.text);
                let is_tested = !operation.has_path_names() || TESTED_ELSEWHERE.contains(&operation.id());
                assert!(is_tested, "{what}: name the test that tries what belongs to another domain");
            }
            assert_eq!(everything(&server), before, "{what} changed something");
        }
    }
}

#[tokio::test]
async fn a_sending_key_sends_and_does_nothing_else() {
    let server = two_tenants().await;
    let key = key_of(&server, VICTIM, KeyRole::Sending).await;
    let mut before = everything(&server);
    for operation in guarded_operations(&server).await {
        let what = format!("{} {}", operation.method, operation.path);
        let answer = call(&operation, &server, VICTIM, &key).await;
        if operation.access() == "sending" {
            assert_eq!(answer.status, 200, "{what}: {}", answer.text);
            assert_ne!(everything(&server), before, "{what}");
            before = everything(&server);
        } else {
            assert_eq!(answer.error(), (403, "Forbidden"), "{what}");
            assert_eq!(everything(&server), before, "{what} changed something");
        }
    }
}

#[tokio::test]
async fn a_key_that_may_only_look_changes_nothing_of_its_own() {
    let server = two_tenants().await;
    let key = key_of(&server, VICTIM, KeyRole::Basic).await;
    let before = everything(&server);
    for operation in guarded_operations(&server).await {
        let what = format!("{} {}", operation.method, operation.path);
        let answer = call(&operation, &server, VICTIM, &key).await;
        let is_looking = operation.method == Method::GET && ["domain", "filtered"].contains(&operation.access());
        assert!(is_looking || [200, 403].contains(&answer.status), "{what}: {}", answer.text);
        assert_eq!(everything(&server), before, "{what} changed something");
    }
}

/// The requests of the other tests are refused for their keys alone: with the right one they are good.
#[tokio::test]
async fn every_operation_can_be_tried() {
    let mut server = two_tenants().await;
    let mut before = everything(&server);
    for operation in guarded_operations(&server).await {
        let what = format!("{} {}", operation.method, operation.path);
        let known = call(&operation, &server, VICTIM, KEY).await;
        // An example names nothing that there is, and the domain that it is looked for in is there.
        let mut is_missing = known.status == 404 && operation.has_path_names();
        if is_missing && operation.path.contains("{domain}") {
            let unknown = call(&operation, &server, NOBODY, KEY).await;
            is_missing = known.text != unknown.text.replace(NOBODY, VICTIM);
        }
        assert!(
            (200..300).contains(&known.status) || is_missing,
            "{what}: {} {}: do its parameters and fields have examples that make a good request?",
            known.status,
            known.text
        );
        // The next one finds what was there at first. A new server is slow; most operations need none.
        if everything(&server) != before {
            server = two_tenants().await;
            before = everything(&server);
        }
    }
}
