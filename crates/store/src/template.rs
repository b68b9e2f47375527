//! Templates of sending domains, and their versions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use smtp::Domain;

use crate::{Store, StoreError, Timestamp};

/// Most templates of one domain.
pub const TEMPLATES_PER_DOMAIN: usize = 1000;
/// Most versions of one template.
pub const VERSIONS_PER_TEMPLATE: usize = 100;

/// A template, without its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Its name, which no other of the domain has.
    pub name: String,
    /// Its name for programs: random.
    pub key: String,
    /// What it is for.
    pub description: String,
    /// Who made it, as they said.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// A template to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTemplate {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Who makes it.
    pub created_by: String,
    /// Its first version, if it has one yet.
    pub version: Option<NewTemplateVersion>,
    /// The time that it is made.
    pub now: Timestamp,
}

/// One version of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateVersion {
    /// Its name, which no other version of the template has.
    pub tag: String,
    /// Its name for programs: random.
    pub key: String,
    /// The text.
    pub source: String,
    /// What is said about it.
    pub comment: String,
    /// Header fields that it presets: texts by name.
    pub headers: Map<String, Value>,
    /// Whether it is the one that is used unless another is named. At most one of a template is.
    pub active: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A version to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTemplateVersion {
    /// Its name.
    pub tag: String,
    /// The text.
    pub source: String,
    /// What is said about it.
    pub comment: String,
    /// Header fields that it presets.
    pub headers: Map<String, Value>,
    /// Whether it becomes the active one; the first of a template does anyway.
    pub active: bool,
    /// The time that it is made.
    pub now: Timestamp,
}

/// What changes of a version; the rest stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TemplateVersionChange {
    /// The text.
    pub source: Option<String>,
    /// What is said about it.
    pub comment: Option<String>,
    /// Header fields that it presets.
    pub headers: Option<Map<String, Value>>,
    /// It becomes the active one.
    pub activate: bool,
}

/// A part of a list in the order of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePage {
    /// From its beginning.
    First,
    /// Up to its end.
    Last,
    /// Behind a name, which need not be there any more.
    After(String),
    /// Before a name.
    Before(String),
}

/// Which template a message was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateUse {
    /// Its name.
    pub name: String,
    /// The tag of the version.
    pub version: String,
    /// Whether the text was made of it too.
    pub is_text: bool,
}

impl Store {
    /// Makes a template; [`StoreError::Conflict`] when there is one of that name, [`StoreError::Invalid`] when there are
    /// [`TEMPLATES_PER_DOMAIN`].
    pub async fn create_template(
        &self,
        domain: &Domain,
        template: NewTemplate,
    ) -> Result<(Template, Option<TemplateVersion>), StoreError> {
        self.engine().create_template(domain, template).await
    }

    /// Templates of a domain, each with its active version.
    pub async fn templates(
        &self,
        domain: &Domain,
        page: NamePage,
        limit: usize,
    ) -> Result<Vec<(Template, Option<TemplateVersion>)>, StoreError> {
        self.engine().templates(domain, page, limit).await
    }

    /// A template with its active version.
    pub async fn template(
        &self,
        domain: &Domain,
        name: &str,
    ) -> Result<Option<(Template, Option<TemplateVersion>)>, StoreError> {
        self.engine().template(domain, name).await
    }

    /// Describes a template anew and says whether there is one.
    pub async fn describe_template(
        &self,
        domain: &Domain,
        name: &str,
        description: String,
    ) -> Result<bool, StoreError> {
        self.engine().describe_template(domain, name, description).await
    }

    /// Deletes a template with its versions, or all of the domain, and says how many that were.
    pub async fn delete_templates(&self, domain: &Domain, name: Option<&str>) -> Result<u64, StoreError> {
        self.engine().delete_templates(domain, name).await
    }

    /// Makes a version; `None` when there is no such template, [`StoreError::Conflict`] when it has one of that tag,
    /// [`StoreError::Invalid`] when it has [`VERSIONS_PER_TEMPLATE`].
    pub async fn create_template_version(
        &self,
        domain: &Domain,
        name: &str,
        version: NewTemplateVersion,
    ) -> Result<Option<(Template, TemplateVersion)>, StoreError> {
        self.engine().create_template_version(domain, name, version).await
    }

    /// Versions of a template.
    pub async fn template_versions(
        &self,
        domain: &Domain,
        name: &str,
        page: NamePage,
        limit: usize,
    ) -> Result<Option<(Template, Vec<TemplateVersion>)>, StoreError> {
        self.engine().template_versions(domain, name, page, limit).await
    }

    /// One version of a template.
    pub async fn template_version(
        &self,
        domain: &Domain,
        name: &str,
        tag: &str,
    ) -> Result<Option<(Template, TemplateVersion)>, StoreError> {
        self.engine().template_version(domain, name, tag).await
    }

    /// Changes a version and says whether there is one.
    pub async fn change_template_version(
        &self,
        domain: &Domain,
        name: &str,
        tag: &str,
        change: TemplateVersionChange,
    ) -> Result<bool, StoreError> {
        self.engine().change_template_version(domain, name, tag, change).await
    }

    /// Deletes a version and says whether there was one.
    pub async fn delete_template_version(&self, domain: &Domain, name: &str, tag: &str) -> Result<bool, StoreError> {
        self.engine().delete_template_version(domain, name, tag).await
    }
}
