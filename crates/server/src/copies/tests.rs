//! Copies, from plan, content and variables.

use message::{Draft, Identity};
use serde_json::json;

use super::*;

fn content(change: impl FnOnce(&mut Draft)) -> Vec<u8> {
    let mut draft = Draft::new("Shop <shop@example.com>".parse().unwrap(), "Hey %recipient.name%");
    draft.to = vec!["first@example.net".parse().unwrap()];
    draft.text = Some("Hi %recipient.name%, %recipient_email%".to_owned());
    change(&mut draft);
    let identity = Identity::new(0, [1; 32], &"example.com".parse().unwrap());
    message::compose(&draft, &identity).unwrap().content
}

fn ann() -> IndividualCopy {
    let variables = json!({ "name": "Änn\r\nBcc: x@example.org", "url": "https://example.com/ü", "id": "\"7\"" });
    IndividualCopy { to: "\"A, n\" <ann@example.net>".to_owned(), variables: variables.as_object().unwrap().clone() }
}

fn text(plan: &Plan, content: &[u8]) -> String {
    String::from_utf8(render(&plan.to_json(), content, &ann(), false).unwrap()).unwrap()
}

#[test]
fn a_copy_shows_its_recipient_alone() {
    let copy = text(&Plan::default(), &content(|_| {}));
    assert!(copy.contains("\r\nTo: \"A, n\" <ann@example.net>\r\n"), "{copy}");
    assert!(!copy.contains("first@") && !copy.split("\r\n\r\n").next().unwrap().contains("\r\nBcc:"), "{copy}");
    assert!(copy.contains("Hi =C3=84nn\r\nBcc: x@example.org, ann@example.net") || copy.contains("base64"), "{copy}");
    let own_to = Plan { own_to: true, ..Plan::default() };
    assert!(text(&own_to, &content(|_| {})).contains("\r\nTo: <first@example.net>\r\n"));
}

#[test]
fn headers_with_placeholders_wait_for_their_words() {
    let headers = [
        ("Reply-To", "%recipient%"),
        ("List-Unsubscribe", "<%recipient.url%>, <%tag_unsubscribe_email%>"),
        ("X-None", "%recipient.none%"),
        ("X-Name", "%recipient.name%"),
    ];
    let plan = Plan { headers: headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(), ..Plan::default() };
    let copy = text(&plan, &content(|_| {}));
    assert!(copy.contains("\r\nReply-To: \"A, n\" <ann@example.net>\r\n"), "{copy}");
    assert!(copy.contains("\r\nList-Unsubscribe: <https://example.com/%C3%BC>\r\n"), "{copy}");
    assert!(copy.contains("\r\nX-None: %recipient.none%\r\n"), "{copy}");
    assert!(copy.contains("\r\nX-Name: =?utf-8?"), "{copy}");
}

#[test]
fn variables_stay_json() {
    let user_variables = json!({ "id": "%recipient.id%", "n": "%recipient.name%" }).as_object().unwrap().clone();
    let copy = text(&Plan { user_variables, ..Plan::default() }, &content(|_| {}));
    let parsed = copy.replace("\r\n ", " ").replace("\r\n\t", " ");
    let line = parsed.lines().find_map(|line| line.strip_prefix("X-Mailgun-Variables: ")).unwrap();
    let expected = json!({ "id": "\"7\"", "n": "Änn\r\nBcc: x@example.org" });
    assert_eq!(serde_json::from_str::<Value>(line).unwrap(), expected);
}

#[test]
fn what_names_everybody_reaches_nobody() {
    let content = b"From: a@example.com\r\nx-mailgun-recipient-variables: {\"ann@example.net\":\r\n {}}\r\n\r\nHi\r\n";
    let copy = text(&Plan::default(), content);
    assert!(!copy.to_ascii_lowercase().contains("variables"), "{copy}");
}

#[test]
fn a_list_of_ways_to_unsubscribe_has_no_dead_ends() {
    for (value, expected) in [
        ("<https://a.example/x>, <%tag_unsubscribe_email%>", Some("<https://a.example/x>")),
        ("<%unsubscribe_url%>", Some("")),
        ("<>, <mailto:a@example.com>", Some("<mailto:a@example.com>")),
        ("<https://a.example/%41%42>", None),
        ("<https://a.example/x>", None),
    ] {
        assert_eq!(without_open_ends(value).as_deref(), expected, "{value}");
    }
}

#[test]
fn what_cannot_be_made_says_why() {
    let plan = |name: &str, value: &str| Plan { headers: vec![(name.to_owned(), value.to_owned())], ..Plan::default() };
    for (plan, expected) in [
        (plan("Reply-To", "%recipient.url%"), "the recipient's copy cannot be made: Reply-To is not valid: "),
        (plan("Bcc", "%recipient%"), "the recipient's copy cannot be made: header Bcc cannot be set"),
    ] {
        let error = render(&plan.to_json(), &content(|_| {}), &ann(), false).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let damaged = IndividualCopy { to: "nobody".to_owned(), ..ann() };
    assert_eq!(render(&Plan::default().to_json(), &content(|_| {}), &damaged, false), Err(CopyError::Damaged));
    assert_eq!(render(&json!([1]), &content(|_| {}), &ann(), false), Err(CopyError::Damaged));
    let bomb = content(|draft| draft.text = Some("%recipient.x%".repeat(100_000)));
    let variables = json!({ "x": "y".repeat(10_000) }).as_object().unwrap().clone();
    let error = render(&Plan::default().to_json(), &bomb, &IndividualCopy { variables, ..ann() }, false).unwrap_err();
    assert!(error.to_string().contains("longer than 26214400 octets"), "{error}");
}

#[test]
fn variables_travel_as_ascii_json() {
    let map = json!({ "a": "1", "grüße": "Ω😀\"\n\u{7f}" });
    let json = to_ascii_json(map.as_object().unwrap());
    assert_eq!(json, r#"{"a": "1", "gr\u00fc\u00dfe": "\u03a9\ud83d\ude00\"\n\u007f"}"#);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), map);
}

#[test]
fn a_template_is_rendered_for_each_copy() {
    let template = |is_text| TemplatePlan {
        source: "<p>{{#if vip}}Dear{{else}}Hi{{/if}} {{user.name}} %recipient_email%</p>".to_owned(),
        variables: json!({ "vip": "%recipient.none%", "user": { "name": "%recipient.id%" } })
            .as_object()
            .unwrap()
            .clone(),
        is_text,
    };
    let content = content(|draft| {
        draft.text = Some("own text".to_owned());
        draft.html = Some("as it was accepted".to_owned());
    });
    for (is_text, expected) in [(true, "Dear \"7\" ann@example.net"), (false, "own text")] {
        let copy = text(&Plan { template: Some(template(is_text)), ..Plan::default() }, &content);
        assert!(copy.contains("<p>Dear &quot;7&quot; ann@example.net</p>"), "{copy}");
        assert!(copy.contains(expected) && !copy.contains("as it was"), "{copy}");
    }
    let bomb = TemplatePlan { source: "{{nohelper 1}}".to_owned(), ..template(false) };
    let error =
        render(&Plan { template: Some(bomb), ..Plan::default() }.to_json(), &content, &ann(), false).unwrap_err();
    assert!(error.to_string().starts_with("the recipient's copy cannot be made: the template: "), "{error}");
}
