//! Who may call, and what a call that leads nowhere is told.

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Server, send};

#[tokio::test]
async fn nothing_but_health_answers_without_a_key() {
    let server = Server::start().await;
    for (method, path, refusal) in [
        (Method::POST, "/v3/example.com/messages", "Forbidden"),
        (Method::POST, "/v3/example.com/messages.mime", "Forbidden"),
        (Method::GET, "/v3/example.com/events", "Forbidden"),
        (Method::GET, "/v3/example.com/events/token", "Forbidden"),
        (Method::GET, "/v3/nobody.example/events", "Forbidden"),
        (Method::GET, "/no/such/path", "Forbidden"),
        (Method::GET, "/", "Forbidden"),
        (Method::PATCH, "/v3/example.com/messages", "Forbidden"),
        (Method::GET, "/v4/domains", "{\"message\":\"Invalid private key\"}"),
        (Method::POST, "/v3/domains", "{\"message\":\"Invalid private key\"}"),
        (Method::DELETE, "/v3/domains/example.com", "{\"message\":\"Invalid private key\"}"),
        (Method::PUT, "/v3/domains/example.com/connection", "{\"message\":\"Invalid private key\"}"),
    ] {
        for key in [None, Some(("api", "key-wrong")), Some(("api", "")), Some(("root", crate::support::KEY))] {
            let request = server.anonymous(method.clone(), path);
            let request = match key {
                Some((user, key)) => request.basic_auth(user, Some(key)),
                None => request,
            };
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{method} {path} {key:?}");
            assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));
            assert_eq!(response.text().await.unwrap(), refusal, "{method} {path} {key:?}");
        }
    }
    for path in ["/healthz", "/readyz"] {
        let answer = send(server.anonymous(Method::GET, path)).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "ok"), "{path}");
    }
    let page = server.anonymous(Method::GET, "/docs").send().await.unwrap();
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert!(page.text().await.unwrap().contains("/v3/{domain}/messages"));
    server.assert_nothing_kept("no key").await;
}

#[tokio::test]
async fn the_key_is_looked_at_before_the_body() {
    let server = Server::start().await;
    // The body that is announced never comes; the answer does not wait for it.
    let head = "POST /v3/example.com/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\
        Content-Type: multipart/form-data; boundary=b\r\n\r\n";
    let mut stream = tokio::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

#[tokio::test]
async fn a_lost_store_is_told_as_503_and_as_not_ready() {
    let server = Server::start().await;
    server.store.close().await;
    for answer in [server.send(&[]).await, send(server.anonymous(Method::GET, "/readyz")).await] {
        let text = "temporarily unavailable, nothing was done, try again later";
        assert_eq!(answer.error(), (503, text));
    }
    assert_eq!(send(server.anonymous(Method::GET, "/healthz")).await.status, 200);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_in_json() {
    let server = Server::start().await;
    for (method, path, error) in [
        (Method::GET, "/v3/example.com/nothing", (404, "not found")),
        (Method::GET, "/", (404, "not found")),
        (Method::GET, "/v3/example.com/messages", (405, "method not allowed")),
        (Method::PATCH, "/v4/domains/example.com", (405, "method not allowed")),
        (Method::POST, "/v3/nobody.example/messages", (404, "Domain not found: nobody.example")),
        (Method::GET, "/v3/no%20domain%0d/events", (404, "Domain not found: no domain")),
        (Method::GET, "/v4/domains/nobody.example", (404, "Domain not found")),
        (Method::GET, "/v3/domains/nobody.example/connection", (404, "Domain not found")),
    ] {
        let answer = send(server.request(method.clone(), path)).await;
        assert_eq!(answer.error(), error, "{method} {path}");
        assert_eq!(answer.content_type, "application/json", "{method} {path}");
    }
}

#[tokio::test]
async fn a_refusal_before_the_body_says_that_the_connection_ends() {
    let server = Server::start().await;
    let basic = "Authorization: Basic YXBpOmtleS0wMTIzNDU2Nzg5YWJjZGVm\r\n";
    for (path, key, status) in
        [("/v3/example.org/messages", basic, 404), ("/v3/example.com/messages", "", 401), ("/v4/x", basic, 404)]
    {
        let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{key}Content-Length: 5\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
}
