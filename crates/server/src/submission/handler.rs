//! What submission does with a login, an address and a message.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use smtp::request::{Mail, Rcpt};
use smtp::{Domain, Reply};
use store::{Credential, Method, StoreError};

use super::guard::Guard;
use super::limits::{HASH_WAIT, LOGIN_OCTETS, LOOK_AGAIN};
use super::password::Busy;
use crate::api::sending::{self, Origin, Refused, Submitted};
use crate::api::{ApiError, App};
use crate::smtpd::{Handler, Transaction, reply, trace};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Submission {
    app: App,
    host: String,
    guard: Guard,
}

impl Submission {
    pub(super) fn new(app: App, host: String) -> Submission {
        Submission { app, host, guard: Guard::default() }
    }

    pub(super) fn connection(self: Arc<Self>, ip: IpAddr) -> Connection {
        Connection { submission: self, ip, credential: None }
    }

    /// The credential of that login. What cannot be a login has none.
    async fn find(&self, login: &str) -> Result<Option<Credential>, StoreError> {
        let Some((mailbox, domain)) = login.rsplit_once('@') else { return Ok(None) };
        let Ok(domain) = domain.parse::<Domain>() else { return Ok(None) };
        self.app.store.credential(&domain, mailbox).await
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Connection {
    submission: Arc<Submission>,
    ip: IpAddr,
    credential: Option<Credential>,
}

impl Handler for Connection {
    async fn authenticate(&mut self, login: &str, password: &str) -> Result<(), Reply> {
        let Submission { app, guard, .. } = &*self.submission;
        // Logins know no case, and what is too long for one is counted and refused like any other.
        let login: String = login.chars().take(LOGIN_OCTETS).collect::<String>().to_lowercase();
        let until = Instant::now() + HASH_WAIT;
        let delay = loop {
            match guard.attempt(self.ip, &login, Instant::now()) {
                Some(delay) => break delay,
                // Attempts count as wrong until they were looked at.
                None if guard.is_looking(self.ip) && Instant::now() < until => tokio::time::sleep(LOOK_AGAIN).await,
                None => {
                    tracing::warn!(peer = %self.ip, "too many wrong passwords: a login was refused without a look");
                    return Err(reply(421, 7, 0, "Too many wrong passwords, try again later"));
                }
            }
        };
        let looking = guard.look(self.ip);
        let known = match self.submission.find(&login).await {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, "a login could not be looked up");
                guard.forgive(self.ip, &login, false, Instant::now());
                return Err(no_login_now());
            }
        };
        match app.passwords.verify(password, known.as_ref().map(|known| &known.hash)).await {
            Ok(true) => {
                guard.forgive(self.ip, &login, true, Instant::now());
                self.credential = known;
                Ok(())
            }
            Ok(false) => {
                drop(looking);
                tracing::warn!(peer = %self.ip, "wrong login or password");
                tokio::time::sleep(delay).await;
                Err(reply(535, 7, 8, "Wrong login or password"))
            }
            Err(Busy) => {
                guard.forgive(self.ip, &login, false, Instant::now());
                Err(no_login_now())
            }
        }
    }

    /// A login that was deleted, or has another password by now, begins no more messages.
    async fn mail(&mut self, _: &Mail) -> Result<(), Reply> {
        let gone = reply(421, 7, 0, "The credential is no longer valid, log in again");
        let Some(credential) = &self.credential else { return Err(gone) };
        let Credential { domain, mailbox, .. } = credential;
        let found = self.submission.app.store.credential(domain, mailbox).await.map_err(lost)?;
        if found.is_some_and(|found| found.hash == credential.hash) { Ok(()) } else { Err(gone) }
    }

    async fn rcpt(&mut self, _: &Rcpt) -> Result<(), Reply> {
        Ok(())
    }

    async fn message(&mut self, transaction: Transaction, content: Vec<u8>) -> Reply {
        let Some(credential) = &self.credential else { return reply(530, 7, 0, "Authentication required") };
        let recipients = transaction.recipients.len();
        let taken = self.submission.take(self.ip, &credential.domain, transaction, content).await;
        match taken {
            Ok(message_id) => {
                tracing::info!(peer = %self.ip, login = credential.login(), message_id, recipients, "message accepted");
                reply(250, 0, 0, &format!("Queued as <{message_id}>"))
            }
            Err(refused) => {
                // Not the words: they may quote the message.
                let enhanced = refused.enhanced_code().map(|code| code.to_string());
                tracing::info!(peer = %self.ip, login = credential.login(), code = refused.code(), enhanced, "message refused");
                refused
            }
        }
    }
}

impl Submission {
    /// Keeps a message, and gives its Message-ID.
    async fn take(
        &self,
        ip: IpAddr,
        domain: &Domain,
        transaction: Transaction,
        content: Vec<u8>,
    ) -> Result<String, Reply> {
        if trace::goes_round(&content) {
            return Err(reply(554, 4, 6, "The message has been going round in circles"));
        }
        let domain = self.app.store.domain(domain).await.map_err(lost)?;
        let domain = domain.ok_or_else(|| reply(550, 7, 1, "The sending domain is no longer there"))?;
        let submitted = Submitted {
            content: content.into(),
            received: trace::received(&transaction, ip, &self.host),
            return_path: transaction.mail.return_path,
            requiretls: transaction.mail.requiretls,
            dsn: transaction.mail.dsn,
            recipients: transaction.recipients.into_iter().map(|rcpt| (rcpt.address, rcpt.dsn)).collect(),
        };
        let name = domain.name.clone();
        let template = submitted.template(&self.app.store, &name).await.map_err(|error| refused(&error))?;
        let ready = if submitted.content.len() <= sending::INLINE_OCTETS && template.is_none() {
            // A fault is this message's alone, and its client is told so, as from a thread of its own.
            catch_unwind(AssertUnwindSafe(|| submitted.ready(&name, None))).map_err(|_| fault())?
        } else {
            let work = tokio::task::spawn_blocking(move || submitted.ready(&name, template.as_ref()));
            work.await.map_err(|_| fault())?
        };
        let ready = ready.map_err(|refused| match refused {
            Refused::Option(error) => reply(550, 7, 0, &error.text()),
            Refused::Message(error) if error.is_too_large() => reply(552, 3, 4, &error.text()),
            Refused::Message(error) => reply(550, 6, 0, &error.text()),
        })?;
        let origin = Origin { method: Method::Smtp, key_id: None, ip: Some(ip) };
        sending::keep(&self.app, domain, origin, ready).await.map_err(|error| refused(&error))
    }
}

fn no_login_now() -> Reply {
    reply(454, 7, 0, "Nobody can log in now, try again later")
}

/// The reply to what cannot be done, or not now.
fn refused(error: &ApiError) -> Reply {
    match error.is_for_now() {
        true => reply(452, 3, 1, "The message cannot be kept now, try again later"),
        false => reply(550, 7, 0, &error.text()),
    }
}

/// The store does not answer.
fn lost(error: StoreError) -> Reply {
    tracing::error!(%error, "the store refused an operation");
    reply(451, 3, 0, "Nothing can be taken now, try again later")
}

fn fault() -> Reply {
    reply(451, 3, 0, "A fault of ours, try again later")
}
