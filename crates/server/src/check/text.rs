//! What was found, for people: at most [`WIDTH`] columns, words before codes.

use std::fmt::{self, Display};

use policy::tls::TlsTag;

use super::{AtHost, Check, HostFound, ReportingFound, Setting, TlsFound, words};
use crate::text::Sheet;

/// Where the text of a line begins.
const LABEL: usize = 16;
/// Where the text of a row of settings begins: after the two switches.
const SWITCHES: usize = 32;

impl Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sheet = Sheet::default();
        sheet.line(0, 0, "", &self.domain);
        sheet.blank();
        self.write_domain(&mut sheet);
        for host in &self.hosts {
            sheet.blank();
            write_host(&mut sheet, host, self.dnssec.mode != "off", self.mta_sts.is_some());
        }
        for step in &self.skipped {
            sheet.blank();
            let address = step.address.map(|address| format!(" [{address}]")).unwrap_or_default();
            sheet.line(2, 0, "", &format!("{}{address}", step.host));
            let code = step.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            sheet.line(4, LABEL, "passed over", &format!("{}{code}", step.detail));
        }
        sheet.blank();
        write_heading(&mut sheet, 2, "a message");
        for outlook in &self.settings {
            sheet.line(2, SWITCHES, &label(outlook.setting), &outlook.explanation);
        }
        f.write_str(sheet.as_str())
    }
}

impl Check {
    fn write_domain(&self, sheet: &mut Sheet) {
        if let Some(route) = &self.route {
            let demand = words::demand(route.tls, &[policy::tls::Demander::Route], &[]);
            sheet.line(2, LABEL, "route", &format!("by a configured route to {}; {demand}", route.host));
        }
        let mx = match (self.dnssec.mx, &self.dnssec.mx_detail) {
            (Some(word), Some(detail)) => format!("; the MX records are {}: {detail}", words::security(word)),
            (Some(word), None) if self.dnssec.mode != "off" => {
                format!("; the MX answer is {}", words::security(word))
            }
            _ => String::new(),
        };
        sheet.line(2, LABEL, "DNSSEC", &format!("{}{mx}", self.dnssec.status));
        sheet.line(2, LABEL, "MTA-STS", &self.mta_sts_in_words());
        match &self.tls_reporting {
            Some(reporting) => write_reporting(sheet, reporting),
            None => sheet.line(2, LABEL, "TLS reports", "not looked for: a route leads there"),
        }
        if let Some(problem) = &self.problem {
            let code = problem.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            sheet.line(2, LABEL, "no host", &format!("{}{code}", problem.message));
        }
    }

    fn mta_sts_in_words(&self) -> String {
        let Some(policy) = &self.mta_sts else {
            return match self.route {
                Some(_) => "not looked for: a route leads there".to_owned(),
                None => "no policy".to_owned(),
            };
        };
        let meaning = match policy.mode {
            "enforce" => "only the hosts that the policy names, and verified TLS with them",
            "testing" => "a policy that demands nothing yet",
            "none" => "a policy that demands nothing",
            "failed" => "a policy is announced and cannot be had, so nothing is demanded",
            _ => "whether there is a policy is not known",
        };
        let id = policy.id.as_ref().map(|id| format!(", id {id}")).unwrap_or_default();
        let failure = match (&policy.detail, policy.failure) {
            (Some(detail), Some(code)) => format!(": {detail} ({code})"),
            (Some(detail), None) => format!(": {detail}"),
            (None, _) => String::new(),
        };
        format!("{meaning} ({}{id}){failure}", policy.mode)
    }
}

fn write_reporting(sheet: &mut Sheet, reporting: &ReportingFound) {
    let ReportingFound { state, destinations, detail, records } = reporting;
    match detail {
        None => sheet.line(2, LABEL, "TLS reports", &format!("go to {}", destinations.join(", "))),
        Some(detail) => sheet.line(2, LABEL, "TLS reports", &format!("go nowhere: {detail} ({state})")),
    }
    for record in records {
        sheet.line(2, LABEL, "", &format!("instead of one: \"{record}\""));
    }
}

fn write_host(sheet: &mut Sheet, host: &HostFound, is_secured: bool, has_policy: bool) {
    sheet.line(2, 0, "", &format!("{} [{}]", host.mx_host, host.address));
    if let Some(word) = host.dnssec.filter(|_| is_secured) {
        sheet.line(4, LABEL, "addresses", words::security(word));
    }
    sheet.line(4, LABEL, "DANE", &host.dane_in_words);
    match host.mta_sts {
        Some(true) => sheet.line(4, LABEL, "MTA-STS", "the policy names it"),
        Some(false) => sheet.line(4, LABEL, "MTA-STS", "the policy does not name it"),
        None if has_policy => sheet.line(4, LABEL, "MTA-STS", "there is no policy to name it"),
        None => {}
    }
    match (&host.tls, &host.problem) {
        (Some(tls), _) => write_tls(sheet, tls),
        (None, Some(problem)) => sheet.line(4, LABEL, "out of reach", &problem.message),
        (None, None) => sheet.line(4, LABEL, "TLS", &format!("none: {} ({})", host.detail, host.state)),
    }
    if host.problem.is_none() {
        sheet.line(4, LABEL, "REQUIRETLS", requiretls(host));
    }
    write_heading(sheet, 4, "demanded, and so");
    for AtHost { setting, demanded, demanded_by, lifted, outcome, explanation } in &host.settings {
        let demand = words::demand(*demanded, demanded_by, lifted);
        let so = match *outcome {
            "left" => format!("left, since {explanation}"),
            "skipped" => format!("skipped: {explanation}"),
            "out-of-reach" => "out of reach".to_owned(),
            _ => explanation.clone(),
        };
        sheet.line(4, SWITCHES, &label(*setting), &format!("{demand}: {so}"));
    }
}

fn requiretls(host: &HostFound) -> &'static str {
    match (host.requiretls, host.authentic) {
        (Some(true), true) => "offered within TLS, and this is the domain's host for certain",
        (Some(true), false) => "offered within TLS, but neither DNSSEC nor MTA-STS says that this is the domain's host",
        (Some(false), _) => "not offered within TLS",
        (None, _) => "not offered: there is no TLS",
    }
}

/// How a handshake went.
fn write_tls(sheet: &mut Sheet, tls: &TlsFound) {
    sheet.line(4, LABEL, "TLS", &format!("{}, {}, {}", tls.version, tls.cipher, tls.key_exchange));
    let verdict = tls.verification_detail.as_deref().unwrap_or("valid by certificate authorities");
    sheet.line(4, LABEL, "certificate", &format!("{verdict} ({})", tls.verification));
    if let Some(certificate) = &tls.certificate {
        sheet.line(4, LABEL, "", &format!("{}, issued by {}", certificate.subject, certificate.issuer));
        sheet.line(4, LABEL, "", &format!("for {}", certificate.sans.join(", ")));
        sheet.line(4, LABEL, "", &format!("from {} to {}", certificate.not_before, certificate.not_after));
    }
}

fn write_heading(sheet: &mut Sheet, indent: usize, what: &str) {
    sheet.line(indent, SWITCHES, "require_tls  skip_verification", what);
}

/// The two switches, or the option that says the rest.
fn label(setting: Setting) -> String {
    match setting.tls_tag {
        TlsTag::None => format!("{:<11}  {}", setting.require_tls, setting.skip_verification),
        TlsTag::Requiretls => "o:tls-end-to-end (REQUIRETLS)".to_owned(),
        TlsTag::NotRequired => "o:tls-required=no".to_owned(),
    }
}
