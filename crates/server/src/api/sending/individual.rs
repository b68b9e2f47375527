//! `recipient-variables`: from options to what each recipient's own copy is made with.

use message::Mailbox;
use serde_json::Value;
use store::{IndividualCopy, NewCopies, NewCopy};

use super::options::Options;
use super::request::Recipients;
use crate::api::http::error::ApiError;
use crate::copies::{self, Plan, VARIABLES_OCTETS, has_placeholder};

/// What the copies have in common, taken out of the options; `None` when all recipients get the message as it is.
///
/// A header with placeholders may not be valid until they are filled, and JSON with them filled must still be JSON, so both
/// wait.
pub(super) fn plan(options: &mut Options) -> Result<Option<Plan>, ApiError> {
    if options.recipient_variables.is_none() {
        return Ok(None);
    }
    let own_to = options.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("To"));
    let (waiting, fixed): (Vec<_>, Vec<_>) =
        std::mem::take(&mut options.headers).into_iter().partition(|(_, value)| has_placeholder(value));
    if waiting.iter().any(|(name, _)| name.eq_ignore_ascii_case("Message-ID")) {
        return Err(ApiError::bad_request("'h:Message-ID' must be the same in all copies: events tell of them by it"));
    }
    options.headers = fixed;
    let varies = options.variables.values().any(|value| value.as_str().is_some_and(has_placeholder));
    let user_variables = if varies { options.variables.clone() } else { Default::default() };
    Ok(Some(Plan { headers: waiting, user_variables, own_to, template: None }))
}

/// The copies, the first of which is made once to see that it can be.
pub(super) fn copies(
    plan: Plan,
    options: &mut Options,
    recipients: &Recipients,
    content: &[u8],
) -> Result<NewCopies, ApiError> {
    let variables = options.recipient_variables.take().unwrap_or_default();
    let all = || recipients.copies_of.iter().flatten();
    if all().map(|shown| variables.of(shown.address()).len()).sum::<usize>() > VARIABLES_OCTETS {
        let text = "the variables of all copies together, those for cc and bcc included, are longer than 16 MiB";
        return Err(ApiError::bad_request(text));
    }
    let copy = |shown: &Mailbox| NewCopy { to: shown.to_string(), variables: variables.of(shown.address()).to_owned() };
    let copies: Vec<NewCopy> = all().map(copy).collect();
    let plan = plan.to_json();
    if let Some(first) = copies.first() {
        let variables = serde_json::from_str::<Value>(&first.variables).ok();
        let variables = variables.and_then(|value| value.as_object().cloned()).unwrap_or_default();
        let first = IndividualCopy { to: first.to.clone(), variables };
        copies::render(&plan, content, &first, false).map_err(|error| ApiError::bad_request(error.to_string()))?;
    }
    Ok(NewCopies { plan, copies })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cc_and_bcc_multiply_is_bounded() {
        let mailboxes =
            |count: usize| (0..count).map(|n| format!("u{n}@example.net").parse().unwrap()).collect::<Vec<Mailbox>>();
        let mut options = Options::default();
        let json = format!("{{\"u0@example.net\": {{\"x\": \"{}\"}}}}", "y".repeat(60_000));
        options.individual(&json, "recipient-variables").unwrap();
        for (bcc, fits) in [(10, true), (900, false)] {
            let recipients = Recipients::new(&mailboxes(1), &mailboxes(bcc), &options).unwrap();
            let content = b"From: a@example.com\r\n\r\nx\r\n";
            let copies = copies(Plan::default(), &mut options.clone(), &recipients, content);
            assert_eq!(copies.is_ok(), fits, "{bcc}");
        }
    }
}
