//! What surrounds every page.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::client::Refusal;
use super::session::{Notice, Viewer, drop_notice, leave_notice, see_other};

/// A part of the panel, as the navigation has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Domains,
    Test,
    Logs,
    Destinations,
    Queue,
    Reports,
    Webhooks,
    Keys,
    Users,
    Account,
}

impl Section {
    const MENU: [Section; 10] = [
        Section::Overview,
        Section::Domains,
        Section::Test,
        Section::Logs,
        Section::Destinations,
        Section::Queue,
        Section::Reports,
        Section::Webhooks,
        Section::Keys,
        Section::Users,
    ];

    /// Its name and its address.
    fn link(self) -> (&'static str, &'static str) {
        match self {
            Section::Overview => ("Overview", "/"),
            Section::Domains => ("Domains", "/sending/domains"),
            Section::Test => ("Send a test", "/sending/test"),
            Section::Logs => ("Logs", "/logs"),
            Section::Destinations => ("Destinations", "/destinations"),
            Section::Queue => ("Queue", "/queue"),
            Section::Reports => ("TLS reports", "/reports"),
            Section::Webhooks => ("Webhooks", "/webhooks"),
            Section::Keys => ("API keys", "/keys"),
            Section::Users => ("Users", "/users"),
            Section::Account => ("Account", "/account"),
        }
    }

    /// The heading above it in the menu, where it is the first of a group.
    fn heading(self) -> Option<&'static str> {
        match self {
            Section::Domains => Some("Sending"),
            Section::Logs => Some("Delivery"),
            Section::Keys => Some("Access"),
            _ => None,
        }
    }

    /// Whether it is about more than one domain.
    fn is_for_admins(self) -> bool {
        matches!(self, Section::Webhooks | Section::Keys | Section::Users)
    }
}

/// A page to be shown.
#[derive(Debug)]
pub(super) struct Page<'a> {
    /// Its heading.
    pub(super) title: &'a str,
    /// Where it belongs.
    pub(super) section: Section,
    /// The pages above it: names and addresses.
    pub(super) above: Vec<(String, String)>,
    /// What is in it.
    pub(super) body: Markup,
}

impl<'a> Page<'a> {
    /// A page at the top of its section.
    pub(super) fn new(title: &'a str, section: Section, body: Markup) -> Page<'a> {
        Page { title, section, above: Vec::new(), body }
    }

    /// Below another page.
    pub(super) fn below(mut self, name: impl Into<String>, path: impl Into<String>) -> Page<'a> {
        self.above.push((name.into(), path.into()));
        self
    }
}

impl Viewer {
    /// The page, as this user sees it.
    pub(super) fn show(&self, page: Page<'_>) -> Response {
        let body = html! {
            a.skip href="#content" { "Skip to the content" }
            header.top {
                a.brand href="/" { "Waxwing" }
                div.who {
                    a href="/account" aria-current=[(page.section == Section::Account).then_some("page")] { (self.user.name) }
                    (self.form("/sign-out", html! { button.link type="submit" { "Sign out" } }))
                }
            }
            div.frame {
                nav.menu aria-label="Main" { (menu(self, page.section)) }
                main #content {
                    @if !page.above.is_empty() {
                        nav.above aria-label="Breadcrumb" {
                            @for (name, path) in &page.above { a href=(path) { (name) } span aria-hidden="true" { "›" } }
                        }
                    }
                    h1 { (page.title) }
                    @if let Some(notice) = &self.notice { (self::notice(notice)) }
                    (page.body)
                }
            }
        };
        let mut response = document(StatusCode::OK, page.title, body);
        if self.notice.is_some() {
            drop_notice(&mut response);
        }
        response
    }

    /// A form of this session that is posted to `action`.
    pub(super) fn form(&self, action: &str, fields: Markup) -> Markup {
        html! {
            form method="post" action=(action) {
                input type="hidden" name="csrf" value=(self.csrf);
                (fields)
            }
        }
    }
}

fn menu(viewer: &Viewer, current: Section) -> Markup {
    html! {
        ul {
            @for section in Section::MENU.into_iter().filter(|one| viewer.is_admin() || !one.is_for_admins()) {
                @let (name, path) = section.link();
                @if let Some(heading) = section.heading() { li.heading { (heading) } }
                li { a href=(path) aria-current=[(section == current).then_some("page")] { (name) } }
            }
        }
    }
}

/// What a page says before all else.
pub(super) fn notice(notice: &Notice) -> Markup {
    match notice.is_error {
        true => error(&notice.text),
        false => html! { p.notice.good role="status" { (notice.text) } },
    }
}

/// What went wrong.
pub(super) fn error(text: &str) -> Markup {
    html! { p.notice.bad role="alert" { strong { "Not done. " } (text) } }
}

/// Leads to another page that says so.
pub(super) fn done(path: &str, text: impl Into<String>) -> Response {
    led(path, Notice { is_error: false, text: text.into() })
}

/// Leads to another page that says what went wrong.
pub(super) fn not_done(path: &str, text: impl Into<String>) -> Response {
    led(path, Notice { is_error: true, text: text.into() })
}

fn led(path: &str, notice: Notice) -> Response {
    let mut response = see_other(path);
    leave_notice(&mut response, &notice);
    response
}

/// A page of somebody who is not signed in.
pub(super) fn outside(status: StatusCode, title: &str, body: Markup) -> Response {
    let body = html! {
        main.outside #content {
            p.brand { "Waxwing" }
            h1 { (title) }
            (body)
        }
    };
    document(status, title, body)
}

fn document(status: StatusCode, title: &str, body: Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Waxwing" }
                link rel="icon" href=(assets::ICON.path()) type="image/svg+xml";
                link rel="stylesheet" href=(assets::STYLE.path());
                script src=(assets::SCRIPT.path()) defer {}
            }
            body { (body) }
        }
    };
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (status, headers, page.into_string()).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let title = match self.status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => "Not allowed",
            status if status.is_server_error() => "Not possible now",
            _ => "Not done",
        };
        let body = html! {
            p role="alert" { (self.message) }
            p { a href="/" { "Go to the overview" } }
        };
        outside(self.status, title, body)
    }
}
