//! Templates: kept, listed, and made into mail.

use reqwest::Method;
use reqwest::multipart::Form;
use serde_json::{Value, json};

use crate::support::{Server, content, send};

const ALL: &str = "/v3/example.com/templates";

async fn delete(server: &Server, path: &str) -> (u16, Value) {
    let answer = send(server.request(Method::DELETE, path)).await;
    (answer.status, answer.json)
}

async fn made(server: &Server, fields: &[(&str, &str)]) -> Value {
    let answer = server.post(ALL, fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json
}

#[tokio::test]
async fn a_template_and_its_versions_live_as_mailguns_do() {
    let server = Server::start().await;
    let json = made(&server, &[("name", "Welcome"), ("description", "d"), ("template", "one"), ("comment", "c")]).await;
    assert_eq!(json["message"], "template has been stored");
    let template = &json["template"];
    assert_eq!((&template["name"], &template["description"]), (&json!("welcome"), &json!("d")));
    assert_eq!((&template["version"]["tag"], &template["version"]["active"]), (&json!("initial"), &json!(true)));
    assert_eq!(template["version"]["engine"], "handlebars");
    assert!(template["createdAt"].as_str().unwrap().ends_with(" GMT"), "{template}");
    assert_eq!(server.post(ALL, &[("name", "WELCOME")]).await.error(), (409, "the template welcome exists already"));

    let versions = format!("{ALL}/welcome/versions");
    let answer = server.post(&versions, &[("template", "two"), ("tag", "v2"), ("active", "yes")]).await;
    assert_eq!(answer.json["message"], "new version of the template has been stored");
    assert_eq!(answer.json["template"]["version"]["template"], "two");
    let answer = server.post(&versions, &[("template", "x"), ("tag", "v2")]).await;
    assert_eq!(answer.error(), (409, "the version v2 exists already"));

    assert_eq!(server.get(&format!("{ALL}/Welcome")).await.json["template"].get("version"), None);
    let active = server.get(&format!("{ALL}/welcome?active=yes")).await.json["template"]["version"].clone();
    assert_eq!((&active["tag"], &active["template"]), (&json!("v2"), &json!("two")));
    let answer = server.put(&format!("{versions}/initial"), &[("template", "new"), ("active", "yes")]).await;
    assert_eq!(answer.json["template"], json!({ "name": "welcome", "version": { "tag": "initial" } }));
    assert_eq!(answer.json["message"], "version has been updated");
    let version = server.get(&format!("{versions}/initial")).await.json["template"]["version"].clone();
    assert_eq!(
        (&version["template"], &version["comment"], &version["active"]),
        (&json!("new"), &json!("c"), &json!(true))
    );

    let refused = server.put(&format!("{versions}/initial/copy/v3"), &[("comments", "copied")]).await;
    assert_eq!(refused.error(), (400, "'comments' is not a parameter"));
    let answer = server.put(&format!("{versions}/initial/copy/v4"), &[("comment", "in a form")]).await;
    assert_eq!(answer.json["version"]["comment"], "in a form", "{}", answer.text);
    assert_eq!(send(server.request(Method::DELETE, &format!("{versions}/v4"))).await.status, 200);
    let answer = server.put(&format!("{versions}/initial/copy/v3?comment=copied"), &[]).await;
    assert_eq!(
        (&answer.json["message"], &answer.json["version"]["tag"]),
        (&json!("version has been copied"), &json!("v3"))
    );
    assert_eq!(
        (&answer.json["version"]["template"], &answer.json["version"]["comment"]),
        (&json!("new"), &json!("copied"))
    );
    let list = server.get(&versions).await.json;
    let tags: Vec<&Value> = list["template"]["versions"].as_array().unwrap().iter().map(|one| &one["tag"]).collect();
    assert_eq!(tags, ["initial", "v2", "v3"]);

    assert_eq!(delete(&server, &format!("{versions}/v3")).await.1["message"], "version has been deleted");
    assert_eq!(delete(&server, &format!("{versions}/v3")).await.0, 404);
    let answer = server.put(&format!("{ALL}/welcome"), &[("description", "other")]).await;
    assert_eq!(answer.json, json!({ "message": "template has been updated", "template": { "name": "welcome" } }));
    let answer = delete(&server, &format!("{ALL}/welcome")).await;
    assert_eq!(answer.1, json!({ "message": "template has been deleted", "template": { "name": "welcome" } }));
    for path in ["welcome", "welcome/versions", "welcome/versions/initial"] {
        assert_eq!(server.get(&format!("{ALL}/{path}")).await.status, 404, "{path}");
    }
    assert_eq!(delete(&server, ALL).await, (200, json!({ "message": "templates have been deleted" })));
}

#[tokio::test]
async fn pages_lead_from_one_end_to_the_other_and_back() {
    let server = Server::start().await;
    for n in 0..7 {
        made(&server, &[("name", &format!("t & {n}")), ("template", "x")]).await;
    }
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut page = server.get(&format!("{ALL}?limit=3&active=yes")).await.json;
    assert_eq!(page["items"][0]["version"]["template"], "x");
    let (mut seen, mut pages) = (Vec::new(), 0);
    while !names(&page).is_empty() {
        seen.extend(names(&page));
        pages += 1;
        assert!(pages < 10);
        for link in ["first", "last", "next", "previous"] {
            assert!(page["paging"][link].as_str().unwrap().contains('?'), "{page}");
        }
        page = server.get(page["paging"]["next"].as_str().unwrap()).await.json;
    }
    assert_eq!((seen.len(), pages), (7, 3));
    let back = server.get(page["paging"]["previous"].as_str().unwrap()).await.json;
    assert_eq!(names(&back), ["t & 4", "t & 5", "t & 6"]);
    let back = server.get(back["paging"]["previous"].as_str().unwrap()).await.json;
    assert_eq!(names(&back), ["t & 1", "t & 2", "t & 3"]);
}

#[tokio::test]
async fn a_message_is_made_of_a_template() {
    let server = Server::start().await;
    let headers = r#"{"From": "{{shop}} <shop@example.com>", "Subject": "Hi {{name}}", "Reply-To": "r@example.com"}"#;
    let source = "<p>{{name}} {{#each items}}[{{this}}]{{/each}}{{unknown}}</p>";
    made(&server, &[("name", "welcome"), ("template", source), ("headers", headers)]).await;
    let versions = format!("{ALL}/welcome/versions");
    server.post(&versions, &[("template", "<b>second {{name}}</b>"), ("tag", "v2")]).await;

    let fields = [
        ("to", "b@example.net"),
        ("template", "Welcome"),
        ("t:text", "yes"),
        ("t:variables", r#"{"name": "Ann & Bob", "shop": "S & T"}"#),
        ("v:name", "beaten"),
        ("h:X-Mailgun-Variables", r#"{"items": [1, "two"]}"#),
    ];
    let answer = server.post("/v3/example.com/messages", &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let job = server.claim().await.remove(0);
    let kept = content(&server, &job).await;
    assert!(kept.contains("<p>Ann &amp; Bob [1][two]</p>"), "{kept}");
    assert!(kept.contains("\r\nAnn & Bob [1][two]"), "{kept}");
    assert!(kept.contains("From: \"S & T\" <shop@example.com>\r\n"), "{kept}");
    assert!(kept.contains("Subject: Hi Ann & Bob\r\n") && kept.contains("Reply-To: <r@example.com>\r\n"), "{kept}");
    let event = server.events("").await.remove(0);
    assert_eq!(event["template"], json!({ "name": "welcome", "version": "initial", "is-text": true }));

    let own = [("template", "welcome"), ("t:version", "v2"), ("h:Reply-To", "own@example.com"), ("subject", "own")];
    assert_eq!(server.send(&own).await.status, 200);
    let kept = content(&server, &server.claim().await.remove(0)).await;
    assert!(kept.contains("<b>second </b>") && kept.contains("Subject: own") && kept.contains("<own@"), "{kept}");
    assert!(kept.contains("From: <a@example.com>"), "the request's own beats the template's: {kept}");
}

#[tokio::test]
async fn a_whole_message_is_given_the_html_of_a_template() {
    let server = Server::start().await;
    let headers = r#"{"From": "{{shop}} <shop@example.com>", "Subject": "Hi {{name}}"}"#;
    made(&server, &[("name", "welcome"), ("template", "<p>one {{name}}</p>"), ("headers", headers)]).await;
    server.post(&format!("{ALL}/welcome/versions"), &[("template", "<p>two {{name}}</p>"), ("tag", "v2")]).await;
    let named = "From: a@example.com\r\nX-Mailgun-Template-Name: welcome\r\nX-Mailgun-Template-Version: v2\r\n\
        X-Mailgun-Template-Variables: {\"name\":\r\n \"Ann & Bob\"}\r\nX-Odd: kept\r\n\r\nthe text\r\n";
    let bare = "X-Odd: kept\r\n\r\n";
    let variables = r#"{"name": "Ann & Bob", "shop": "S"}"#;
    for (fields, told, expected) in [
        (
            &[("message", named)][..],
            json!({ "name": "welcome", "version": "v2", "is-text": false }),
            &["From: a@example.com\r\n", "<p>two Ann &amp; Bob</p>", "\r\nthe text\r\n"][..],
        ),
        (
            &[("message", bare), ("template", "welcome"), ("t:variables", variables), ("t:text", "yes")],
            json!({ "name": "welcome", "version": "initial", "is-text": true }),
            &["<shop@example.com>\r\n", "<p>one Ann &amp; Bob</p>", "\r\none Ann & Bob\r\n", "Subject: Hi Ann & Bob"],
        ),
        (
            &[("message", bare), ("h:X-Mailgun-Template-Name", "Welcome"), ("v:name", "Eve"), ("h:Subject", "own")],
            json!({ "name": "welcome", "version": "initial", "is-text": false }),
            &["<p>one Eve</p>", "Subject: own\r\n"],
        ),
    ] {
        let fields: Vec<_> = [("to", "b@example.net")].into_iter().chain(fields.iter().copied()).collect();
        let answer = server.post_multipart("/v3/example.com/messages.mime", multipart(&fields)).await;
        assert_eq!(answer.status, 200, "{fields:?}: {}", answer.text);
        let kept = content(&server, &server.claim().await.remove(0)).await;
        for part in expected {
            assert!(kept.contains(part), "{part}: {kept}");
        }
        assert_eq!(server.events("").await[0]["template"], told);
    }
}

#[tokio::test]
async fn what_a_template_cannot_do_for_a_whole_message_is_refused() {
    let server = Server::start().await;
    made(&server, &[("name", "t"), ("template", "<p>{{name}}</p>")]).await;
    let message = "From: a@example.com\r\n\r\nx\r\n";
    let html = "From: a@example.com\r\nContent-Type: text/html\r\n\r\n<p>mine</p>\r\n";
    let headers = "From: a@example.com\r\nX-Mailgun-Template-Name: u\r\n\r\nx\r\n";
    let variables = "From: a@example.com\r\nX-Mailgun-Template-Variables: [1]\r\n\r\nx\r\n";
    for (fields, expected) in [
        (&[("message", message), ("template", "u")][..], "template 'u' not found"),
        (&[("message", headers)], "template 'u' not found"),
        (&[("message", headers), ("template", "t")], "'template' is given more than once, with different values"),
        (&[("message", html), ("template", "t")], "Only one parameters 'html' or 'template' is allowed"),
        (&[("message", message), ("t:version", "v2")], "parameters starting with t: need a 'template'"),
        (&[("message", variables)], "'X-Mailgun-Template-Variables' parameter is not a valid JSON"),
        (&[("message", "X-Odd: 1\r\n\r\nx"), ("template", "t")], "the message has no From"),
    ] {
        let fields: Vec<_> = [("to", "b@example.net")].into_iter().chain(fields.iter().copied()).collect();
        let answer = server.post_multipart("/v3/example.com/messages.mime", multipart(&fields)).await;
        assert_eq!(answer.status, 400, "{fields:?}");
        assert_eq!(answer.error().1, expected, "{fields:?}");
    }
    server.assert_nothing_kept("bad templates").await;
}

#[tokio::test]
async fn copies_are_made_of_the_template_each_for_itself() {
    let server = Server::start().await;
    let source = "<p>{{#if vip}}Dear{{else}}Hi{{/if}} {{name}}</p>";
    made(&server, &[("name", "t"), ("template", source)]).await;
    let fields = [
        ("template", "t"),
        ("t:text", "yes"),
        ("t:variables", r#"{"name": "%recipient.name%", "vip": "%recipient.vip%"}"#),
        ("recipient-variables", r#"{"b@example.net": {"name": "<Bob>", "vip": ""}}"#),
    ];
    let fields: Vec<_> = [("from", "a@example.com"), ("to", "b@example.net")].into_iter().chain(fields).collect();
    let answer = server.post("/v3/example.com/messages", &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let job = server.claim().await.remove(0);
    let plan = job.copy_plan.unwrap();
    assert_eq!(plan["template"]["source"], source, "the version that was there when it was accepted");
    assert_eq!(plan["template"]["is_text"], true);
}

#[tokio::test]
async fn what_a_template_cannot_do_is_refused() {
    let server = Server::start().await;
    made(&server, &[("name", "empty")]).await;
    made(&server, &[("name", "t"), ("template", "{{nohelper name}}")]).await;
    let bomb = "{{#each a}}{{#each @root.a}}{{#each @root.a}}{{#each @root.a}}{{/each}}{{/each}}{{/each}}{{/each}}";
    made(&server, &[("name", "bomb"), ("template", bomb)]).await;
    let many = format!("{{\"a\": {:?}}}", vec![1; 1000]);
    for (fields, message) in [
        (&[("template", "none")][..], "template 'none' not found"),
        (&[("template", "t"), ("t:version", "v9")], "template 't' with version 'v9' not found"),
        (&[("template", "empty")], "template 'empty' has no active version"),
        (&[("template", "t"), ("html", "x")], "Only one parameters 'html' or 'template' is allowed"),
        (&[("template", "t")], "template 't': "),
        (&[("template", "bomb"), ("t:variables", &many)], "template 'bomb': it takes too many steps"),
        (&[("t:version", "v1")], "parameters starting with t: need a 'template'"),
        (&[("template", "t"), ("t:what", "x")], "'t:what' is not supported yet"),
    ] {
        let answer = server.send(fields).await;
        assert_eq!(answer.status, 400, "{fields:?}");
        assert!(answer.error().1.starts_with(message), "{fields:?}: {}", answer.text);
    }
    server.assert_nothing_kept("bad templates").await;
    assert_eq!(server.post(ALL, &[("template", "x")]).await.error(), (400, "name parameter is missing"));
    assert_eq!(server.post(ALL, &[("name", "x"), ("tag", "x")]).await.error(), (400, "'tag' needs a 'template'"));
    let long = "x".repeat(100 * 1024 + 1);
    let answer = server.post(ALL, &[("name", "x"), ("template", &long)]).await;
    assert_eq!(answer.error(), (400, "'template' is not valid: it is longer than 100 kB"));
}

fn multipart(fields: &[(&str, &str)]) -> Form {
    fields.iter().fold(Form::new(), |form, (name, value)| form.text((*name).to_owned(), (*value).to_owned()))
}
