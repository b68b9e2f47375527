//! What can be called about templates.

use super::json::{template_schema, version_schema};
use super::{
    copy_version, create, create_version, delete, delete_all, delete_version, list, list_versions, read, read_version,
    update, update_version,
};
use crate::api::limits::{TEMPLATE_COMMENT_OCTETS, TEMPLATES_PER_PAGE, TEMPLATES_PER_PAGE_DEFAULT};
use crate::api::operation::Operation;
use crate::api::schema::{Schema, choice, integer, list as list_of, object, switch, text};

pub(in crate::api) fn operations() -> Vec<Operation> {
    let mut operations = templates();
    operations.extend(versions());
    operations
}

fn templates() -> Vec<Operation> {
    let all = "/v3/{domain}/templates";
    let one = "/v3/{domain}/templates/{name}";
    let name = || text().about("The template's name").example("welcome");
    let named = ("name", text().required().about("Kept in lower case").example("welcome"));
    let about = [("description", comment()), ("createdBy", comment())];
    let described = || object([("message", text()), ("template", template_schema())]);
    vec![
        paged(Operation::get(all, "listTemplates", list))
            .summary("List the templates of a domain, in the order of their names")
            .query("active", switch().about("With the active version of each"))
            .ok("A page of templates", object([("items", list_of(template_schema())), ("paging", paging())])),
        Operation::post(all, "createTemplate", create)
            .summary("Make a template, with a first version if its text is given")
            .form([named].into_iter().chain(about).chain(version_fields()).chain([tag_field()]))
            .ok("Made", described())
            .answer(409, "There is one of that name"),
        Operation::delete(all, "deleteTemplates", delete_all)
            .summary("Delete all templates of a domain")
            .ok("Deleted", object([("message", text())])),
        Operation::get(one, "readTemplate", read)
            .summary("A template")
            .path("name", name())
            .query("active", switch().about("With its active version"))
            .ok("The template", object([("template", template_schema())])),
        Operation::put(one, "updateTemplate", update)
            .summary("Describe a template anew")
            .path("name", name())
            .form([("description", comment())])
            .ok("Changed", described()),
        Operation::delete(one, "deleteTemplate", delete)
            .summary("Delete a template with its versions")
            .path("name", name())
            .ok("Deleted", described()),
    ]
}

fn versions() -> Vec<Operation> {
    let all = "/v3/{domain}/templates/{name}/versions";
    let one = "/v3/{domain}/templates/{name}/versions/{tag}";
    let copy = "/v3/{domain}/templates/{name}/versions/{tag}/copy/{new_tag}";
    let name = || text().about("The template's name").example("welcome");
    let tag = || text().about("The version's tag").example("initial");
    let new_tag = || text().about("The tag of the copy").example("second");
    let text_field = ("template", text().required().about("The text").example("Hello {{name}}"));
    let (key, schema) = tag_field();
    let required_tag = (key, schema.required().example("second"));
    let made = || object([("message", text()), ("template", template_schema()), ("version", version_schema())]);
    let described = || object([("message", text()), ("template", template_schema())]);
    vec![
        paged(Operation::get(all, "listTemplateVersions", list_versions))
            .summary("List the versions of a template, in the order of their tags")
            .path("name", name())
            .ok("A page of versions", object([("template", template_schema()), ("paging", paging())])),
        Operation::post(all, "createTemplateVersion", create_version)
            .summary("Make a version of a template; the first one is active")
            .path("name", name())
            .form(version_fields().filter(|(name, _)| *name != "template").chain([text_field, required_tag]))
            .ok("Made", made())
            .answer(409, "There is one of that tag"),
        Operation::get(one, "readTemplateVersion", read_version)
            .summary("A version of a template, with its text")
            .path("name", name())
            .path("tag", tag())
            .ok("The version", object([("template", template_schema())])),
        Operation::put(one, "updateTemplateVersion", update_version)
            .summary("Change a version of a template; what is not given stays")
            .path("name", name())
            .path("tag", tag())
            .form(version_fields())
            .ok("Changed", described()),
        Operation::delete(one, "deleteTemplateVersion", delete_version)
            .summary("Delete a version of a template")
            .path("name", name())
            .path("tag", tag())
            .ok("Deleted", described()),
        Operation::put(copy, "copyTemplateVersion", copy_version)
            .summary("Copy a version of a template to another tag")
            .path("name", name())
            .path("tag", tag())
            .path("new_tag", new_tag())
            .query("comment", comment())
            .ok("Copied", made())
            .answer(409, "There is one of that tag"),
    ]
}

fn comment() -> Schema {
    text().with("maxLength", TEMPLATE_COMMENT_OCTETS)
}

fn tag_field() -> (&'static str, Schema) {
    ("tag", text().about("The name of the version"))
}

fn version_fields() -> impl Iterator<Item = (&'static str, Schema)> {
    [
        ("template", text().about("The text, in the language of Handlebars")),
        ("comment", comment()),
        ("headers", text().about("A JSON object: From, Subject and Reply-To unless the message has its own")),
        ("engine", choice(["handlebars"])),
        ("active", switch().about("It is the one that is used unless another is named")),
    ]
    .into_iter()
}

fn paged(operation: Operation) -> Operation {
    let limit = integer().range(1, TEMPLATES_PER_PAGE).default(TEMPLATES_PER_PAGE_DEFAULT);
    operation
        .query("page", choice(["first", "last", "next", "previous"]))
        .query("p", text().about("The name that next and previous start from"))
        .query("limit", limit.about("At most so many"))
}

fn paging() -> Schema {
    object([("first", text()), ("last", text()), ("next", text()), ("previous", text())])
}
