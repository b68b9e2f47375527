//! Counts: metrics, stats and tags.

use policy::tls::TlsSettings;
use reqwest::Method;
use serde_json::{Value, json};
use store::Timestamp;

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
        ("/v3/example.com/tag/stats/aggregates?tag=one", "'type' is missing: provider"),
        ("/v3/example.com/tag/stats/aggregates?tag=one&type=country", "'type': counts are not kept by 'country'"),
        ("/v3/stats/total/domains?event=failed", "'timestamp' is missing"),
        ("/v3/stats/total/domains?event=failed&timestamp=now", "'timestamp' is neither"),
        ("/v3/stats/total/domains?event=failed&timestamp=0&limit=0", "'limit' must be a number from 1 to"),
        ("/v3/stats/total?event=failed&group=tag", "'group' is not a parameter"),
        ("/v3/stats/filter?event=failed&filter=colour:red", "'filter': 'colour' is not one of"),
        ("/v3/stats/filter?event=failed&filter=tag", "'filter' has nothing to compare tag with"),
        ("/v3/stats/filter?event=failed&group=country", "'group': 'country' is not one of"),
        ("/v3/stats/filter?event=failed&group=ip&filter=tag:one", "'filter' and 'group' can name only one of"),
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
async fn stats_are_told_apart_by_one_thing() {
    let server = server_with_events().await;
    server.add_domain("second.example", TlsSettings::default()).await;
    server.send_for("second.example", &[("from", "a@second.example"), ("o:tag", "two")]).await;
    let told = |answer: &Answer, name: &str| {
        let stats = answer.json["stats"].as_array().unwrap_or_else(|| panic!("{}", answer.text));
        let one = |part: &Value| format!("{} {}", part[name].as_str().unwrap_or("-"), part["accepted"]["total"]);
        stats.iter().map(one).collect::<Vec<_>>()
    };
    let now = Timestamp::now().as_micros() / 1_000_000;
    for (path, name, expected) in [
        ("/v3/stats/filter?event=accepted&group=domain", "domain", vec!["example.com 4", "second.example 1"]),
        ("/v3/stats/filter?event=accepted&group=tag", "tag", vec!["one 1", "three 1", "two 3"]),
        (
            "/v3/stats/filter?event=accepted&group=tag&filter=domain:example.com",
            "tag",
            vec!["one 1", "three 1", "two 2"],
        ),
        ("/v3/stats/filter?event=accepted&group=provider", "provider", vec!["example.net 4", "example.org 1"]),
        ("/v3/stats/filter?event=accepted&group=total&filter=tag:Two", "tag", vec!["- 3"]),
        ("/v3/stats/filter?event=accepted&group=domain&filter=provider:example.org", "domain", vec!["example.com 1"]),
        (
            &format!("/v3/stats/total/domains?event=accepted&timestamp={now}"),
            "domain",
            vec!["example.com 4", "second.example 1"],
        ),
        (&format!("/v3/stats/total/domains?event=accepted&timestamp={now}&limit=1"), "domain", vec!["example.com 4"]),
        ("/v3/stats/total/domains?event=accepted&timestamp=86400", "domain", vec![]),
    ] {
        assert_eq!(told(&server.get(path).await, name), expected, "{path}");
    }
    let answer = server.get("/v3/stats/filter?event=accepted&group=hour&duration=2h").await;
    assert_eq!(answer.json["resolution"], "hour", "{}", answer.text);
    assert_eq!(answer.json["stats"].as_array().unwrap().len(), 3, "{}", answer.text);
}

#[tokio::test]
async fn providers_are_the_domains_of_recipients() {
    let server = server_with_events().await;
    let answer = server.get("/v3/example.com/aggregates/providers").await;
    let of_net = json!({
        "accepted": 3, "delivered": 2, "failed": 0, "opened": 0, "clicked": 0, "unsubscribed": 0, "complained": 0,
        "tls-verified": 1, "tls-encrypted": 0, "plaintext": 1,
    });
    assert_eq!(answer.json["providers"]["example.net"], of_net, "{}", answer.text);
    assert_eq!(answer.json["providers"]["example.org"]["failed"], 1);
    let names = server.get("/v3/domains/example.com/tag/providers").await;
    assert_eq!(names.json, json!({ "items": ["example.net", "example.org"] }));
    let by_query = server.get("/v3/example.com/tag/stats/aggregates?tag=TWO&type=provider").await;
    let by_path = server.get("/v3/example.com/tags/two/stats/aggregates/providers").await;
    assert_eq!(by_query.json["provider"], by_path.json["providers"], "{}", by_path.text);
    assert_eq!(by_path.json["providers"]["example.net"]["plaintext"], 1, "{}", by_path.text);
    assert_eq!(by_path.json["providers"]["example.org"]["failed"], 1, "{}", by_path.text);
    assert_eq!(server.get("/v3/example.com/tags/none/stats/aggregates/providers").await.status, 404);
}

#[tokio::test]
async fn usage_is_what_was_processed() {
    let server = server_with_events().await;
    let answer = post_json(&server, "/v1/analytics/usage/metrics", &json!({ "include_aggregates": true })).await;
    let all = &answer.json["aggregates"]["metrics"];
    assert_eq!((&all["processed_count"], &all["seed_test_count"]), (&json!(3), &json!(0)), "{}", answer.text);
    for (body, start) in [
        (json!({ "metrics": ["delivered_count"] }), "'delivered_count' is not a metric"),
        (json!({ "dimensions": ["tag"] }), "'tag' is not a dimension of usage"),
    ] {
        let answer = post_json(&server, "/v1/analytics/usage/metrics", &body).await;
        assert!(answer.status == 400 && answer.error().1.starts_with(start), "{body}: {}", answer.text);
    }
}

/// The older of the paths, which official clients still use.
#[tokio::test]
async fn tags_are_also_named_by_the_path() {
    let server = server_with_events().await;
    let answer = server.put("/v3/example.com/tags/Two", &[("description", "all of it")]).await;
    assert_eq!(answer.error(), (200, "Tag updated"));
    assert_eq!(server.get("/v3/example.com/tags/two").await.json["description"], "all of it");
    let answer = server.get("/v3/example.com/tags/two/stats?event=accepted").await;
    assert_eq!((answer.status, answer.json["tag"].as_str()), (200, Some("two")), "{}", answer.text);
    let twice = server.get("/v3/example.com/tags/two?tag=one").await;
    assert_eq!(twice.error(), (400, "'tag' is given more than once, with different values"));
    let answer = send(server.request(Method::DELETE, "/v3/example.com/tags/two")).await;
    assert_eq!(answer.error(), (200, "Tag deleted"));
    assert_eq!(server.get("/v3/example.com/tags/two").await.error(), (404, "tag not found"));
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

    let body = json!({ "include_metrics": true, "pagination": { "limit": 1, "sort": "lastseen:desc" } });
    let found = post_json(&server, "/v1/analytics/tags", &body).await;
    assert_eq!(found.json["pagination"]["sort"], "lastseen:desc", "{}", found.text);
    assert_eq!(found.json["items"][0]["metrics"]["accepted_count"], 1, "{}", found.text);
    let body = json!({ "pagination": { "sort": "size:desc" } });
    let refused = post_json(&server, "/v1/analytics/tags", &body).await;
    assert_eq!(refused.error(), (400, "'sort': 'size:desc' is not tag or lastseen, with :asc or :desc"));

    let body = json!({ "tag": "t", "pagination": { "include_total": true, "sort": "tag:desc" } });
    let found = post_json(&server, "/v1/analytics/tags", &body).await;
    assert_eq!((&found.json["pagination"]["total"], &found.json["items"][0]["tag"]), (&json!(2), &json!("two")));
    let named = json!({ "tag": "three", "description": "third" });
    let answer = send(server.request(Method::PUT, "/v1/analytics/tags").json(&named)).await;
    assert_eq!(answer.error(), (200, "Tag updated"));
    let answer = send(server.request(Method::DELETE, "/v1/analytics/tags?tag=three")).await;
    assert_eq!(answer.error(), (200, "Tag deleted"));
    let answer = send(server.request(Method::DELETE, "/v1/analytics/tags").json(&json!({ "tag": "one" }))).await;
    assert_eq!(answer.error(), (200, "Tag deleted"));
    let answer = send(server.request(Method::DELETE, "/v3/example.com/tag?tag=two")).await;
    assert_eq!(answer.error(), (200, "Tag deleted"));
    assert_eq!(server.get("/v3/example.com/tag?tag=two").await.error(), (404, "tag not found"));
    assert_eq!(
        server.get("/v1/analytics/tags/limits").await.json,
        json!({ "limit": 5000, "count": 0, "limit_reached": false })
    );
}
