//! Bounces, unsubscribes, complaints and the allowlist, over the API.

use reqwest::Method;
use reqwest::multipart::Form;
use serde_json::{Value, json};

use crate::support::{Answer, Server, file, send};

async fn post_json(server: &Server, path: &str, body: &Value) -> Answer {
    send(server.request(Method::POST, path).json(body)).await
}

async fn delete(server: &Server, path: &str) -> Answer {
    send(server.request(Method::DELETE, path)).await
}

#[tokio::test]
async fn each_list_takes_gives_and_forgets() {
    let server = Server::start().await;
    let at = "Thu, 13 Oct 2011 18:02:00 GMT";
    let bounce = json!({ "address": "b@x.test", "code": "550", "error": "gone", "created_at": at });
    let unsubscribe = json!({ "address": "b@x.test", "tags": ["news"], "created_at": at });
    let complaint = json!({ "address": "b@x.test", "created_at": at });
    for (list, entry, missing) in [
        ("bounces", bounce, "Address not found in bounces table"),
        ("unsubscribes", unsubscribe, "Address not found in unsubscribers table"),
        ("complaints", complaint, "No spam complaints found for this address"),
    ] {
        let path = format!("/v3/example.com/{list}");
        assert_eq!(server.get(&format!("{path}/b@x.test")).await.error(), (404, missing));
        let many: Vec<_> = (0..3).map(|n| json!({ "address": format!("{n}@x.test") })).chain([entry.clone()]).collect();
        let added = post_json(&server, &path, &many.into()).await;
        assert!(added.text.contains(&format!("addresses have been added to the {list} table")), "{}", added.text);
        let one = server.post(&path, &[("address", "Form@X.test")]).await;
        let text = format!("Address has been added to the {list} table");
        assert_eq!(one.json, json!({ "message": text, "address": "form@x.test" }), "{}", one.text);
        assert_eq!(server.get(&format!("{path}/B%40X.test")).await.json, entry);
        let gone = delete(&server, &format!("{path}/b%40x.test")).await;
        assert_eq!((gone.status, &gone.json["address"]), (200, &json!("b@x.test")));
        assert_eq!(delete(&server, &format!("{path}/b@x.test")).await.error(), (404, missing));
        assert_eq!(server.get(&path).await.json["items"].as_array().unwrap().len(), 4);
        assert_eq!(delete(&server, &path).await.status, 200);
        assert_eq!(server.get(&path).await.json["items"], json!([]));
    }
}

#[tokio::test]
async fn the_allowlist_has_addresses_and_domains() {
    let server = Server::start().await;
    let path = "/v3/example.com/whitelists";
    let added = server.post(path, &[("domain", "Ours.test"), ("reason", "partner")]).await;
    let expected = json!({ "message": "Address/Domain has been added to the allowlists table", "type": "domain", "value": "ours.test" });
    assert_eq!(added.json, expected);
    server.post(path, &[("address", "a@x.test")]).await;
    let found = server.get(&format!("{path}/ours.test")).await;
    assert_eq!((&found.json["type"], &found.json["reason"]), (&json!("domain"), &json!("partner")));
    assert!(found.json["createdAt"].is_string());
    assert_eq!(server.post(path, &[]).await.error(), (400, "Missing mandatory parameter: address/domain"));
    assert_eq!(delete(&server, &format!("{path}/a@x.test")).await.json["value"], "a@x.test");
    assert_eq!(server.get(&format!("{path}/a@x.test")).await.error().1, "Address/Domain not found in allowlist table");
}

#[tokio::test]
async fn pages_lead_to_the_end_and_back() {
    let server = Server::start().await;
    let path = "/v3/example.com/complaints";
    // A page of a list without entries has links that can be followed.
    let mut page = server.get(path).await;
    for name in ["first", "next", "previous", "last"] {
        let again = server.get(page.json["paging"][name].as_str().unwrap()).await;
        assert_eq!((again.status, &again.json["items"]), (200, &json!([])), "{name}");
    }
    let many: Vec<_> = (0..25).map(|n| json!({ "address": format!("a+{n:02}@x.test") })).collect();
    assert_eq!(post_json(&server, path, &many.into()).await.status, 200);
    let addresses = |page: &Answer| -> Vec<String> {
        let items = page.json["items"].as_array().unwrap().iter();
        items.map(|item| item["address"].as_str().unwrap().to_owned()).collect()
    };
    let (mut seen, mut pages) = (Vec::new(), 0);
    page = server.get(&format!("{path}?limit=10&term=A%2B")).await;
    while !addresses(&page).is_empty() {
        seen.extend(addresses(&page));
        pages += 1;
        page = server.get(page.json["paging"]["next"].as_str().unwrap()).await;
    }
    assert_eq!((pages, seen.len()), (3, 25));
    assert!(seen.is_sorted());
    let back = server.get(page.json["paging"]["previous"].as_str().unwrap()).await;
    assert_eq!(addresses(&back), seen[15..], "before the end stands the last page");
    let before = server.get(back.json["paging"]["previous"].as_str().unwrap()).await;
    assert_eq!(addresses(&before), seen[5..15]);
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_added() {
    let server = Server::start().await;
    let path = "/v3/example.com/bounces";
    let good = json!({ "address": "a@x.test" });
    let bad = post_json(&server, path, &json!([good, { "address": "nobody" }])).await;
    let text = "entry 2: 'address' is not a valid address: there is no '@'; nothing was added";
    assert_eq!(bad.error(), (400, text));
    let many = vec![good; 1001];
    assert_eq!(post_json(&server, path, &many.into()).await.error(), (400, "Batch size should be less than 1000"));
    let no_json = send(server.request(Method::POST, path).header("content-type", "application/json").body("{")).await;
    assert_eq!(no_json.error(), (400, "the body is not JSON"));
    assert_eq!(server.post(path, &[]).await.error(), (400, "Missing mandatory parameter: address"));
    assert_eq!(server.get(path).await.json["items"], json!([]));
    assert_eq!(server.get("/v3/nobody.test/bounces").await.error(), (404, "Domain not found: nobody.test"));
}

#[tokio::test]
async fn a_tag_is_unsubscribed_and_taken_back() {
    let server = Server::start().await;
    let path = "/v3/example.com/unsubscribes";
    server.post(path, &[("address", "a@x.test"), ("tags", "News"), ("tags", "offers")]).await;
    assert_eq!(server.get(&format!("{path}/a@x.test")).await.json["tags"], json!(["news", "offers"]));
    assert_eq!(delete(&server, &format!("{path}/a@x.test?tag=news")).await.status, 200);
    let again = delete(&server, &format!("{path}/a@x.test?tag=news")).await;
    assert_eq!(again.error(), (404, "Unsubscribe event for this tag does not exist"));
    assert_eq!(server.get(&format!("{path}/a@x.test")).await.json["tags"], json!(["offers"]));
    server.post(path, &[("address", "a@x.test")]).await;
    assert_eq!(server.get(&format!("{path}/a@x.test")).await.json["tags"], json!(["*"]));
}

#[tokio::test]
async fn a_file_is_imported_and_its_bad_rows_are_told() {
    let server = Server::start().await;
    let path = "/v3/example.com/bounces";
    let mut rows = "address,code,error,created_at\n".to_owned();
    for n in 0..2500 {
        rows.push_str(&if n % 1000 == 7 { format!("row {n}\n") } else { format!("{n:04}@x.test,550,\"no, none\",\n") });
    }
    let form = Form::new().part("file", file("list.csv", "text/csv", rows));
    let answer = server.post_multipart(&format!("{path}/import"), form).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.json["message"], "file uploaded successfully for processing. standby...");
    assert_eq!((&answer.json["added"], &answer.json["rejected"]), (&json!(2497), &json!(3)));
    assert_eq!(answer.json["errors"][0]["line"], 9);
    assert_eq!(server.get(&format!("{path}/2499@x.test")).await.json["error"], "no, none");
    let form = Form::new().part("file", file("list.csv", "text/csv", "a@x.test,550\n"));
    let answer = server.post_multipart(&format!("{path}/import"), form).await;
    assert_eq!(answer.error(), (400, "while reading csv header"));
    assert_eq!(server.post(&format!("{path}/import"), &[]).await.error(), (400, "file parameter is missing"));
}
