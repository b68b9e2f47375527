//! What a look tells to those who read the log: `mta-sts` in `tls-details`.

use serde::Serialize;

use super::{Found, InForce};

/// What was found, for the evidence of an attempt. A field that has no value is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StsEvidence {
    /// The mode of the policy in force; `failed` when one is announced, or may be, and could not be had; `unknown` when
    /// what is kept could not be read.
    pub mode: &'static str,
    /// The policy's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `fetched` or `cached`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// Why the policy, or a newer one, could not be had, as one code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<&'static str>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Found {
    /// The evidence; `None` when the domain has no policy.
    pub fn evidence(&self) -> Option<StsEvidence> {
        let told = |mode| StsEvidence { mode, id: None, source: None, failure: None, detail: None };
        let mut evidence = match self {
            Found::NoPolicy => return None,
            Found::Policy(InForce { cached, origin, .. }) => StsEvidence {
                id: Some(cached.id.to_string()),
                source: Some(origin.code()),
                ..told(cached.policy.mode.as_str())
            },
            Found::Failed { .. } => told("failed"),
            Found::Unknown { detail } => StsEvidence { detail: Some(detail.clone()), ..told("unknown") },
        };
        if let Some((reason, detail)) = self.failure() {
            (evidence.failure, evidence.detail) = (Some(reason), Some(detail.to_owned()));
        }
        Some(evidence)
    }
}
