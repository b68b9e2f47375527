//! What a domain says of tracking, where there is no address that links could lead to.

use serde_json::json;

use crate::support::Server;

#[tokio::test]
async fn nothing_is_tracked_without_an_address_for_links() {
    let server = Server::start().await;
    let long = "x".repeat(8193);
    for path in ["/v3/domains/example.com/tracking", "/v4/domains/example.com/tracking"] {
        let read = server.get(path).await;
        let expected = json!({ "tracking": {
            "open": { "active": false, "place_at_the_top": false },
            "click": { "active": false },
            "unsubscribe": {
                "active": false,
                "html_footer": "\n<p><a href=\"%unsubscribe_url%\">Unsubscribe</a></p>\n",
                "text_footer": "\n\nUnsubscribe: %unsubscribe_url%\n",
            },
            "web_scheme": "http",
        } });
        assert_eq!((read.status, read.json), (200, expected));
        for (of, fields, refusal) in [
            ("open", &[("active", "yes")][..], "tracking is not possible here"),
            ("click", &[("active", "htmlonly")], "tracking is not possible here"),
            ("click", &[("active", "maybe")], "'active' must be one of: yes, no, true, false, htmlonly"),
            ("open", &[("active", "htmlonly")], "'active' must be one of: yes, no, true, false"),
            ("unsubscribe", &[("active", "true")], "tracking is not possible here"),
            ("unsubscribe", &[("active", "htmlonly")], "'active' must be one of: yes, no, true, false"),
            ("unsubscribe", &[("footer", "x")], "'footer' is not one of: active, html_footer, text_footer"),
            ("unsubscribe", &[("html_footer", &long)], "'html_footer' is longer than 8192 octets"),
            ("unsubscribe", &[], "'active' is missing"),
            ("open", &[("on", "yes")], "'on' is not one of: active, place_at_the_top"),
            ("open", &[], "'active' is missing"),
        ] {
            let refused = server.put(&format!("{path}/{of}"), fields).await;
            assert_eq!(refused.status, 400, "{}", refused.text);
            assert!(refused.error().1.starts_with(refusal), "{}", refused.text);
        }
        let off = server.put(&format!("{path}/click"), &[("active", "False")]).await;
        assert_eq!((off.status, &off.json["click"]), (200, &json!({ "active": false })));
        let top = server.put(&format!("{path}/open"), &[("place_at_the_top", "yes")]).await;
        assert_eq!(top.json["open"], json!({ "active": false, "place_at_the_top": true }));
        server.put(&format!("{path}/open"), &[("place_at_the_top", "no")]).await;
    }
    let footers = [("html_footer", "<p>Bye</p>"), ("text_footer", ""), ("active", "no")];
    let changed = server.put("/v3/domains/example.com/tracking/unsubscribe", &footers).await;
    assert_eq!(changed.json["message"], "Domain tracking settings have been updated");
    let expected = json!({ "active": false, "html_footer": "<p>Bye</p>", "text_footer": "" });
    assert_eq!(changed.json["unsubscribe"], expected);
    assert_eq!(server.get("/v4/domains/example.com/tracking").await.json["tracking"]["unsubscribe"], expected);
    assert_eq!(server.get("/v3/domains/other.example/tracking").await.error(), (404, "Domain not found"));
    for path in ["/t/o/AAAA", "/t/c/AAAA", "/t/u/AAAA", "/t/x/AAAA"] {
        assert_ne!(server.get(path).await.status, 200, "{path}");
    }
}
