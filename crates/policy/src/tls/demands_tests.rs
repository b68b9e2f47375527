use super::*;
use crate::tls::{Observed, Protection, TlsSettings, Verdict, decide, resolve};

fn sender(policy: TlsPolicy) -> Resolved {
    tagged(policy, TlsTag::None)
}

fn tagged(policy: TlsPolicy, tag: TlsTag) -> Resolved {
    with_fallback(policy, tag, Fallback::Plaintext)
}

fn with_fallback(policy: TlsPolicy, tag: TlsTag, fallback: Fallback) -> Resolved {
    let settings = TlsSettings {
        tag: Some(tag),
        fallback: Some(fallback),
        require_tls: Some(policy.require_tls()),
        skip_verification: Some(policy.skip_verification()),
        ..TlsSettings::default()
    };
    resolve(settings, TlsSettings::default())
}

const MINIMA: [Minimum; 3] = [Minimum::None, Minimum::Encrypted, Minimum::Verified];
const FALLBACKS: [Fallback; 3] = [Fallback::Plaintext, Fallback::Unverified, Fallback::Defer];

/// Every combination of what the sender may say.
fn all_senders() -> Vec<Resolved> {
    let mut all = Vec::new();
    for policy in TlsPolicy::ALL {
        for tag in [TlsTag::None, TlsTag::Requiretls, TlsTag::NotRequired] {
            all.extend(FALLBACKS.map(|fallback| with_fallback(policy, tag, fallback)));
        }
    }
    all
}

/// Every combination of what rules may demand.
fn all_rules() -> Vec<RuleDemand> {
    let mut all = Vec::new();
    for minimum in MINIMA {
        for fallback in [None, Some(Fallback::Plaintext), Some(Fallback::Unverified), Some(Fallback::Defer)] {
            all.extend([false, true].map(|pinned| RuleDemand { minimum, fallback, pinned }));
        }
    }
    all
}

/// Every combination of demands.
fn all_demands() -> Vec<Demands> {
    let mut all = Vec::new();
    for sender in all_senders() {
        for rule in all_rules() {
            for route in MINIMA {
                for dane in [DaneDemand::None, DaneDemand::Encrypted, DaneDemand::Authenticated] {
                    for mta_sts_enforced in [false, true] {
                        all.push(Demands { sender, route, rule, dane, mta_sts_enforced });
                    }
                }
            }
        }
    }
    all
}

#[test]
fn the_result_is_never_weaker_than_any_demand_that_stands() {
    for demands in all_demands() {
        let Demands { sender, route, rule, dane, mta_sts_enforced } = demands;
        let effective = strengthen(demands);
        let result = insists_on(effective.policy);
        let pinned = if rule.pinned { Minimum::Verified } else { Minimum::None };
        let ours = insists_on(sender.policy).max(route).max(rule.minimum).max(pinned);
        assert!(result >= ours, "{demands:?}");
        let is_deferring = effective.demanded_by.contains(&Demander::TlsFallback);
        match sender.tag {
            // Lifted: then the result is what our own side demands, and no more.
            TlsTag::NotRequired => assert!(result == ours || is_deferring, "{demands:?}"),
            TlsTag::Requiretls => assert_eq!(result, Minimum::Verified, "{demands:?}"),
            TlsTag::None => {
                assert!(result >= minimum_of(dane), "{demands:?}");
                assert!(result == Minimum::Verified || !mta_sts_enforced, "{demands:?}");
            }
        }
    }
}

/// How much a verdict keeps from happening.
fn strictness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::ReconnectInPlaintext | Verdict::Deliver(Protection::Plaintext) => 0,
        Verdict::Deliver(Protection::Encrypted | Protection::Verified) => 1,
        Verdict::LeaveHost => 2,
    }
}

/// Cell by cell: whatever a host shows, what is done is no weaker than under the sender's own settings, nor than
/// under the rules' with no sender to speak of.
#[test]
fn nothing_that_a_host_shows_is_treated_weaker_for_what_others_demand() {
    for demands in all_demands() {
        let effective = strengthen(demands);
        let opportunistic = TlsPolicy::from_switches(false, demands.sender.policy.skip_verification());
        let of_rules = demands.rule.fallback.unwrap_or_default();
        for observed in Observed::ALL {
            let done = strictness(decide(effective.policy, effective.fallback, observed));
            for (policy, fallback) in [(demands.sender.policy, demands.sender.fallback), (opportunistic, of_rules)] {
                assert!(done >= strictness(decide(policy, fallback, observed)), "{observed:?}: {demands:?}");
            }
        }
    }
}

#[test]
fn the_stricter_fallback_counts_where_nobody_insists() {
    use Fallback::{Defer, Plaintext, Unverified};
    for (of_sender, of_rule, expected) in [
        (Plaintext, None, Plaintext),
        (Plaintext, Some(Plaintext), Plaintext),
        (Plaintext, Some(Unverified), Unverified),
        (Plaintext, Some(Defer), Defer),
        (Unverified, None, Unverified),
        (Unverified, Some(Plaintext), Unverified),
        (Unverified, Some(Unverified), Unverified),
        (Unverified, Some(Defer), Defer),
        (Defer, None, Defer),
        (Defer, Some(Plaintext), Defer),
        (Defer, Some(Unverified), Defer),
        (Defer, Some(Defer), Defer),
    ] {
        for policy in TlsPolicy::ALL {
            let sender = with_fallback(policy, TlsTag::None, of_sender);
            let rule = RuleDemand { fallback: of_rule, ..RuleDemand::default() };
            let effective = strengthen(Demands { rule, ..Demands::of(sender) });
            assert_eq!((effective.fallback, effective.policy), (expected, policy));
            let overridden = expected != of_sender && policy == TlsPolicy::ALL[0];
            assert_eq!(effective.overridden, if overridden { vec![Overridden::TlsFallback] } else { vec![] });
            assert_eq!((effective.is_raised(policy), effective.authentication), (false, Authentication::Pkix));
        }
    }
}

#[test]
fn where_nobody_demands_more_the_sender_gets_what_he_asked_for() {
    for policy in TlsPolicy::ALL {
        let effective = strengthen(Demands::of(sender(policy)));
        assert_eq!((effective.policy, effective.is_raised(policy)), (policy, false));
        assert_eq!(effective.authentication, Authentication::Pkix);
        let by_sender = if policy.require_tls() { vec![Demander::RequireTls] } else { Vec::new() };
        assert_eq!(effective.demanded_by, by_sender);
    }
}

#[test]
fn everything_that_is_asked_for_by_name_authenticates() {
    use Authentication::{Dane, DaneAndPin, Pin, Pkix, PkixAndPin};
    for demands in all_demands() {
        let found = strengthen(demands).authentication;
        let tag = demands.sender.tag;
        let published = tag != TlsTag::NotRequired;
        let by_dane = demands.dane == DaneDemand::Authenticated && published;
        assert_eq!(matches!(found, Dane | DaneAndPin), by_dane, "{demands:?}");
        assert_eq!(matches!(found, Pin | PkixAndPin | DaneAndPin), demands.rule.pinned, "{demands:?}");
        // Those who want a chain to a trusted root get it, unless there is DANE to take its place.
        let by_roots = tag == TlsTag::Requiretls || demands.mta_sts_enforced && published;
        if !by_dane && (by_roots || !demands.rule.pinned) {
            assert!(matches!(found, Pkix | PkixAndPin), "{demands:?}");
        }
    }
}

#[test]
fn those_who_insist_are_named_and_what_is_lifted_too() {
    let opportunistic = Demands::of(sender(TlsPolicy::ALL[1]));
    let both = Demands { dane: DaneDemand::Authenticated, mta_sts_enforced: true, ..opportunistic };
    assert_eq!(strengthen(both).demanded_by, [Demander::Dane, Demander::MtaSts]);
    let unusable = Demands { dane: DaneDemand::Encrypted, ..both };
    assert_eq!(strengthen(unusable).demanded_by, [Demander::MtaSts]);
    let lifted = strengthen(Demands { sender: tagged(TlsPolicy::ALL[1], TlsTag::NotRequired), ..both });
    assert_eq!((lifted.demanded_by, lifted.lifted), (vec![], vec![Demander::Dane, Demander::MtaSts]));
    let required = Demands { sender: tagged(TlsPolicy::ALL[2], TlsTag::NotRequired), ..both };
    assert_eq!(strengthen(required).demanded_by, [Demander::RequireTls]);
    let pinned = RuleDemand { pinned: true, ..RuleDemand::default() };
    let by_operator = strengthen(Demands { route: Minimum::Verified, rule: pinned, ..opportunistic });
    assert_eq!(by_operator.demanded_by, [Demander::Route, Demander::Rule]);
    assert_eq!(by_operator.overridden, [Overridden::SkipVerification]);
    let by_fallback = Demands {
        rule: RuleDemand { minimum: Minimum::Encrypted, ..RuleDemand::default() },
        ..Demands::of(with_fallback(TlsPolicy::ALL[0], TlsTag::None, Fallback::Defer))
    };
    let by_fallback = strengthen(by_fallback);
    assert_eq!(by_fallback.demanded_by, [Demander::Rule, Demander::TlsFallback]);
    assert_eq!((by_fallback.policy, by_fallback.overridden), (TlsPolicy::ALL[2], vec![]));
    let any_will_do = with_fallback(TlsPolicy::ALL[0], TlsTag::None, Fallback::Unverified);
    let verified = strengthen(Demands { rule: pinned, ..Demands::of(any_will_do) });
    assert_eq!(verified.overridden, [Overridden::TlsFallback]);
}
