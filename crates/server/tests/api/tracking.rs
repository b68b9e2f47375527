//! What a domain says of tracking, where there is no address that links could lead to.

use serde_json::json;

use crate::support::Server;

#[tokio::test]
async fn nothing_is_tracked_without_an_address_for_links() {
    let server = Server::start().await;
    for path in ["/v3/domains/example.com/tracking", "/v4/domains/example.com/tracking"] {
        let read = server.get(path).await;
        let expected = json!({ "tracking": {
            "open": { "active": false, "place_at_the_top": false },
            "click": { "active": false },
            "unsubscribe": { "active": false, "html_footer": "", "text_footer": "" },
            "web_scheme": "http",
        } });
        assert_eq!((read.status, read.json), (200, expected));
        for (of, fields, refusal) in [
            ("open", &[("active", "yes")][..], "tracking is not possible here"),
            ("click", &[("active", "htmlonly")], "tracking is not possible here"),
            ("click", &[("active", "maybe")], "'active' must be one of: yes, no, true, false, htmlonly"),
            ("open", &[("active", "htmlonly")], "'active' must be one of: yes, no, true, false"),
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
    assert_eq!(server.get("/v3/domains/other.example/tracking").await.error(), (404, "Domain not found"));
    for path in ["/t/o/AAAA", "/t/c/AAAA", "/t/x/AAAA"] {
        assert_ne!(server.get(path).await.status, 200, "{path}");
    }
}
