//! What a notification says of one recipient: a code, the words of whoever refused it, and how the message travelled.

use smtp::EnhancedCode;
use smtp::dsn::Action;
use store::dsn::Notice;

/// The code (RFC 3463), of a class that fits what was done (RFC 3464 §2.3.4).
pub(super) fn status(notice: &Notice) -> EnhancedCode {
    let code = notice.facts.code.unwrap_or_default();
    let told = notice.facts.enhanced_code();
    match notice.action {
        // Handed to a host that makes no notifications.
        Action::Relayed if !notice.facts.reported => EnhancedCode::new(2, 1, 9),
        Action::Delivered | Action::Relayed | Action::Expanded => {
            told.filter(|told| told.class == 2).unwrap_or(EnhancedCode::new(2, 0, 0))
        }
        Action::Delayed => told.filter(|told| told.class == 4).unwrap_or(EnhancedCode::new(4, 0, 0)),
        // The schedule ended without any other reason.
        Action::Failed if code == 602 && told.is_none() => EnhancedCode::new(4, 4, 7),
        Action::Failed if (400..500).contains(&code) => {
            told.filter(|told| told.class == 4).unwrap_or(EnhancedCode::new(4, 0, 0))
        }
        Action::Failed => told.filter(|told| told.class != 2).unwrap_or(EnhancedCode::new(5, 0, 0)),
    }
}

/// Why, behind the type of the words: a host's reply, or our own words.
pub(super) fn diagnostic(notice: &Notice) -> Option<String> {
    let facts = &notice.facts;
    let words = reply(notice);
    match (words.is_empty(), facts.from_host && facts.code.is_some()) {
        (true, _) => None,
        (false, true) => Some(format!("smtp; {words}")),
        (false, false) => Some(format!("x-waxwing; {words}")),
    }
}

/// A few sentences.
pub(super) fn for_people(notice: &Notice) -> String {
    let facts = &notice.facts;
    let mut sentences = Vec::new();
    let words = reply(notice);
    let whose = match &facts.host {
        Some(host) if facts.from_host && !words.is_empty() => format!("{host} said: {words}"),
        _ => words,
    };
    if !whose.is_empty() {
        sentences.push(ended(&whose));
    }
    if facts.reported {
        sentences.push("This was reported to us after the message had been handed over.".to_owned());
    }
    let way = match (facts.tls, facts.certificate_verified, &facts.fallback) {
        (None, _, _) => None,
        (Some(true), true, _) => Some("The connection was encrypted, with a certificate that was verified.".to_owned()),
        (Some(true), false, _) => Some("The connection was encrypted; nothing depended on its certificate.".to_owned()),
        (Some(false), _, Some(reason)) => Some(format!("The connection was not encrypted ({reason}).")),
        // Nothing of the message left, and the words above say why.
        (Some(false), _, None) => None,
    };
    sentences.extend(way);
    sentences.join(" ")
}

/// The words with the codes of the reply before them, which reports by others have among their words.
fn reply(notice: &Notice) -> String {
    let facts = &notice.facts;
    let words = facts.words.trim();
    match facts.code {
        Some(code) if facts.from_host && !words.starts_with(&code.to_string()) => {
            let status = facts.status.as_deref().filter(|status| !words.starts_with(status));
            let parts = [Some(code.to_string()), status.map(str::to_owned), Some(words.to_owned())];
            parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
        }
        _ => words.to_owned(),
    }
}

fn ended(sentence: &str) -> String {
    match sentence.ends_with(['.', '!', '?']) {
        true => sentence.to_owned(),
        false => format!("{sentence}."),
    }
}

#[cfg(test)]
mod tests {
    use store::Timestamp;
    use store::dsn::{Facts, NoticeId};

    use super::*;

    fn told(action: Action, facts: Facts) -> (String, Option<String>, String) {
        let recipient = "bob@b.example".parse().unwrap();
        let at = Timestamp::from_secs(0);
        let notice = Notice { id: NoticeId::default(), recipient, orcpt: None, action, at, facts };
        (status(&notice).to_string(), diagnostic(&notice), for_people(&notice))
    }

    fn said(code: u16, status: &str, words: &str) -> Facts {
        Facts {
            attempts: 1,
            code: Some(code),
            status: (!status.is_empty()).then(|| status.to_owned()),
            words: words.to_owned(),
            from_host: true,
            host: Some("mx.b.example".to_owned()),
            tls: Some(true),
            ..Facts::default()
        }
    }

    fn ours(code: u16, status: &str, words: &str) -> Facts {
        Facts { from_host: false, host: None, tls: None, ..said(code, status, words) }
    }

    #[test]
    fn who_said_it_and_how_it_travelled() {
        let reported = Facts { tls: None, reported: true, ..said(550, "5.1.1", "550 5.1.1 no such user") };
        let plain = Facts { tls: Some(false), fallback: Some("certificate-expired".to_owned()), ..said(550, "", "no") };
        let left =
            Facts { from_host: false, tls: Some(false), ..said(451, "4.7.5", "TLS is required, but not with x") };
        for (action, facts, expected) in [
            (
                Action::Failed,
                said(550, "5.1.1", "5.1.1 no such user"),
                (
                    "5.1.1",
                    Some("smtp; 550 5.1.1 no such user"),
                    "mx.b.example said: 550 5.1.1 no such user. The connection was encrypted; nothing depended on its certificate.",
                ),
            ),
            (
                Action::Failed,
                plain,
                (
                    "5.0.0",
                    Some("smtp; 550 no"),
                    "mx.b.example said: 550 no. The connection was not encrypted (certificate-expired).",
                ),
            ),
            (
                Action::Failed,
                left.clone(),
                ("4.7.5", Some("x-waxwing; TLS is required, but not with x"), "TLS is required, but not with x."),
            ),
            (
                Action::Delayed,
                left,
                ("4.7.5", Some("x-waxwing; TLS is required, but not with x"), "TLS is required, but not with x."),
            ),
            (
                Action::Failed,
                ours(605, "", "Not delivering."),
                ("5.0.0", Some("x-waxwing; Not delivering."), "Not delivering."),
            ),
            (Action::Failed, ours(602, "", ""), ("4.4.7", None, "")),
            (Action::Failed, ours(602, "4.4.7", "too late"), ("4.4.7", Some("x-waxwing; too late"), "too late.")),
            (
                Action::Failed,
                reported,
                (
                    "5.1.1",
                    Some("smtp; 550 5.1.1 no such user"),
                    "mx.b.example said: 550 5.1.1 no such user. This was reported to us after the message had been handed over.",
                ),
            ),
            (
                Action::Relayed,
                Facts { certificate_verified: true, ..said(250, "2.0.0", "2.0.0 OK") },
                (
                    "2.1.9",
                    Some("smtp; 250 2.0.0 OK"),
                    "mx.b.example said: 250 2.0.0 OK. The connection was encrypted, with a certificate that was verified.",
                ),
            ),
            (
                Action::Delivered,
                Facts { reported: true, ..Facts::default() },
                ("2.0.0", None, "This was reported to us after the message had been handed over."),
            ),
            (
                Action::Failed,
                said(451, "5.3.0", "strange"),
                (
                    "4.0.0",
                    Some("smtp; 451 5.3.0 strange"),
                    "mx.b.example said: 451 5.3.0 strange. The connection was encrypted; nothing depended on its certificate.",
                ),
            ),
        ] {
            let (status, diagnostic, words) = told(action, facts);
            assert_eq!((status.as_str(), diagnostic.as_deref(), words.as_str()), expected);
        }
    }
}
