//! Suppressions: recipients that nothing is sent to, and those that bounces do not stop.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::Tab;
use crate::console::client::{Refusal, segment, with_query};
use crate::console::json::Look;
use crate::console::layout::{done, not_done};
use crate::console::parts::{confirmed, shown, table};
use crate::console::session::{Fields, Submitted, Viewer};

/// The lists: the API's name, what it is called, and what it does.
const LISTS: [(&str, &str, &str); 4] = [
    ("bounces", "Bounces", "A server said for good that there is no such mailbox: nothing more is sent there."),
    ("unsubscribes", "Unsubscribes", "They unsubscribed, from everything or from mail with a tag."),
    ("complaints", "Complaints", "They called mail of this domain spam: nothing more is sent there."),
    ("whitelists", "Allowlist", "A refusal does not put these addresses and domains on the bounces."),
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    list: String,
    term: String,
    page: String,
    address: String,
}

impl Asked {
    fn list(&self) -> (&'static str, &'static str, &'static str) {
        LISTS.into_iter().find(|(name, ..)| *name == self.list).unwrap_or(LISTS[0])
    }
}

pub(super) async fn page(
    viewer: Viewer,
    Path(domain): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let (list, _, about) = asked.list();
    let parameters = [("limit", "50"), ("term", asked.term.trim()), ("page", &asked.page), ("address", &asked.address)];
    let answer = viewer.api().get(&with_query(&format!("/v3/{}/{list}", segment(&domain)), &parameters)).await?;
    let items = answer.items("/items");
    let path = Tab::Suppressions.path(&domain);
    let rows = items.iter().map(|item| row(&viewer, &path, list, item));
    let body = html! {
        nav aria-label="Lists" {
            ul.tabs {
                @for (name, called, _) in LISTS {
                    @let here = (name == list).then_some("page");
                    li { a href=(with_query(&path, &[("list", name)])) aria-current=[here] { (called) } }
                }
            }
        }
        p { (about) }
        form.card.row method="get" action=(path) role="search" {
            input type="hidden" name="list" value=(list);
            label { "Begins with" input name="term" value=(asked.term) autocomplete="off"; }
            button type="submit" { "Show" }
        }
        (table("Entries of the list", &["Who", "Why", "Since", ""], rows))
        nav.pager aria-label="Pages" {
            @if !asked.page.is_empty() { a href=(with_query(&path, &[("list", list), ("term", &asked.term)])) { "The first" } }
            @if items.len() == 50 && let Some(last) = items.last() {
                @let next = [("list", list), ("term", &asked.term), ("page", "next"), ("address", name_of(last))];
                a href=(with_query(&path, &next)) rel="next" { "More →" }
            }
        }
        section.card {
            h2 { "Add an entry" }
            (viewer.form(&format!("{path}/add"), html! {
                input type="hidden" name="list" value=(list);
                label for="address" { (if list == "whitelists" { "Address or domain" } else { "Address" }) }
                input #address name="address" required autocomplete="off";
                @if list == "unsubscribes" {
                    label for="tag" { "From mail with this tag only" }
                    input #tag name="tag" autocomplete="off" placeholder="all mail";
                }
                button type="submit" { "Add" }
            }))
        }
    };
    Ok(viewer.show(super::page(&domain, Tab::Suppressions, body)))
}

/// The address of an entry; on the allowlist it may be a domain.
fn name_of(item: &Value) -> &str {
    match item.text("/address") {
        "" => item.text("/value"),
        address => address,
    }
}

fn row(viewer: &Viewer, path: &str, list: &str, item: &Value) -> Vec<Markup> {
    let name = name_of(item);
    let tags: Vec<_> = item.items("/tags").iter().filter_map(Value::as_str).filter(|tag| *tag != "*").collect();
    let remove = html! {
        input type="hidden" name="list" value=(list);
        input type="hidden" name="address" value=(name);
        (confirmed("Remove", &format!("Take {name} off the list?")))
    };
    vec![
        html! { (shown(name, 120)) },
        html! {
            @if !item.text("/code").is_empty() { code { (shown(item.text("/code"), 10)) } " " }
            (shown(item.text("/error"), 200)) (shown(item.text("/reason"), 200))
            @if !tags.is_empty() { "tags " (shown(&tags.join(", "), 200)) }
        },
        html! { (item.text("/created_at")) (item.text("/createdAt")) },
        html! { div.actions { (viewer.form(&format!("{path}/remove"), remove)) } },
    ]
}

/// The list that a form is about, and where its page is.
fn of_form(form: &Fields, domain: &str) -> (&'static str, String) {
    let (list, ..) = Asked { list: form.get("list").to_owned(), ..Asked::default() }.list();
    (list, with_query(&Tab::Suppressions.path(domain), &[("list", list)]))
}

pub(super) async fn add(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let (list, back) = of_form(&form, &domain);
    let address = form.trimmed("address");
    let name = if list == "whitelists" && !address.contains('@') { "domain" } else { "address" };
    let mut fields = vec![(name, address)];
    if !form.trimmed("tag").is_empty() {
        fields.push(("tag", form.trimmed("tag")));
    }
    let added = viewer.api().post(&format!("/v3/{}/{list}", segment(&domain)), &fields).await;
    match added {
        Ok(_) => Ok(done(&back, format!("{address} is on the list."))),
        Err(refusal) if refusal.is_of_request() => Ok(not_done(&back, refusal.message)),
        Err(refusal) => Err(refusal),
    }
}

pub(super) async fn remove(Path(domain): Path<String>, submitted: Submitted) -> Result<Response, Refusal> {
    let Submitted { viewer, form } = submitted;
    let (list, back) = of_form(&form, &domain);
    let path = format!("/v3/{}/{list}/{}", segment(&domain), segment(form.get("address")));
    match viewer.api().delete(&path).await {
        Ok(_) => Ok(done(&back, "The entry is gone.")),
        Err(refusal) if refusal.is_of_request() => Ok(not_done(&back, refusal.message)),
        Err(refusal) => Err(refusal),
    }
}
