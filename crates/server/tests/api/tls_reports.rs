//! `/v1/tls/reports`: what others report about our domains.

use reqwest::Method;

use crate::support::{Server, send};

const UPLOAD: &str = "/v1/tls/reports/upload";

fn report(id: &str, domain: &str) -> String {
    format!(
        r#"{{"organization-name":"Company-Y","date-range":{{"start-datetime":"2016-04-01T00:00:00Z",
        "end-datetime":"2016-04-01T23:59:59Z"}},"contact-info":"a@y.example","report-id":"{id}","policies":[{{
        "policy":{{"policy-type":"sts","policy-domain":"{domain}","mx-host":"mx.{domain}"}},
        "summary":{{"total-successful-session-count":5,"total-failure-session-count":2}}}}]}}"#
    )
}

async fn upload(server: &Server, media_type: &str, body: String) -> (u16, String) {
    let request = server.anonymous(Method::POST, UPLOAD).header("content-type", media_type).body(body);
    let answer = send(request).await;
    let (status, message) = answer.error();
    (status, message.to_owned())
}

#[tokio::test]
async fn anybody_may_report_about_our_domains_and_only_we_may_read() {
    let server = Server::start().await;
    let json = "application/tlsrpt+json";
    for (id, domain, answer) in [
        ("1", "example.com", (201, "the report is kept")),
        ("1", "example.com", (200, "the report was here already")),
        ("2", "mx.Example.com", (201, "the report is kept")),
        ("3", "other.test", (404, "the report is about no domain of this server")),
    ] {
        let got = upload(&server, json, report(id, domain)).await;
        assert_eq!((got.0, got.1.as_str()), answer, "{id}");
    }
    assert_eq!(upload(&server, "application/json", report("4", "example.com")).await.0, 415);
    assert_eq!(upload(&server, json, "{}".to_owned()).await.0, 400);
    assert_eq!(upload(&server, json, "x".repeat(5 << 20)).await.0, 413);

    assert_eq!(send(server.anonymous(Method::GET, "/v1/tls/reports")).await.status, 401);
    assert_eq!(send(server.anonymous(Method::GET, UPLOAD)).await.status, 405);
    let list = server.get("/v1/tls/reports?domain=example.com&limit=1").await;
    assert_eq!((list.status, list.json["total_count"].as_u64()), (200, Some(2)));
    let item = &list.json["items"][0];
    assert_eq!((&item["domain"], &item["via"]), (&"example.com".into(), &"https".into()));
    assert_eq!((&item["successful-sessions"], &item["failed-sessions"]), (&5.into(), &2.into()));
    assert_eq!(item["report"]["policies"][0]["policy"]["mx-host"][0], "mx.mx.Example.com");
    assert_eq!(server.get("/v1/tls/reports?domain=other.test").await.json["total_count"], 0);
    assert_eq!(server.get("/v1/tls/reports?domains=x").await.status, 400);
    assert_eq!(server.get("/v1/tls/reports/sent").await.json["total_count"], 0);
}

#[tokio::test]
async fn nobody_may_report_without_end() {
    let server = Server::start().await;
    let mut refused = 0;
    for number in 0..80 {
        let answer = upload(&server, "application/tlsrpt+json", report(&number.to_string(), "example.com")).await;
        refused += u32::from(answer.0 == 429);
    }
    assert!(refused >= 19, "{refused}");
}
