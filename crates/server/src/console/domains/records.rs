//! The DNS records of a domain, and whether they are there.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::Tab;
use crate::console::client::{Refusal, segment};
use crate::console::json::Look;
use crate::console::layout::{done, not_done};
use crate::console::parts::{Tone, copyable, mark, shown, table};
use crate::console::session::{Submitted, Viewer};

pub(super) async fn page(viewer: Viewer, Path(domain): Path<String>) -> Result<Response, Refusal> {
    let answer = viewer.api().get(&format!("/v4/domains/{}", segment(&domain))).await?;
    let name = answer.text("/domain/name");
    let is_verified = answer.text("/domain/state") == "active";
    let heads = ["For", "Type", "Name", "Value to publish", "Now"];
    let body = html! {
        p {
            @if is_verified { (mark(Tone::Good, "verified")) " All that sending needs was there when it was last looked for." }
            @else {
                (mark(Tone::Fair, "not verified"))
                " Publish these records where the domain's DNS is kept, then look for them. "
                "Mail is sent all the same; receivers may distrust it."
            }
        }
        (viewer.form(&format!("{}/verify", Tab::Records.path(name)), html! { button type="submit" { "Look for them now" } }))
        h2 { "Needed to send" }
        (table("DNS records that sending needs", &heads, answer.items("/sending_dns_records").iter().map(row)))
        h2 { "Recommended" }
        (table("DNS records that are recommended", &heads, answer.items("/recommended_dns_records").iter().map(row)))
    };
    Ok(viewer.show(super::page(name, Tab::Records, body)))
}

fn row(record: &Value) -> Vec<Markup> {
    let found = match record.text("/valid") {
        "valid" => mark(Tone::Good, "there"),
        "unknown" => mark(Tone::Plain, "not known"),
        _ => mark(Tone::Bad, "not right"),
    };
    let stands: Vec<_> =
        record.items("/cached").iter().filter_map(Value::as_str).map(|value| shown(value, 300)).collect();
    vec![
        html! { (purpose(record.text("/purpose"))) },
        html! { (record.text("/record_type")) },
        copyable(record.text("/name")),
        copyable(record.text("/value")),
        html! {
            (found)
            @if !record.text("/detail").is_empty() { br; span.quiet { (shown(record.text("/detail"), 300)) } }
            @if !stands.is_empty() { details { summary { "What is there" } @for one in &stands { pre { (one) } } } }
        },
    ]
}

fn purpose(word: &str) -> &str {
    match word {
        "spf" => "SPF: who may send",
        "dkim" => "DKIM: our signature",
        "dmarc" => "DMARC: what binds them",
        "return-path" => "Reports of failures come back",
        "mta-sts" => "MTA-STS: mail to you within TLS",
        "tracking" => "Links that are tracked",
        other => other,
    }
}

pub(super) async fn verify(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let path = Tab::Records.path(&domain);
    let looked = submitted.viewer.api().put(&format!("/v4/domains/{}/verify", segment(&domain)), &[]).await;
    match looked {
        Ok(answer) if answer.text("/domain/state") == "active" => Ok(done(&path, "All that sending needs is there.")),
        Ok(_) => Ok(not_done(&path, "Something that sending needs is not there yet; the table says what.")),
        Err(refusal) if refusal.is_of_request() => Ok(not_done(&path, refusal.message)),
        Err(refusal) => Err(refusal),
    }
}
