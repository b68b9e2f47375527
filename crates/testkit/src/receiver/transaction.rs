//! MAIL, RCPT, DATA and the content (RFC 5321 §3.3).

use std::sync::Arc;

use super::{
    behaviour::Stage,
    command::Path,
    content::Content,
    record::Received,
    session::{Hello, Talk, Transaction},
    wire::Closed,
};

/// Content that is kept when the behaviour has no SIZE.
const CONTENT_LIMIT: usize = 64 * 1024 * 1024;

impl Talk {
    pub(super) async fn mail(&mut self, path: Path) -> Result<(), Closed> {
        let setup = Arc::clone(&self.setup);
        let behaviour = &setup.behaviour;
        self.reach(Stage::Mail).await?;
        self.mail_refused = true;
        if self.hello.is_none() {
            let inside = "MAIL before EHLO inside TLS";
            self.record.violation(if self.encrypted { inside } else { "MAIL before EHLO" });
            return self.refuse(503, "5.5.1", "EHLO first").await;
        }
        if self.transaction.is_some() {
            self.record.violation("MAIL inside a transaction");
            return self.refuse(503, "5.5.1", "One at a time").await;
        }
        if self.lacks_auth() {
            return self.refuse(530, "5.7.0", "Authentication required").await;
        }
        if let Some(fault) = self.fault_of_params(&path) {
            self.record.violation(fault);
            return self.refuse(555, "5.5.4", "Parameter not offered").await;
        }
        let declared = path.param("SIZE").and_then(|size| size.parse::<usize>().ok()).unwrap_or(0);
        if behaviour.size.is_some_and(|limit| declared > limit) {
            return self.refuse(552, "5.3.4", "Message too large").await;
        }
        let usual = behaviour.usual(250, "2.1.0", "Sender fine");
        let answer = behaviour.mail.as_ref().unwrap_or(&usual);
        if answer.code == 250 {
            self.mail_refused = false;
            self.transaction = Some(Transaction { from: path, recipients: Vec::new() });
        }
        self.say(answer).await
    }

    /// A parameter that was not offered, or an address that needs one that is missing (RFC 6531 §3.4).
    fn fault_of_params(&self, path: &Path) -> Option<String> {
        let behaviour = &self.setup.behaviour;
        let extended = self.hello == Some(Hello::Ehlo);
        let offered = |param: &str| {
            let (keyword, value) = param.split_once('=').unwrap_or((param, ""));
            let known = match keyword.to_ascii_uppercase().as_str() {
                "SIZE" => behaviour.size.is_some() && value.parse::<u64>().is_ok(),
                "BODY" => {
                    behaviour.eight_bit_mime && ["7BIT", "8BITMIME"].contains(&value.to_ascii_uppercase().as_str())
                }
                "SMTPUTF8" => behaviour.smtputf8 && value.is_empty(),
                "AUTH" => behaviour.auth.is_some(),
                "RET" | "ENVID" => behaviour.offers("DSN"),
                keyword => behaviour.offers(keyword),
            };
            extended && known
        };
        if let Some(param) = path.params.iter().find(|param| !offered(param)) {
            return Some(format!("parameter {param} without an offer"));
        }
        let unfit = !path.address.is_ascii() && path.param("SMTPUTF8").is_none();
        unfit.then(|| "an address beyond ASCII without SMTPUTF8".to_owned())
    }

    pub(super) async fn rcpt(&mut self, path: Path) -> Result<(), Closed> {
        let setup = Arc::clone(&self.setup);
        let behaviour = &setup.behaviour;
        self.reach(Stage::Rcpt).await?;
        let Some(transaction) = &mut self.transaction else {
            return self.no_transaction("RCPT before MAIL").await;
        };
        if !path.address.is_ascii() && transaction.from.param("SMTPUTF8").is_none() {
            self.record.violation("an address beyond ASCII without SMTPUTF8");
            return self.refuse(553, "5.6.7", "SMTPUTF8 required").await;
        }
        let asks_for_dsn = |param: &String| param.starts_with("NOTIFY=") || param.starts_with("ORCPT=");
        if !path.params.iter().all(|param| asks_for_dsn(param) && behaviour.offers("DSN")) {
            self.record.violation("a parameter of RCPT without an offer");
            return self.refuse(555, "5.5.4", "Parameter not offered").await;
        }
        let full = transaction.recipients.len() >= behaviour.max_recipients;
        let usual = match full {
            true => behaviour.usual(452, "4.5.3", "Too many recipients"),
            false => behaviour.usual(250, "2.1.5", "Recipient fine"),
        };
        let answer = behaviour.rcpt_answer(&path.address).filter(|_| !full).unwrap_or(&usual);
        if (250..=252).contains(&answer.code) {
            transaction.recipients.push(path.address);
        }
        self.say(answer).await
    }

    /// RCPT or DATA without MAIL: a fault, unless MAIL was sent and refused.
    async fn no_transaction(&mut self, fault: &str) -> Result<(), Closed> {
        if !self.mail_refused {
            self.record.violation(fault);
        }
        self.refuse(503, "5.5.1", "MAIL first").await
    }

    pub(super) async fn data(&mut self) -> Result<(), Closed> {
        let setup = Arc::clone(&self.setup);
        let behaviour = &setup.behaviour;
        // Before the wait of the stage, so that only what came with DATA itself counts, and after it.
        let early = self.wire.peek().await;
        self.reach(Stage::Data).await?;
        if self.transaction.is_none() {
            return self.no_transaction("DATA before MAIL").await;
        }
        if self.transaction.as_ref().is_some_and(|transaction| transaction.recipients.is_empty()) {
            return self.refuse(554, "5.5.1", "No valid recipients").await;
        }
        if early || self.wire.peek().await {
            self.record.violation("content before the answer to DATA");
        }
        let usual = crate::Answer::new(354, "End with a dot on a line of its own");
        let answer = behaviour.data.as_ref().unwrap_or(&usual);
        self.say(answer).await?;
        if answer.code != 354 {
            return Ok(());
        }
        let content = self.content().await?;
        self.end_of_data(content).await
    }

    async fn content(&mut self) -> Result<Content, Closed> {
        let mut content = Content::new(self.setup.behaviour.size.unwrap_or(CONTENT_LIMIT));
        loop {
            let bytes = self.wire.read().await?;
            self.reach(Stage::Content).await?;
            if let Some(end) = content.feed(&bytes) {
                self.wire.unread(&bytes[end..]);
                return Ok(content);
            }
        }
    }

    /// The message is on record before its answer is sent: who saw the answer finds it there.
    async fn end_of_data(&mut self, content: Content) -> Result<(), Closed> {
        let setup = Arc::clone(&self.setup);
        let behaviour = &setup.behaviour;
        let Some(transaction) = self.transaction.take() else { return Err(Closed) };
        let eight_bit = !content.text.is_ascii();
        let declared = transaction.from.param("BODY").is_some_and(|body| body.eq_ignore_ascii_case("8BITMIME"));
        content.faults.iter().for_each(|fault| self.record.violation(*fault));
        if eight_bit && !declared {
            self.record.violation("content beyond ASCII without BODY=8BITMIME");
        }
        if self.wire.has_unread() && !behaviour.pipelining {
            self.record.violation("pipelined without an offer");
        }
        let usual = match content.is_too_large() {
            true => behaviour.usual(552, "5.3.4", "Message too large"),
            false => behaviour.usual(250, "2.0.0", "Message taken"),
        };
        let answer = behaviour.end_of_data.as_ref().filter(|_| !content.is_too_large()).unwrap_or(&usual);
        let mut received = Received {
            return_path: transaction.from.address,
            mail_params: transaction.from.params,
            recipients: transaction.recipients,
            content: content.text,
            raw_wire: content.raw,
            encrypted: self.encrypted,
            answer: None,
        };
        if let Err(closed) = self.reach(Stage::EndOfData).await {
            self.record.note(|session| session.messages.push(received));
            return Err(closed);
        }
        received.answer = Some(answer.code);
        if !answer.delay.is_zero() {
            tokio::time::sleep(answer.delay).await;
        }
        self.record.note(|session| session.messages.push(received));
        self.say(&answer.clone().after(std::time::Duration::ZERO)).await
    }
}
