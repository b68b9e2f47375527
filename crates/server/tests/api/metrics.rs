//! Counts: metrics, stats and tags.

use policy::tls::TlsSettings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::events::server_with_events;
use crate::logs::post_json;
use crate::support::{Answer, Server, send};

async fn metrics(server: &Server, body: Value) -> Vec<String> {
    let answer = post_json(server, "/v1/analytics/metrics", &body).await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.text);
    let told = |item: &Value| {
        let dimensions = item["dimensions"].as_array().unwrap().iter().map(|one| one["value"].as_str().unwrap());
        let metrics = item["metrics"].as_object().unwrap().values().map(ToString::to_string);
        dimensions.map(str::to_owned).chain(metrics).collect::<Vec<_>>().join(" ")
    };
    answer.json["items"].as_array().unwrap().iter().map(told).collect()
}

#[tokio::test]
async fn metrics_are_counted_by_what_is_asked() {
    let server = server_with_events().await;
    server.add_domain("second.example", TlsSettings::default()).await;
    server.send_for("second.example", &[("from", "a@second.example"), ("o:tag", "two")]).await;
    for (body, expected) in [
        (json!({ "metrics": ["accepted_count", "delivered_count"] }), vec!["5 2"]),
        (json!({ "dimensions": ["domain"], "metrics": ["accepted_count"] }), vec!["example.com 4", "second.example 1"]),
        (
            json!({ "dimensions": ["tag"], "metrics": ["accepted_count"], "pagination": { "sort": "accepted_count:desc", "limit": 1 } }),
            vec!["two 3"],
        ),
        (
            json!({ "dimensions": ["domain", "recipient_domain"], "metrics": ["failed_count", "permanent_failed_count"] }),
            vec!["example.com example.net 1 0", "example.com example.org 1 1", "second.example example.net 0 0"],
        ),
        (
            json!({
                "metrics": ["tls_verified_count", "tls_encrypted_count", "plaintext_count", "plaintext_rate"],
                "filter": { "AND": [{ "attribute": "domain", "comparator": "=", "values": [{ "label": "", "value": "example.com" }] }] },
            }),
            vec!["1 0 1 \"0.5000\""],
        ),
        (
            json!({
                "dimensions": ["ip"],
                "metrics": ["delivered_count"],
                "filter": { "AND": [{ "attribute": "ip", "comparator": "contains", "values": ["192.0"] }] },
            }),
            vec!["192.0.2.1 2"],
        ),
        (
            json!({
                "metrics": ["accepted_count"],
                "filter": { "AND": [{ "attribute": "tag", "comparator": "!=", "values": ["two"] }] },
            }),
            vec!["2"],
        ),
        (json!({ "start": "2011-10-13T18:02:00Z", "end": "2011-10-14T18:02:00Z" }), vec![]),
    ] {
        // Keys of JSON objects come by name.
        let mut found = metrics(&server, body.clone()).await;
        found.sort();
        assert_eq!(found, expected, "{body}");
    }
    let by_time = json!({ "dimensions": ["time"], "resolution": "month", "metrics": ["accepted_count"], "include_aggregates": true });
    let answer = post_json(&server, "/v1/analytics/metrics", &by_time).await;
    assert_eq!(answer.json["aggregates"]["metrics"]["accepted_count"], 5, "{}", answer.text);
    let month = answer.json["items"][0]["dimensions"][0]["value"].as_str().unwrap();
    assert!(month.contains(", 01 ") && month.ends_with(" 00:00:00 GMT"), "{month}");
}

#[tokio::test]
async fn bad_questions_about_counts_are_refused_by_name() {
    let server = Server::start().await;
    let filter = |attribute: &str, comparator: &str| json!({ "filter": { "AND": [{ "attribute": attribute, "comparator": comparator, "values": ["x"] }] } });
    for (body, start) in [
        (json!({ "dimensions": ["country"] }), "'country' is not a dimension; there are: time, domain"),
        (json!({ "dimensions": ["tag", "ip"] }), "only one of tag, recipient_domain and ip"),
        (json!({ "dimensions": ["tag", "tag"] }), "the dimension 'tag' is given more than once"),
        (json!({ "metrics": ["unique_opened_count"] }), "'unique_opened_count' is not a metric that is kept"),
        (json!({ "resolution": "week" }), "'resolution': 'week' is not one of: hour, day, month"),
        (json!({ "resolution": "hour", "duration": "1000d" }), "the range has more than 2000 parts"),
        (json!({ "pagination": { "limit": 0 } }), "'limit' must be a number from 1 to 1000"),
        (json!({ "pagination": { "sort": "size" } }), "'sort': 'size' is not a dimension"),
        (filter("device", "="), "'device' is not an attribute; there are: domain, tag, recipient_domain, ip"),
        (filter("tag", "like"), "'tag': 'like' is not a comparator"),
    ] {
        let answer = post_json(&server, "/v1/analytics/metrics", &body).await;
        assert!(answer.status == 400 && answer.error().1.starts_with(start), "{body}: {}", answer.text);
    }
    for (path, start) in [
        ("/v3/example.com/stats/total", "'event' is missing"),
        ("/v3/example.com/stats/total?event=sent", "'event': 'sent' is not one of"),
        ("/v3/example.com/stats/total?event=failed&color=red", "'color' is not a parameter"),
        ("/v3/example.com/stats/total?event=failed&tag=x", "'tag' is not a parameter"),
        ("/v3/example.com/tag/stats?event=failed", "'tag' is missing"),
        ("/v3/example.com/tags?limit=0", "'limit' must be a number from 1 to 1000"),
        ("/v3/example.com/tags?page=second", "'page' must be one of"),
        ("/v3/example.com/tag", "'tag' is missing"),
    ] {
        let answer = server.get(path).await;
        assert!(answer.status == 400 && answer.error().1.starts_with(start), "{path}: {}", answer.text);
    }
    assert_eq!(server.get("/v3/example.com/tag?tag=none").await.error(), (404, "tag not found"));
}

#[tokio::test]
async fn stats_have_every_part_of_the_time() {
    let server = server_with_events().await;
    let sum = |answer: &Answer, path: &str| {
        let parts = answer.json["stats"].as_array().unwrap();
        parts.iter().map(|part| part.pointer(path).and_then(Value::as_u64).unwrap()).sum::<u64>()
    };
    for path in ["/v3/example.com/stats/total", "/v3/stats/total"] {
        let query = "event=accepted&event=delivered&event=failed&duration=3d&resolution=day";
        let answer = server.get(&format!("{path}?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json["stats"].as_array().unwrap().len(), 4, "{}", answer.text);
        for (path, count) in [
            ("/accepted/total", 4),
            ("/delivered/total", 2),
            ("/delivered/tls-verified", 1),
            ("/delivered/plaintext", 1),
            ("/failed/temporary/total", 1),
            ("/failed/permanent/bounce", 1),
        ] {
            assert_eq!(sum(&answer, path), count, "{path}: {}", answer.text);
        }
    }
    let answer = server.get("/v3/example.com/tag/stats?tag=TWO&event=accepted&resolution=hour&duration=2h").await;
    assert_eq!((answer.json["tag"].as_str(), sum(&answer, "/accepted/total")), (Some("two"), 2), "{}", answer.text);
}

#[tokio::test]
async fn tags_are_listed_described_and_deleted() {
    let server = server_with_events().await;
    let page = server.get("/v3/example.com/tags?limit=2").await;
    assert_eq!(page.json["items"][0]["tag"], "one", "{}", page.text);
    let next = server.get(page.json["paging"]["next"].as_str().unwrap()).await;
    assert_eq!(next.json["items"].as_array().unwrap().len(), 1, "{}", next.text);
    assert_eq!(next.json["items"][0]["tag"], "two");
    let back = server.get(next.json["paging"]["previous"].as_str().unwrap()).await;
    assert_eq!(back.json["items"], page.json["items"]);
    let seen = page.json["items"][0]["first-seen"].as_str().unwrap();
    assert!(seen.ends_with('Z') && seen.contains('T'), "{seen}");

    let answer = server.put("/v3/example.com/tag?tag=Two", &[("description", "all of it")]).await;
    assert_eq!((answer.status, answer.error().1), (200, "Tag updated"));
    assert_eq!(server.get("/v3/example.com/tag?tag=two").await.json["description"], "all of it");
    assert_eq!(server.get("/v3/domains/example.com/limits/tag").await.json["count"], 3);
    let long = "x".repeat(1001);
    let answer = server.put("/v3/example.com/tag?tag=two", &[("description", &long)]).await;
    assert_eq!(answer.error(), (400, "'description' is longer than 1000 octets"));

    let body = json!({ "tag": "t", "pagination": { "include_total": true, "sort": "tag:desc" } });
    let found = post_json(&server, "/v1/analytics/tags", &body).await;
    assert_eq!((&found.json["pagination"]["total"], &found.json["items"][0]["tag"]), (&json!(2), &json!("two")));
    let named = json!({ "tag": "three", "description": "third" });
    let answer = send(server.request(Method::PUT, "/v1/analytics/tags").json(&named)).await;
    assert_eq!(answer.error(), (200, "Tag updated"));
    let answer = send(server.request(Method::DELETE, "/v1/analytics/tags").json(&json!({ "tag": "three" }))).await;
    assert_eq!(answer.error(), (200, "Tag deleted"));
    let answer = send(server.request(Method::DELETE, "/v3/example.com/tag?tag=two")).await;
    assert_eq!(answer.error(), (200, "Tag deleted"));
    assert_eq!(server.get("/v3/example.com/tag?tag=two").await.error(), (404, "tag not found"));
    assert_eq!(
        server.get("/v1/analytics/tags/limits").await.json,
        json!({ "limit": 5000, "count": 1, "limit_reached": false })
    );
}
