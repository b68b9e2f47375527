//! From counters to reports, and from reports to where they go.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use message::Identity;
use message::tls_report::{TlsReport, compose};
use policy::tls::{TlsSettings, TlsTag, resolve};
use policy::tlsrpt::report::{Head, filename, subject};
use policy::tlsrpt::{Counted, Day, Destination, Report, record};
use smtp::{Address, Domain};
use store::tlsrpt::{NewTlsReport, OutgoingTlsReport, TlsReportState};
use store::{Method, NewMessage, Store, StoreError, Timestamp};

use super::Sending;

/// The type of a compressed report (RFC 8460 §6.4).
const CONTENT_TYPE: &str = "application/tlsrpt+gzip";
/// Most reports that are made, and most that are sent, in one look. More wait for the next.
const AT_ONCE: usize = 100;
/// A report is tried for so long (RFC 8460 §5.4).
const TRIED_FOR: Duration = Duration::from_secs(24 * 3600);
/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(10 * 60);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(4 * 3600);

/// Why a report did not go.
struct NotSent {
    words: String,
    permanent: bool,
}

impl NotSent {
    fn for_now(words: impl ToString) -> NotSent {
        NotSent { words: words.to_string(), permanent: false }
    }
}

impl Sending {
    /// Makes the reports of days before `ended`. A domain whose record cannot be looked up is left for the next time.
    pub(super) async fn make(&self, store: &Store, ended: Day, now: Timestamp) -> Result<(), StoreError> {
        for (day, destination) in store.tls_days(ended, AT_ONCE).await? {
            let Some(places) = self.places(&destination).await else { continue };
            let report = match places.is_empty() {
                true => None,
                false => {
                    let counted = store.tls_results(day, &destination).await?;
                    Some(self.report(day, &counted, places, now))
                }
            };
            store.file_tls_report(day, &destination, report).await?;
        }
        Ok(())
    }

    /// Where a domain wants its reports; nowhere when it publishes no such place that we can serve. `None` when its
    /// record cannot be looked up now.
    async fn places(&self, destination: &Domain) -> Option<Vec<Destination>> {
        let Some(name) = record::name(destination) else { return Some(Vec::new()) };
        let records = match self.dns.txt(&name).await {
            Ok(records) => records,
            Err(error) => {
                tracing::info!(%destination, %error, "cannot look up where reports about TLS go; trying again");
                return None;
            }
        };
        match record::destinations(&records) {
            Ok(mut places) => {
                places.retain(|place| self.settings.signer.is_some() || matches!(place, Destination::Https(_)));
                Some(places)
            }
            Err(why) => {
                tracing::debug!(%destination, %why, "no report about TLS");
                Some(Vec::new())
            }
        }
    }

    fn report(&self, day: Day, counted: &[Counted], places: Vec<Destination>, now: Timestamp) -> NewTlsReport {
        let unique: String = rand::random::<[u8; 12]>().iter().map(|octet| format!("{octet:02x}")).collect();
        let id = format!("{unique}@{}", self.settings.submitter());
        let head = Head { organization: &self.settings.organization, contact: &self.settings.contact, id: &id, day };
        let content = compressed(&Report::of(head, counted).to_json());
        NewTlsReport { id, content, places, now }
    }

    /// Sends what is due, one after the other: nobody is in a hurry, and one slow place must not open many connections.
    pub(super) async fn send_due(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        for report in store.due_tls_reports(now, AT_ONCE).await? {
            let content = store.tls_report_content(report.id).await?;
            let sent = match &report.place {
                Destination::Https(url) => {
                    let posted = self.uploader.post(url, CONTENT_TYPE, content.into()).await;
                    posted.map(|()| "taken").map_err(|error| NotSent { words: error.words, permanent: error.permanent })
                }
                Destination::Mail(to) => self.mail(store, &report, to, &content).await.map(|()| "put into the queue"),
            };
            let (state, words) = match sent {
                Ok(words) => (TlsReportState::Sent, words.to_owned()),
                Err(error) => (state_after(&report, now, error.permanent), error.words),
            };
            let (destination, place) = (&report.destination, &report.place);
            tracing::info!(%destination, day = %report.day, %place, ?state, words, "report about TLS");
            store.set_tls_report(report.id, state, &words).await?;
        }
        Ok(())
    }

    /// Puts a report into the queue of mail, where it is tried like any other message. It asks for no TLS at all and
    /// takes any: what it tells must not keep it from arriving.
    async fn mail(
        &self,
        store: &Store,
        report: &OutgoingTlsReport,
        to: &Address,
        content: &[u8],
    ) -> Result<(), NotSent> {
        let Some(signer) = &self.settings.signer else {
            return Err(NotSent { words: "no key to sign with is configured".to_owned(), permanent: true });
        };
        let now = Timestamp::now();
        let seconds = now.as_micros() / 1_000_000;
        let (from, submitter) = (&self.settings.from, self.settings.submitter());
        let unique = report.report_id.split('@').next().unwrap_or_default();
        let (day, filename) = (report.day.to_string(), filename(submitter, &report.destination, report.day, unique));
        let mail = TlsReport {
            from,
            to,
            domain: &report.destination,
            submitter,
            id: &report.report_id,
            day: &day,
            filename: &filename,
            content,
        };
        let identity = Identity::new(seconds, rand::random(), submitter);
        let body = compose(&mail, &identity);
        let mut signed = signer.sign(&body, seconds.unsigned_abs()).map_err(NotSent::for_now)?;
        signed.extend_from_slice(&body);
        // A report must not be kept back by the failures that it reports (RFC 8460 §3).
        let any_tls = TlsSettings {
            require_tls: Some(false),
            skip_verification: Some(true),
            tag: Some(TlsTag::NotRequired),
            ..TlsSettings::default()
        };
        let message = NewMessage {
            domain: submitter.clone(),
            message_id: identity.message_id().to_owned(),
            return_path: from.to_string(),
            header_from: from.to_string(),
            header_to: to.to_string(),
            subject: subject(submitter, &report.destination, &report.report_id),
            size: signed.len() as u64,
            wire: smtp::data::to_wire(&signed).into(),
            attachments: Vec::new(),
            tags: vec!["tls-report".to_owned()],
            user_variables: serde_json::Map::new(),
            tls: resolve(any_tls, TlsSettings::default()),
            dkim: false,
            method: Method::Http,
            test_mode: false,
            deliver_at: None,
            expires_at: None,
            template: None,
            copies: None,
            tracking: None,
            recipients: vec![to.clone()],
            dsn: None,
            api_key_id: None,
            originating_ip: None,
        };
        store.accept(message).await.map_err(NotSent::for_now)?;
        self.wake.notify_one();
        Ok(())
    }
}

/// When to try again, if at all.
fn state_after(report: &OutgoingTlsReport, now: Timestamp, permanent: bool) -> TlsReportState {
    let wait = FIRST_WAIT.saturating_mul(1 << report.attempts.min(10)).min(LONGEST_WAIT);
    match permanent || now + wait > report.made_at + TRIED_FOR {
        true => TlsReportState::Failed,
        false => TlsReportState::Waiting(now + wait),
    }
}

fn compressed(json: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(json).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}
