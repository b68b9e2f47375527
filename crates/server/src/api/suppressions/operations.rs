//! What can be called about suppression lists: the same six for each.

use std::collections::HashMap;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use store::suppression::SuppressionList;

use super::{clear, create, delete, import_file, list_page, path_of, read};
use crate::api::App;
use crate::api::http::domain::KnownDomain;
use crate::api::limits::{SUPPRESSIONS_PER_PAGE, SUPPRESSIONS_PER_PAGE_DEFAULT};
use crate::api::operation::Operation;
use crate::api::schema::{Schema, any_object, binary, choice, integer, list as list_of, message, named, object, text};

pub(in crate::api) fn operations() -> Vec<Operation> {
    let lists = [
        SuppressionList::Bounces,
        SuppressionList::Unsubscribes,
        SuppressionList::Complaints,
        SuppressionList::Allowlist,
    ];
    lists.into_iter().flat_map(of_list).collect()
}

/// How operations call a list, and one of its entries.
fn names(list: SuppressionList) -> (&'static str, &'static str, &'static str) {
    match list {
        SuppressionList::Bounces => ("Bounces", "Bounce", "addresses that a host said do not exist"),
        SuppressionList::Unsubscribes => ("Unsubscribes", "Unsubscribe", "addresses that unsubscribed"),
        SuppressionList::Complaints => ("Complaints", "Complaint", "addresses that complained"),
        SuppressionList::Allowlist => ("Allowlist", "Allowed", "addresses and domains that bounces do not suppress"),
    }
}

fn of_list(list: SuppressionList) -> [Operation; 6] {
    let (all, one, what) = names(list);
    let path = format!("/v3/{{domain}}/{}", path_of(list));
    let one_path = format!("{path}/{{address}}");
    let address = || text().about("The address, or a domain on the allowlist").example("nobody@example.net");
    let limit = integer().range(1, SUPPRESSIONS_PER_PAGE).default(SUPPRESSIONS_PER_PAGE_DEFAULT);
    let tag = || text().about("Of unsubscribes: from this tag only");
    let get_list = move |app: State<App>, domain: KnownDomain, uri: Uri, headers: HeaderMap| {
        list_page(list, app, domain, uri, headers)
    };
    let get_one = move |app: State<App>, domain: KnownDomain, names: Path<HashMap<String, String>>| {
        read(list, app, domain, names)
    };
    let delete_one = move |app: State<App>, domain: KnownDomain, names: Path<HashMap<String, String>>, uri: Uri| {
        delete(list, app, domain, names, uri)
    };
    let post = move |app: State<App>, domain: KnownDomain, request: Request| create(list, app, domain, request);
    let import = move |app: State<App>, domain: KnownDomain, request: Request| import_file(list, app, domain, request);
    let delete_all = move |app: State<App>, domain: KnownDomain| clear(list, app, domain);
    [
        Operation::get(&path, &format!("list{all}"), get_list)
            .summary(&format!("List {what}"))
            .query("limit", limit.about("At most so many"))
            .query("page", choice(["first", "next", "previous", "last"]))
            .query("address", text().about("Where next and previous start from"))
            .query("term", text().about("Only those that begin with this"))
            .ok("A page, by address", page(all, one, list)),
        Operation::post(&path, &format!("create{one}"), post)
            .summary(&format!("Add to {what}"))
            .about("Or a JSON array of at most 1,000 such objects. All are added, or none.")
            .form(fields(list))
            .ok("Added", any_object()),
        Operation::delete(&path, &format!("clear{all}"), delete_all)
            .summary(&format!("Remove all {what}"))
            .ok("Removed", message()),
        Operation::get(&one_path, &format!("read{one}"), get_one)
            .summary(&format!("Read one of the {what}"))
            .path("address", address())
            .ok("The entry", entry(one, list)),
        Operation::delete(&one_path, &format!("delete{one}"), delete_one)
            .summary(&format!("Remove one of the {what}"))
            .path("address", address())
            .query("tag", tag())
            .ok("Removed", any_object()),
        Operation::post(&format!("{path}/import"), &format!("import{all}"), import)
            .summary(&format!("Add {what} from a CSV file of at most 25 MiB, with a header line"))
            .form([("file", binary().required().example("address\nimported@example.net\n"))])
            .answer_as(202, "Added; it tells of the rows that were not", "application/json", imported()),
    ]
}

fn fields(list: SuppressionList) -> Vec<(&'static str, Schema)> {
    let address = ("address", text().required().example("added@example.net"));
    let created_at = ("created_at", text().about("A date of RFC 2822 or RFC 3339, or Unix seconds"));
    match list {
        SuppressionList::Bounces => vec![address, ("code", text().default("550")), ("error", text()), created_at],
        SuppressionList::Unsubscribes => {
            vec![address, ("tags", list_of(text()).about("From these only; * or none is everything")), created_at]
        }
        SuppressionList::Complaints => vec![address, created_at],
        SuppressionList::Allowlist => vec![
            ("address", text().about("This or domain").example("added@example.net")),
            ("domain", text().about("A domain of recipients")),
            ("reason", text()),
        ],
    }
}

fn entry(name: &str, list: SuppressionList) -> Schema {
    let properties = match list {
        SuppressionList::Bounces => vec!["address", "code", "error", "created_at"],
        SuppressionList::Unsubscribes | SuppressionList::Complaints => vec!["address", "created_at"],
        SuppressionList::Allowlist => vec!["type", "value", "reason", "createdAt"],
    };
    let tags = (list == SuppressionList::Unsubscribes).then(|| ("tags", list_of(text())));
    named(name, object(properties.into_iter().map(|name| (name, text())).chain(tags)))
}

fn page(all: &str, one: &str, list: SuppressionList) -> Schema {
    let links = object(["first", "next", "previous", "last"].map(|name| (name, text())));
    named(&format!("{all}Page"), object([("items", list_of(entry(one, list))), ("paging", links)]))
}

fn imported() -> Schema {
    let error = object([("line", integer()), ("message", text())]);
    let answer =
        object([("message", text()), ("added", integer()), ("rejected", integer()), ("errors", list_of(error))]);
    named("Imported", answer)
}
