//! The DNS records of sending domains: which there should be, and how they stand in the real DNS.
//!
//! What answers mean is decided in [`policy::sending_dns`]. A domain that is not verified may still send: this server is
//! its owner's own.

mod spf;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use delivery::resolve::Dns;
use policy::mx::MxAnswer;
use policy::sending_dns::{Finding, Purpose, Validity, dkim, dmarc, mta_sts, tls_reports, verified};
use policy::tlsrpt::Destination;
use serde_json::{Value, json};
use smtp::Domain;
use store::dkim::{DKIM_KEYS_PER_DOMAIN, DkimKey, DkimKeyQuery};
use store::dns_check::DnsCheck;
use store::{Store, StoreError, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{Config, EhloName};
use crate::inbound::host_of;

/// Domains that are looked at at the same time; who comes then waits.
const AT_ONCE: usize = 4;
/// How long a look at all records of a domain may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer of the DNS that is kept and shown, in characters.
const SHOWN: usize = 2048;
/// Most records of one name that are shown.
const RECORDS_SHOWN: usize = 10;

/// A record that there should be, and how it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) purpose: Purpose,
    pub(crate) name: String,
    /// `TXT` or `MX`.
    pub(crate) kind: &'static str,
    /// What to publish; where several would do, one of them.
    pub(crate) value: String,
    /// Whether anything hangs on it: of keys, whether it signs.
    pub(crate) is_active: bool,
    pub(crate) finding: Finding,
    /// What is published.
    pub(crate) found: Vec<String>,
}

/// How the records of a domain stand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Records {
    pub(crate) records: Vec<Record>,
    /// When they were looked for; `None` was never.
    pub(crate) checked_at: Option<Timestamp>,
}

/// Knows which records there should be, and looks for them.
#[derive(Clone)]
pub struct SendingDns {
    dns: Dns,
    ehlo_name: EhloName,
    source_addresses: Vec<IpAddr>,
    /// Whether this server receives failure reports.
    bounces: bool,
    /// Where others reach this server by `https`, to report about TLS.
    reports_url: Option<String>,
    slots: Arc<Semaphore>,
}

impl std::fmt::Debug for SendingDns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendingDns").field("ehlo_name", &self.ehlo_name).finish_non_exhaustive()
    }
}

impl SendingDns {
    /// For the server that `config` describes, as `dns` sees the world.
    pub fn of(config: &Config, dns: Dns) -> SendingDns {
        // A private source is another one to receivers; which one, the host name tells.
        let is_public = |address: &IpAddr| policy::mx::may_reach(*address, false, &[]).is_ok();
        SendingDns {
            dns,
            ehlo_name: config.ehlo_name.clone(),
            source_addresses: config.source_addresses.iter().copied().filter(is_public).collect(),
            bounces: config.bounce_listen.is_some(),
            reports_url: config
                .public_url
                .as_ref()
                .filter(|url| url.scheme() == "https")
                .map(|url| format!("{}/v1/tls/reports/upload", url.as_str().trim_end_matches('/'))),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// The records of a domain, each as it stood when it was last looked for.
    pub(crate) async fn known(&self, store: &Store, domain: &Domain) -> Result<Records, StoreError> {
        let mut records = self.expected(store, domain).await?;
        let last = store.dns_check(domain).await?;
        let kept = last.as_ref().and_then(|last| last.found.as_array()).map(Vec::as_slice).unwrap_or_default();
        for record in &mut records {
            if let Some(kept) = kept.iter().find(|kept| is_about(kept, record)) {
                record.take(kept);
            }
        }
        Ok(Records { records, checked_at: last.map(|last| last.checked_at) })
    }

    /// Looks for the records of a domain in the DNS, and keeps what came of it.
    pub(crate) async fn verify(&self, store: &Store, domain: &Domain) -> Result<Records, StoreError> {
        // What waits for its record signs from now on if it is there, and is looked for like every key that does.
        crate::rotation::advance(store, self, Some(domain)).await?;
        let _slot = self.slots.acquire().await;
        let expected = self.expected(store, domain).await?;
        let records = self.look_for_all(domain, expected).await;
        let checked_at = Timestamp::now();
        // A key that does not sign yet may not be published yet.
        let counted = records.iter().filter(|record| record.is_active).map(|record| (record.purpose, &record.finding));
        let check =
            DnsCheck { checked_at, verified: verified(counted), found: records.iter().map(Record::to_kept).collect() };
        store.put_dns_check(domain, check).await?;
        Ok(Records { records, checked_at: Some(checked_at) })
    }

    /// The questions go out side by side, and what is not known in time is unknown.
    async fn look_for_all(&self, domain: &Domain, expected: Vec<Record>) -> Vec<Record> {
        let mut looks = JoinSet::new();
        for (index, record) in expected.iter().cloned().enumerate() {
            let (this, domain) = (self.clone(), domain.clone());
            looks.spawn(async move { (index, this.look(&domain, record).await) });
        }
        let late = |record: Record| record.told(Finding::unknown("no answer in time"), vec![]);
        let mut records: Vec<_> = expected.into_iter().map(late).collect();
        let _ = timeout(PATIENCE, async {
            while let Some(looked) = looks.join_next().await {
                if let Ok((index, record)) = looked {
                    records[index] = record;
                }
            }
        })
        .await;
        records
    }

    async fn expected(&self, store: &Store, domain: &Domain) -> Result<Vec<Record>, StoreError> {
        let query =
            DkimKeyQuery { domain: Some(domain.clone()), limit: DKIM_KEYS_PER_DOMAIN, ..DkimKeyQuery::default() };
        let (_, keys) = store.dkim_keys(query).await?;
        let txt = |purpose, name: String, value| Record::new(purpose, name, "TXT", value);
        let mut records = vec![txt(Purpose::Spf, domain.to_string(), self.spf_record())];
        records.extend(keys.iter().map(of_key));
        records.push(txt(Purpose::Dmarc, format!("_dmarc.{domain}"), "v=DMARC1; p=none".to_owned()));
        let host = "any host that takes mail for the domain".to_owned();
        records.push(Record::new(Purpose::ReturnPath, domain.to_string(), "MX", host));
        records.extend(self.of_bounces(domain).into_iter().flat_map(|(_, records)| records));
        if let Some(url) = &self.reports_url {
            records.push(txt(Purpose::TlsReports, format!("_smtp._tls.{domain}"), format!("v=TLSRPTv1; rua={url}")));
        }
        // Any id does; it changes when the policy does.
        records.push(txt(Purpose::MtaSts, format!("_mta-sts.{domain}"), "v=STSv1; id=1".to_owned()));
        Ok(records)
    }

    /// The host where failure reports about a domain's mail would come back, and the records that this takes: its MX is
    /// this server, and its SPF record lets this server send, since receivers ask the return path for it.
    fn of_bounces(&self, domain: &Domain) -> Option<(Domain, [Record; 2])> {
        let EhloName::Name(ours) = &self.ehlo_name else { return None };
        let host = host_of(domain).filter(|_| self.bounces)?;
        let mx = Record::new(Purpose::Bounces, host.to_string(), "MX", format!("10 {ours}."));
        let spf = Record::new(Purpose::Bounces, host.to_string(), "TXT", self.spf_record());
        Some((host, [mx, spf]))
    }

    /// That host, if all its records were there when they were last looked for.
    pub(crate) async fn bounce_host_in_force(
        &self,
        store: &Store,
        domain: &Domain,
    ) -> Result<Option<Domain>, StoreError> {
        let Some((host, records)) = self.of_bounces(domain) else { return Ok(None) };
        let Some(last) = store.dns_check(domain).await? else { return Ok(None) };
        let kept = last.found.as_array().map(Vec::as_slice).unwrap_or_default();
        let is_there = |record: &Record| {
            kept.iter().any(|kept| is_about(kept, record) && kept["validity"] == Validity::Valid.as_str())
        };
        Ok(Some(host).filter(|_| records.iter().all(is_there)))
    }

    /// The record for a domain that sends by this server alone; a domain that has one adds the middle of it.
    fn spf_record(&self) -> String {
        let term = |address: &IpAddr| match address {
            IpAddr::V4(address) => format!("ip4:{address}"),
            IpAddr::V6(address) => format!("ip6:{address}"),
        };
        let terms = match &self.ehlo_name {
            _ if !self.source_addresses.is_empty() => {
                self.source_addresses.iter().map(term).collect::<Vec<_>>().join(" ")
            }
            EhloName::Name(name) => format!("a:{name}"),
            EhloName::Literal(address) => term(address),
        };
        format!("v=spf1 {terms} ~all")
    }

    async fn look(&self, domain: &Domain, record: Record) -> Record {
        match record.purpose {
            Purpose::Spf => self.look_for_spf(domain, record).await,
            Purpose::Dkim => {
                let found = self.texts(&record.name).await;
                let finding = dkim(&record.value, found.as_deref().map_err(String::as_str));
                record.told(finding, shown(&found.unwrap_or_default()))
            }
            Purpose::Dmarc => self.look_for_dmarc(domain, record).await,
            Purpose::ReturnPath => self.look_for_mail_hosts(domain, record).await,
            Purpose::TlsReports => {
                let found = self.texts(&record.name).await;
                let ours = Destination::Https(self.reports_url.clone().unwrap_or_default());
                let finding = tls_reports(&ours, found.as_deref().map_err(String::as_str));
                record.told(finding, shown(&found.unwrap_or_default()))
            }
            Purpose::MtaSts => {
                let found = self.texts(&record.name).await;
                let finding = mta_sts(found.as_deref().map_err(String::as_str));
                record.told(finding, shown(&found.unwrap_or_default()))
            }
            Purpose::Bounces => match host_of(domain) {
                Some(host) if record.kind == "MX" => self.look_for_this_server(&host, record).await,
                Some(host) => self.look_for_spf(&host, record).await,
                None => record,
            },
        }
    }

    /// Whether the record of a key is published.
    pub(crate) async fn look_for_key(&self, key: &DkimKey) -> Finding {
        let _slot = self.slots.acquire().await;
        match timeout(PATIENCE, self.look(&key.domain, of_key(key))).await {
            Ok(record) => record.finding,
            Err(_) => Finding::unknown("no answer in time"),
        }
    }

    async fn look_for_spf(&self, domain: &Domain, record: Record) -> Record {
        let found = match self.texts(&record.name).await {
            Ok(texts) => texts.into_iter().filter(|text| policy::spf::is_record(text)).collect::<Vec<_>>(),
            Err(why) => return record.told(Finding::unknown(why), vec![]),
        };
        let finding = match self.addresses().await {
            Ok(addresses) => spf::check(&self.dns, domain, &addresses).await,
            Err(finding) => finding,
        };
        record.told(finding, shown(&found))
    }

    /// The addresses that receivers see.
    async fn addresses(&self) -> Result<Vec<IpAddr>, Finding> {
        let name = match &self.ehlo_name {
            _ if !self.source_addresses.is_empty() => return Ok(self.source_addresses.clone()),
            EhloName::Literal(address) => return Ok(vec![*address]),
            EhloName::Name(name) => name,
        };
        match self.dns.addresses(name).await {
            Ok(addresses) if addresses.is_empty() => {
                Err(Finding::invalid(format!("this server's own name, {name} (ehlo_name), has no address in the DNS")))
            }
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(Finding::unknown(error.to_string())),
        }
    }

    /// At the domain and above it, but for the last label (RFC 7489 §6.6.3, without the list of public suffixes: what
    /// is published at one is no policy).
    async fn look_for_dmarc(&self, domain: &Domain, record: Record) -> Record {
        let mut names = Vec::new();
        let mut rest = domain.as_str();
        while rest.contains('.') {
            let name = format!("_dmarc.{rest}");
            match self.texts(&name).await {
                Ok(texts) => names.push((name, texts)),
                Err(why) => return record.told(dmarc(Err(&why)), vec![]),
            }
            rest = rest.split_once('.').map_or("", |(_, rest)| rest);
        }
        let finding = dmarc(Ok(&names));
        let found = names.first().map(|(_, texts)| shown(texts)).unwrap_or_default();
        record.told(finding, found)
    }

    async fn look_for_mail_hosts(&self, domain: &Domain, record: Record) -> Record {
        let (finding, found) = match self.dns.mx(domain).await {
            Err(error) => (Finding::unknown(error.to_string()), vec![]),
            Ok(MxAnswer::Records(records)) => {
                let hosts: Vec<_> = records.iter().filter_map(|record| record.exchange.as_ref()).collect();
                let shown = hosts.iter().take(RECORDS_SHOWN).map(ToString::to_string).collect();
                let none =
                    Finding::invalid("the domain takes no mail (RFC 7505), and receivers may refuse what it sends");
                (if hosts.is_empty() { none } else { Finding::valid() }, shown)
            }
            Ok(_) => {
                let words =
                    "no MX record is published: failure reports cannot come back, and receivers may refuse mail";
                (Finding::invalid(words), vec![])
            }
        };
        record.told(finding, found)
    }

    /// Whether mail for `host` comes here, and nowhere else.
    async fn look_for_this_server(&self, host: &Domain, record: Record) -> Record {
        let (finding, found) = match self.dns.mx(host).await {
            Err(error) => (Finding::unknown(error.to_string()), vec![]),
            Ok(MxAnswer::Records(records)) if !records.is_empty() => {
                let is_ours = |name: &Domain| matches!(&self.ehlo_name, EhloName::Name(ours) if ours == name);
                let all_ours = records.iter().all(|record| record.exchange.as_ref().is_some_and(is_ours));
                let shown = records.iter().take(RECORDS_SHOWN);
                let shown = shown.filter_map(|record| record.exchange.as_ref().map(ToString::to_string)).collect();
                let other = Finding::invalid("an MX record there names another host");
                (if all_ours { Finding::valid() } else { other }, shown)
            }
            Ok(_) => (Finding::invalid("no MX record is published: failure reports go to the author"), vec![]),
        };
        record.told(finding, found)
    }

    async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, String> {
        let name: Domain = name.parse().map_err(|_| format!("{name} is too long a name"))?;
        self.dns.txt(&name).await.map_err(|error| error.to_string())
    }
}

/// The record that publishes a key; nobody has looked for it yet.
pub(crate) fn of_key(key: &DkimKey) -> Record {
    Record { is_active: key.active, ..Record::new(Purpose::Dkim, key.record_name(), "TXT", key.record.clone()) }
}

impl Record {
    fn new(purpose: Purpose, name: String, kind: &'static str, value: String) -> Record {
        let finding = Finding::unknown("not looked for yet");
        Record { purpose, name, kind, value, is_active: true, finding, found: Vec::new() }
    }

    fn told(self, finding: Finding, found: Vec<String>) -> Record {
        Record { finding, found, ..self }
    }

    fn to_kept(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "value": self.value,
            "validity": self.finding.validity.as_str(),
            "words": self.finding.words,
            "found": self.found,
        })
    }

    /// Takes over what was kept of it. What cannot be read is not known.
    fn take(&mut self, kept: &Value) {
        let words = [Validity::Valid, Validity::Invalid, Validity::Unknown];
        let validity = words.into_iter().find(|validity| kept["validity"] == validity.as_str());
        let Some(validity) = validity else { return };
        self.finding = Finding { validity, words: kept["words"].as_str().map(str::to_owned) };
        let found = kept["found"].as_array().into_iter().flatten().filter_map(Value::as_str);
        self.found = found.map(str::to_owned).collect();
    }
}

/// Whether something kept is about this very record: a key that was replaced has to be looked for anew.
fn is_about(kept: &Value, record: &Record) -> bool {
    kept["name"] == record.name.as_str() && kept["type"] == record.kind && kept["value"] == record.value.as_str()
}

/// What strangers publish, for people.
fn shown(texts: &[Vec<u8>]) -> Vec<String> {
    let show = |text: &Vec<u8>| -> String {
        let text = String::from_utf8_lossy(text);
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect()
    };
    texts.iter().take(RECORDS_SHOWN).map(show).collect()
}
