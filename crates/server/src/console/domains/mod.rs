//! Sending → Domains → Domain settings.

mod access;
mod list;
mod records;
mod security;
mod settings;
mod suppressions;
mod templates;
pub(super) mod webhooks;

use axum::Router;
use axum::routing::{get, post};
use maud::{Markup, html};

use super::Console;
use super::client::segment;
use super::layout::{Page, Section};

pub(super) use self::access::{key_form, key_table, made_key};

pub(super) fn routes() -> Router<Console> {
    Router::new()
        .route("/sending", get(list::page))
        .route("/sending/domains", get(list::page).post(list::create))
        .route("/sending/domains/{domain}", get(records::page))
        .route("/sending/domains/{domain}/verify", post(records::verify))
        .route("/sending/domains/{domain}/security", get(security::page).post(security::save))
        .route("/sending/domains/{domain}/access", get(access::page))
        .route("/sending/domains/{domain}/access/keys", post(access::create_key))
        .route("/sending/domains/{domain}/access/keys/delete", post(access::delete_key))
        .route("/sending/domains/{domain}/access/credentials", post(access::create_credential))
        .route("/sending/domains/{domain}/access/credentials/delete", post(access::delete_credential))
        .route("/sending/domains/{domain}/suppressions", get(suppressions::page))
        .route("/sending/domains/{domain}/suppressions/add", post(suppressions::add))
        .route("/sending/domains/{domain}/suppressions/remove", post(suppressions::remove))
        .route("/sending/domains/{domain}/webhooks", get(webhooks::page).post(webhooks::create))
        .route("/sending/domains/{domain}/webhooks/test", post(webhooks::test))
        .route("/sending/domains/{domain}/webhooks/delete", post(webhooks::delete))
        .route("/sending/domains/{domain}/templates", get(templates::list).post(templates::create))
        .route("/sending/domains/{domain}/templates/{name}", get(templates::one))
        .route("/sending/domains/{domain}/templates/{name}/preview", get(templates::rendered))
        .route("/sending/domains/{domain}/templates/{name}/versions", post(templates::add_version))
        .route("/sending/domains/{domain}/templates/{name}/activate", post(templates::activate))
        .route("/sending/domains/{domain}/templates/{name}/delete", post(templates::delete))
        .route("/sending/domains/{domain}/settings", get(settings::page))
        .route("/sending/domains/{domain}/settings/tracking", post(settings::track))
        .route("/sending/domains/{domain}/settings/retention", post(settings::keep))
        .route("/sending/domains/{domain}/settings/delete", post(settings::delete))
}

/// A page of the settings of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Records,
    Security,
    Access,
    Suppressions,
    Webhooks,
    Templates,
    Settings,
}

impl Tab {
    const ALL: [Tab; 7] =
        [Tab::Records, Tab::Security, Tab::Access, Tab::Suppressions, Tab::Webhooks, Tab::Templates, Tab::Settings];

    fn name(self) -> &'static str {
        match self {
            Tab::Records => "DNS records",
            Tab::Security => "Security",
            Tab::Access => "Keys and logins",
            Tab::Suppressions => "Suppressions",
            Tab::Webhooks => "Webhooks",
            Tab::Templates => "Templates",
            Tab::Settings => "Settings",
        }
    }

    /// The address of the page.
    pub(super) fn path(self, domain: &str) -> String {
        let word = match self {
            Tab::Records => "",
            Tab::Security => "/security",
            Tab::Access => "/access",
            Tab::Suppressions => "/suppressions",
            Tab::Webhooks => "/webhooks",
            Tab::Templates => "/templates",
            Tab::Settings => "/settings",
        };
        format!("/sending/domains/{}{word}", segment(domain))
    }
}

/// A page of a domain, with the ways to the others.
pub(super) fn page<'a>(domain: &'a str, tab: Tab, body: Markup) -> Page<'a> {
    let body = html! {
        nav aria-label="Domain settings" {
            ul.tabs {
                @for one in Tab::ALL {
                    li { a href=(one.path(domain)) aria-current=[(one == tab).then_some("page")] { (one.name()) } }
                }
            }
        }
        (body)
    };
    Page::new(domain, Section::Domains, body).below("Domains", "/sending/domains")
}
