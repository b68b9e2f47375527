//! Templates and their versions. They go with their domain.

use rusqlite::params;
use smtp::Domain;

use super::Engine;
use super::message::random_text;
use super::row::{damaged, from_json, get, number, time, to_json};
use super::sql::{Connection, OptionalExtension, Row};
use super::writer::Writing;
use crate::StoreError;
use crate::template::{
    NamePage, NewTemplate, NewTemplateVersion, TEMPLATES_PER_DOMAIN, Template, TemplateVersion, TemplateVersionChange,
    VERSIONS_PER_TEMPLATE,
};

/// `message.template`: which one the message was made of, as JSON.
pub(super) const TABLES: &str = "
CREATE TABLE template (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    domain TEXT NOT NULL REFERENCES domain (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    description TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (domain, name)
) STRICT;
CREATE TABLE template_version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    template INTEGER NOT NULL REFERENCES template (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    key TEXT NOT NULL,
    source TEXT NOT NULL,
    comment TEXT NOT NULL,
    headers TEXT NOT NULL,
    active INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (template, tag)
) STRICT;
CREATE UNIQUE INDEX template_version_active ON template_version (template) WHERE active = 1;
ALTER TABLE message ADD COLUMN template TEXT;
";

const INSERT: &str = "
    INSERT INTO template (domain, name, key, description, created_by, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const COUNT: &str = "SELECT count(*) FROM template WHERE domain = ?1";
const SELECT: &str = "SELECT * FROM template WHERE domain = ?1 AND name = ?2";
const DESCRIBE: &str = "UPDATE template SET description = ?3 WHERE domain = ?1 AND name = ?2";
const DELETE: &str = "DELETE FROM template WHERE domain = ?1 AND (name = ?2 OR ?2 IS NULL)";

const INSERT_VERSION: &str = "
    INSERT INTO template_version (template, tag, key, source, comment, headers, active, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)";
const COUNT_VERSIONS: &str = "SELECT count(*) FROM template_version WHERE template = ?1";
const SELECT_VERSION: &str = "SELECT * FROM template_version WHERE template = ?1 AND tag = ?2";
const SELECT_ACTIVE: &str = "SELECT * FROM template_version WHERE template = ?1 AND active = 1";
const CHANGE_VERSION: &str = "
    UPDATE template_version
    SET source = coalesce(?2, source), comment = coalesce(?3, comment), headers = coalesce(?4, headers)
    WHERE id = ?1";
const DEACTIVATE: &str = "UPDATE template_version SET active = 0 WHERE template = ?1 AND active = 1";
const ACTIVATE: &str = "UPDATE template_version SET active = 1 WHERE id = ?1";
const DELETE_VERSION: &str = "DELETE FROM template_version WHERE id = ?1";

/// Of both lists, which are alike: the table, what it belongs to, its name.
const TEMPLATES: [&str; 3] = ["template", "domain", "name"];
const VERSIONS: [&str; 3] = ["template_version", "template", "tag"];

impl Engine {
    pub(crate) async fn create_template(
        &self,
        domain: &Domain,
        new: NewTemplate,
    ) -> Result<(Template, Option<TemplateVersion>), StoreError> {
        let domain = domain.clone();
        let octets = new.version.as_ref().map_or(0, |version| version.source.len());
        self.writer.run(octets, move |writing| create(writing, &domain, &new)).await
    }

    pub(crate) async fn templates(
        &self,
        domain: &Domain,
        page: NamePage,
        limit: usize,
    ) -> Result<Vec<(Template, Option<TemplateVersion>)>, StoreError> {
        let domain = domain.clone();
        let work = move |connection: &Connection| {
            let found = list(connection, TEMPLATES, &domain.as_str(), &page, limit, Found::read)?;
            found.into_iter().map(|found| found.with_active(connection)).collect()
        };
        self.readers.run(work).await
    }

    pub(crate) async fn template(
        &self,
        domain: &Domain,
        name: &str,
    ) -> Result<Option<(Template, Option<TemplateVersion>)>, StoreError> {
        let (domain, name) = (domain.clone(), name.to_owned());
        let work = move |connection: &Connection| {
            find(connection, &domain, &name)?.map(|found| found.with_active(connection)).transpose()
        };
        self.readers.run(work).await
    }

    pub(crate) async fn describe_template(
        &self,
        domain: &Domain,
        name: &str,
        description: String,
    ) -> Result<bool, StoreError> {
        let (domain, name) = (domain.clone(), name.to_owned());
        let work = move |writing: &Writing<'_>| {
            let mut update = writing.connection.prepare_cached(DESCRIBE)?;
            Ok(update.execute(params![domain.as_str(), name, description])? > 0)
        };
        self.writer.run(0, work).await
    }

    pub(crate) async fn delete_templates(&self, domain: &Domain, name: Option<&str>) -> Result<u64, StoreError> {
        let (domain, name) = (domain.clone(), name.map(str::to_owned));
        let work = move |writing: &Writing<'_>| {
            Ok(writing.connection.prepare_cached(DELETE)?.execute(params![domain.as_str(), name])? as u64)
        };
        self.writer.run(0, work).await
    }

    pub(crate) async fn create_template_version(
        &self,
        domain: &Domain,
        name: &str,
        version: NewTemplateVersion,
    ) -> Result<Option<(Template, TemplateVersion)>, StoreError> {
        let (domain, name) = (domain.clone(), name.to_owned());
        let work = move |writing: &Writing<'_>| {
            let Some(found) = find(writing.connection, &domain, &name)? else { return Ok(None) };
            Ok(Some((found.template, insert_version(writing, found.id, &version)?)))
        };
        self.writer.run(0, work).await
    }

    pub(crate) async fn template_versions(
        &self,
        domain: &Domain,
        name: &str,
        page: NamePage,
        limit: usize,
    ) -> Result<Option<(Template, Vec<TemplateVersion>)>, StoreError> {
        let (domain, name) = (domain.clone(), name.to_owned());
        let work = move |connection: &Connection| {
            let Some(found) = find(connection, &domain, &name)? else { return Ok(None) };
            Ok(Some((found.template, list(connection, VERSIONS, &found.id, &page, limit, version)?)))
        };
        self.readers.run(work).await
    }

    pub(crate) async fn template_version(
        &self,
        domain: &Domain,
        name: &str,
        tag: &str,
    ) -> Result<Option<(Template, TemplateVersion)>, StoreError> {
        let (domain, name, tag) = (domain.clone(), name.to_owned(), tag.to_owned());
        let work = move |connection: &Connection| {
            let Some(found) = find(connection, &domain, &name)? else { return Ok(None) };
            Ok(find_version(connection, found.id, &tag)?.map(|(_, version)| (found.template, version)))
        };
        self.readers.run(work).await
    }

    pub(crate) async fn change_template_version(
        &self,
        domain: &Domain,
        name: &str,
        tag: &str,
        change: TemplateVersionChange,
    ) -> Result<bool, StoreError> {
        let (domain, name, tag) = (domain.clone(), name.to_owned(), tag.to_owned());
        let octets = change.source.as_ref().map_or(0, String::len);
        let work = move |writing: &Writing<'_>| {
            let connection = writing.connection;
            let Some(found) = find(connection, &domain, &name)? else { return Ok(false) };
            let Some((id, _)) = find_version(connection, found.id, &tag)? else { return Ok(false) };
            let headers = change.headers.as_ref().map(to_json).transpose()?;
            let values = params![id, change.source, change.comment, headers];
            connection.prepare_cached(CHANGE_VERSION)?.execute(values)?;
            if change.activate {
                activate(connection, found.id, id)?;
            }
            Ok(true)
        };
        self.writer.run(octets, work).await
    }

    pub(crate) async fn delete_template_version(
        &self,
        domain: &Domain,
        name: &str,
        tag: &str,
    ) -> Result<bool, StoreError> {
        let (domain, name, tag) = (domain.clone(), name.to_owned(), tag.to_owned());
        let work = move |writing: &Writing<'_>| {
            let Some(found) = find(writing.connection, &domain, &name)? else { return Ok(false) };
            let Some((id, _)) = find_version(writing.connection, found.id, &tag)? else { return Ok(false) };
            writing.connection.prepare_cached(DELETE_VERSION)?.execute([id])?;
            Ok(true)
        };
        self.writer.run(0, work).await
    }
}

/// A template as it was found.
struct Found {
    id: i64,
    template: Template,
}

impl Found {
    fn read(row: Row<'_>) -> Result<Found, StoreError> {
        let template = Template {
            name: get(row, "name")?,
            key: get(row, "key")?,
            description: get(row, "description")?,
            created_by: get(row, "created_by")?,
            created_at: time(row, "created_at")?,
        };
        Ok(Found { id: get(row, "id")?, template })
    }

    fn with_active(self, connection: &Connection) -> Result<(Template, Option<TemplateVersion>), StoreError> {
        let mut select = connection.prepare_cached(SELECT_ACTIVE)?;
        let active = select.query_row([self.id], |row| Ok(version(row))).optional()?.transpose()?;
        Ok((self.template, active))
    }
}

fn version(row: Row<'_>) -> Result<TemplateVersion, StoreError> {
    Ok(TemplateVersion {
        tag: get(row, "tag")?,
        key: get(row, "key")?,
        source: get(row, "source")?,
        comment: get(row, "comment")?,
        headers: from_json(row, "headers")?,
        active: get(row, "active")?,
        created_at: time(row, "created_at")?,
    })
}

fn find(connection: &Connection, domain: &Domain, name: &str) -> Result<Option<Found>, StoreError> {
    let mut select = connection.prepare_cached(SELECT)?;
    select.query_row(params![domain.as_str(), name], |row| Ok(Found::read(row))).optional()?.transpose()
}

fn find_version(
    connection: &Connection,
    template: i64,
    tag: &str,
) -> Result<Option<(i64, TemplateVersion)>, StoreError> {
    let mut select = connection.prepare_cached(SELECT_VERSION)?;
    let found =
        select.query_row(params![template, tag], |row| Ok(get(row, "id").and_then(|id| Ok((id, version(row)?)))));
    found.optional()?.transpose()
}

/// A page of a list, in the order of names, whichever end it was read from.
fn list<T>(
    connection: &Connection,
    [table, owner_column, name]: [&str; 3],
    owner: &dyn rusqlite::ToSql,
    page: &NamePage,
    limit: usize,
    read: fn(Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let (condition, order, pivot) = match page {
        NamePage::First => ("", "ASC", ""),
        NamePage::Last => ("", "DESC", ""),
        NamePage::After(pivot) => ("AND {name} > ?2", "ASC", pivot.as_str()),
        NamePage::Before(pivot) => ("AND {name} < ?2", "DESC", pivot.as_str()),
    };
    let condition = condition.replace("{name}", name);
    let sql = format!(
        "SELECT * FROM {table} WHERE {owner_column} = ?1 AND coalesce(?2, '') IS NOT NULL {condition} ORDER BY {name} {order} LIMIT ?3"
    );
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params![owner, pivot, number(limit as u64)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    if order == "DESC" {
        found.reverse();
    }
    Ok(found)
}

fn create(
    writing: &Writing<'_>,
    domain: &Domain,
    new: &NewTemplate,
) -> Result<(Template, Option<TemplateVersion>), StoreError> {
    let connection = writing.connection;
    let count: i64 = connection.prepare_cached(COUNT)?.query_row([domain.as_str()], |row| row.get(0))?;
    if count >= number(TEMPLATES_PER_DOMAIN as u64) {
        return Err(StoreError::Invalid(format!("a domain has at most {TEMPLATES_PER_DOMAIN} templates")));
    }
    let created_at = new.now.as_micros();
    let values = params![domain.as_str(), new.name, random_text(), new.description, new.created_by, created_at];
    match connection.prepare_cached(INSERT)?.execute(values) {
        Err(error) if error.is_duplicate() => return Err(StoreError::Conflict(format!("the template {}", new.name))),
        inserted => inserted?,
    };
    let found = find(connection, domain, &new.name)?.ok_or_else(|| damaged("template"))?;
    let version = new.version.as_ref().map(|version| insert_version(writing, found.id, version)).transpose()?;
    Ok((found.template, version))
}

/// Writes a version. The first one of a template is active.
fn insert_version(
    writing: &Writing<'_>,
    template: i64,
    new: &NewTemplateVersion,
) -> Result<TemplateVersion, StoreError> {
    let connection = writing.connection;
    let count: i64 = connection.prepare_cached(COUNT_VERSIONS)?.query_row([template], |row| row.get(0))?;
    if count >= number(VERSIONS_PER_TEMPLATE as u64) {
        return Err(StoreError::Invalid(format!("a template has at most {VERSIONS_PER_TEMPLATE} versions")));
    }
    let headers = to_json(&new.headers)?;
    let values = params![template, new.tag, random_text(), new.source, new.comment, headers, new.now.as_micros()];
    let version = match connection.insert(INSERT_VERSION, values) {
        Err(error) if error.is_duplicate() => return Err(StoreError::Conflict(format!("the version {}", new.tag))),
        inserted => inserted?,
    };
    if new.active || count == 0 {
        activate(connection, template, version)?;
    }
    find_version(connection, template, &new.tag)?.map(|(_, version)| version).ok_or_else(|| damaged("template"))
}

/// In two steps: the index allows one active version at any moment.
fn activate(connection: &Connection, template: i64, version: i64) -> Result<(), StoreError> {
    connection.prepare_cached(DEACTIVATE)?.execute([template])?;
    connection.prepare_cached(ACTIVATE)?.execute([version])?;
    Ok(())
}
