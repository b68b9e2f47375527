//! Who sends: API keys, sending domains and their published records, reports about TLS.

use delivery::resolve::Dns;
use policy::mx::MxAnswer;
use smtp::Domain;
use store::inspect::{Inspection, Signing};
use tokio::task::JoinSet;

use super::Point;
use crate::config::Config;
use crate::tlsrpt;

pub(super) async fn keys_and_domains(store: Option<&Inspection>, dns: Option<&Dns>) -> Vec<Point> {
    let Some(store) = store else { return Vec::new() };
    let mut points = vec![match store.keys {
        0 => Point::warning("API keys", "there is none", "`waxwing key add` makes one, and so does the next start"),
        count => Point::ok("API keys", count.to_string()),
    }];
    if store.domains == 0 {
        let advice = "nothing can be sent: `waxwing domain add NAME`";
        points.push(Point::warning("sending domains", "there is none", advice));
        return points;
    }
    let Some(dns) = dns else {
        let finding = format!("{}, not looked up", store.domains);
        points.push(Point::warning("sending domains", finding, "mend the resolver first"));
        return points;
    };
    // All at once: there are at most `DOMAINS_SHOWN`.
    let mut looks = JoinSet::new();
    for (number, name) in store.first_domains.iter().enumerate() {
        let keys: Vec<Signing> = store.signing.iter().filter(|key| key.domain == *name).cloned().collect();
        let (dns, name) = (dns.clone(), name.clone());
        looks.spawn(async move { (number, domain(&dns, &name, &keys).await) });
    }
    let mut found = looks.join_all().await;
    found.sort_by_key(|(number, _)| *number);
    points.extend(found.into_iter().map(|(_, point)| point));
    let more = store.domains.saturating_sub(store.first_domains.len() as u64);
    if more > 0 {
        points.push(Point::ok("sending domains", format!("{more} more, not looked at")));
    }
    points
}

/// Whether a sending domain is one that receivers believe in.
async fn domain(dns: &Dns, name: &Domain, keys: &[Signing]) -> Point {
    let about = format!("domain {name}");
    match dns.mx(name).await {
        Ok(MxAnswer::NoSuchDomain) => {
            let advice = "receivers refuse mail from it: is it spelt right, is it registered?";
            return Point::warning(about, "it does not exist in the DNS", advice);
        }
        Ok(MxAnswer::NoRecords) if dns.addresses(name).await.is_ok_and(|addresses| addresses.is_empty()) => {
            let advice = "replies to it and many receivers' checks fail: publish MX records";
            return Point::warning(about, "it has neither MX records nor an address", advice);
        }
        Ok(_) => {}
        Err(error) => return Point::warning(about, error.to_string(), "receivers will not find it either"),
    }
    for key in keys {
        let record_name = format!("{}._domainkey.{name}", key.selector);
        let advice = format!("signatures do not count before it is there: `waxwing domain dkim list {name}` shows it");
        if let Some(point) = unpublished(dns, &about, &record_name, &key.record, advice).await {
            return point;
        }
    }
    Point::ok(
        about,
        match keys.len() {
            0 => "exists; its mail is not signed (DKIM)".to_owned(),
            1 => "exists; its DKIM key is published".to_owned(),
            count => format!("exists; its {count} DKIM keys are published"),
        },
    )
}

/// What is wrong with a published DKIM record; `None` when it has the key.
async fn unpublished(dns: &Dns, about: &str, record_name: &str, record: &str, advice: String) -> Option<Point> {
    let wanted = public_key(record);
    let name: Domain = match record_name.parse() {
        Ok(name) => name,
        Err(_) => return Some(Point::problem(about, format!("{record_name} is no name"), "choose a shorter selector")),
    };
    match dns.txt(&name).await {
        Ok(found) if found.iter().any(|found| public_key(&String::from_utf8_lossy(found)) == wanted) => None,
        Ok(found) if found.is_empty() => Some(Point::warning(about, format!("no TXT record at {name}"), advice)),
        Ok(_) => Some(Point::warning(about, format!("another key at {name}"), advice)),
        Err(error) => Some(Point::warning(about, error.to_string(), advice)),
    }
}

/// The `p=` of a DKIM record (RFC 6376 §3.6.1). White space in it has no meaning.
fn public_key(record: &str) -> Option<String> {
    let value = record.split(';').find_map(|tag| {
        let (name, value) = tag.split_once('=')?;
        (name.trim() == "p").then_some(value)
    })?;
    Some(value.split_whitespace().collect())
}

pub(super) async fn reports(config: &Config, dns: Option<&Dns>) -> Point {
    let about = "TLS reports";
    let settings = match tlsrpt::Settings::of(config) {
        Ok(Some(settings)) => settings,
        Ok(None) => return Point::ok(about, "none are sent (tls_report_from is not set)"),
        Err(error) => return Point::problem(about, error.to_string(), "the server does not start with it"),
    };
    let Some((name, record)) = settings.record() else {
        let advice = "most domains want mail: set tls_report_dkim_selector and tls_report_dkim_key";
        return Point::warning(about, "sent by HTTPS only", advice);
    };
    let unpublished = match dns {
        Some(dns) => {
            let advice = format!("reports by mail do not count before it is published: {record}");
            unpublished(dns, about, &name, &record, advice).await
        }
        None => Some(Point::warning(about, format!("{name} is not looked up"), "mend the resolver first")),
    };
    unpublished.unwrap_or_else(|| Point::ok(about, "sent by HTTPS and by signed mail; the DKIM key is published"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_found_in_its_record() {
        let expected = Some("AbC=".to_owned());
        for record in ["v=DKIM1; k=rsa; p=AbC=", "v=DKIM1;p= A bC= ; t=s", "p=AbC="] {
            assert_eq!(public_key(record), expected, "{record}");
        }
        assert_eq!(public_key("v=DKIM1; k=rsa; sp=AbC="), None);
    }
}
