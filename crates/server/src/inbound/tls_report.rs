//! Reports about TLS that come by mail (RFC 8460 §5.3).
//!
//! Nobody has checked who wrote them: like those that are uploaded, they are what somebody says.

use std::net::IpAddr;

use smtp::Reply;
use store::Timestamp;
use store::tlsrpt::Via;

use super::handler::{Inbound, fault};
use crate::smtpd::reply;
use crate::tlsrpt::incoming::{self, Refused};

impl Inbound {
    pub(super) async fn take_tls_report(&self, ip: IpAddr, content: Vec<u8>) -> Reply {
        // Unpacking takes its time.
        let read = move || message::tls_report::find(&content).map(|found| incoming::read(&found));
        let Ok(read) = tokio::task::spawn_blocking(read).await else { return fault() };
        let Some(read) = read else { return reply(550, 6, 0, "Only reports about TLS (RFC 8460) are taken here") };
        let kept = match read {
            Ok(report) => incoming::keep(&self.store, report, Via::Mail, Timestamp::now()).await,
            Err(refused) => Err(refused),
        };
        match kept {
            Ok((domain, kept)) => {
                tracing::info!(peer = %ip, %domain, ?kept, "report about TLS");
                reply(250, 0, 0, "Recorded")
            }
            Err(Refused::Store(error)) => {
                tracing::error!(%error, "a report about TLS cannot be kept");
                reply(451, 3, 0, "Nothing can be taken now, try again later")
            }
            Err(refused) => {
                tracing::info!(peer = %ip, %refused, "report about TLS refused");
                match refused {
                    Refused::TooMany(_) => reply(451, 7, 1, "Too many reports about that domain, try again later"),
                    _ => reply(550, 6, 0, &refused.to_string()),
                }
            }
        }
    }
}
