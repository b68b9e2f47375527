//! The self-test: does the resolver pass on what DNSSEC needs, or does it validate?

use std::net::SocketAddr;

use domain::base::{Name, Rtype, ToName};
use policy::dane::Security;
use tokio::time::Instant;

use super::servers::{NoAnswer, Servers};
use super::{
    AdTest, Anchors, Dnssec, DnssecStatus, Established, Mode, NoneSecured, ask_and_validate, ask_for_ad, request,
    validator,
};

/// Why a resolver does not pass.
enum Failed {
    /// It did not answer: not its verdict on anything.
    Silent,
    /// What is wrong with it.
    Unfit(String),
}

/// Tests every resolver; those that pass are asked from now on. When none of them says anything, what was established
/// before holds on.
pub(super) async fn run(servers: &Servers, dnssec: &Dnssec, before: Option<&Established>) -> Established {
    let mode = match dnssec {
        Dnssec::Off => return Established::off(servers.clone(), "dnssec is set to off".to_owned()),
        Dnssec::TrustAd(_) => Mode::TrustAd,
        Dnssec::Validate(_) => Mode::Validate,
    };
    let (mut passed, mut all_silent, mut because) = (Vec::new(), true, Vec::new());
    for (address, server) in servers.each() {
        let result = match dnssec {
            Dnssec::Off => continue,
            Dnssec::TrustAd(test) => sets_ad(&server, test).await,
            Dnssec::Validate(anchors) => passes_signatures(&server, anchors).await,
        };
        all_silent &= matches!(result, Err(Failed::Silent));
        match result {
            Ok(()) => passed.push(address),
            Err(failed) => because.push(failed.in_words(address)),
        }
    }
    if !passed.is_empty() {
        let servers = servers.only(|address| passed.contains(&address));
        let validator = match dnssec {
            Dnssec::Validate(anchors) => Some(validator(anchors, servers.clone())),
            Dnssec::TrustAd(_) | Dnssec::Off => None,
        };
        return Established { status: DnssecStatus::On(mode), servers, validator, tested: Instant::now() };
    }
    if let (true, Some(Established { status: DnssecStatus::On(Mode::TrustAd), servers, .. })) = (all_silent, before) {
        return Established {
            status: DnssecStatus::On(Mode::TrustAd),
            servers: servers.clone(),
            validator: None,
            tested: Instant::now(),
        };
    }
    if because.is_empty() {
        because.push("there is no resolver".to_owned());
    }
    Established::off(servers.clone(), because.join("; "))
}

impl Failed {
    fn in_words(self, resolver: SocketAddr) -> String {
        match self {
            Failed::Silent => format!("the resolver {resolver} did not answer the self-test"),
            Failed::Unfit(what) => format!("the resolver {resolver} {what}"),
        }
    }
}

impl From<NoneSecured> for Failed {
    fn from(none: NoneSecured) -> Self {
        match none {
            NoneSecured::None(NoAnswer::Silence) => Failed::Silent,
            NoneSecured::None(NoAnswer::Code(code)) => Failed::Unfit(format!("answered the self-test with {code}")),
            NoneSecured::Bogus(why) => Failed::Unfit(format!(
                "does not pass on the signatures, or the trust anchor is not the right one: {why}"
            )),
        }
    }
}

/// A signed record and a signed denial must come through whole.
async fn passes_signatures(server: &Servers, anchors: &Anchors) -> Result<(), Failed> {
    let validator = validator(anchors, server.clone());
    let top: Name<Vec<u8>> = anchors.top().to_name();
    // At the top of a zone there is an SOA, and nobody publishes certificates there.
    for rtype in [Rtype::SOA, Rtype::TLSA] {
        let answer = ask_and_validate(&validator, server, &top, rtype).await?;
        if answer.security != Security::Secure {
            return Err(Failed::Unfit(format!("gives {} answers about {top}", answer.security.word())));
        }
    }
    Ok(())
}

/// A signed name must come with the AD bit, a bogus one must not come at all.
async fn sets_ad(server: &Servers, test: &AdTest) -> Result<(), Failed> {
    let named = |text: &str| {
        Name::<Vec<u8>>::vec_from_str(text).map_err(|_| Failed::Unfit(format!("cannot be asked for '{text}'")))
    };
    let answer = ask_for_ad(server, &named(&test.signed)?, Rtype::SOA).await?;
    if answer.security != Security::Secure {
        return Err(Failed::Unfit(format!("does not validate: its answer for '{}' lacks the AD bit", test.signed)));
    }
    let Some(bogus) = &test.bogus else { return Ok(()) };
    match server.ask(request(&named(bogus)?, Rtype::A)?).await {
        Ok(message) if message.header_counts().ancount() > 0 => {
            Err(Failed::Unfit(format!("does not validate: it gives the bogus address of '{bogus}'")))
        }
        _ => Ok(()),
    }
}
