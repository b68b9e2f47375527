//! Which delivery may use a connection that another one made.
//!
//! A connection that stands is a decision that was taken: [`decide`] said "deliver" of what the host had shown. It may
//! serve another delivery only where that one, had it made the connection, would have decided the same.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::dane::TlsaSet;
use crate::rule::Pin;
use crate::tls::{Authentication, Effective, Observed, Protection, Verdict, decide};

/// What a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where.
    pub address: SocketAddr,
    /// The MX host's name, or the route's host: what a certificate is valid for.
    pub host: String,
    /// Which of the operator's routes led there; `None` is the DNS. A route has credentials and demands of its own, and
    /// may lead where the DNS may not, so its connections serve it alone.
    pub route: Option<usize>,
    /// The TLSA records that its certificate is held against, with the names that go with them: another domain's names,
    /// or records that changed, may give another verdict.
    pub tlsa: Option<TlsaSet>,
    /// What the operator's rules pin there: a certificate that one delivery's pins are content with may fail another's.
    pub pins: Vec<Arc<Pin>>,
}

/// A connection that carried a message and may carry another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Established {
    endpoint: Endpoint,
    observed: Observed,
    authentication: Authentication,
    protection: Protection,
}

impl Established {
    /// What a delivery under `effective` established at a host that showed `observed`; `None` when nothing that may be
    /// kept.
    ///
    /// Plaintext is kept only where the host does not offer TLS. After a refused STARTTLS, a failed handshake or an
    /// invalid certificate it is the answer to what may have been a passing fault, and the next delivery tries TLS
    /// again.
    pub fn new(endpoint: Endpoint, observed: Observed, effective: &Effective) -> Option<Established> {
        let Verdict::Deliver(protection) = decide(effective.policy, effective.fallback, observed) else { return None };
        let may_be_kept = match protection {
            Protection::Plaintext => observed == Observed::NotOffered,
            Protection::Encrypted | Protection::Verified => true,
        };
        let authentication = effective.authentication;
        may_be_kept.then_some(Established { endpoint, observed, authentication, protection })
    }

    /// What it leads to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How what travels on it is protected.
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// What the host showed.
    pub fn observed(&self) -> Observed {
        self.observed
    }

    /// Whether a delivery to `endpoint` under `effective` may use it: it would have observed the same, held it against
    /// the same authentication, and decided the same.
    pub fn serves(&self, endpoint: &Endpoint, effective: &Effective) -> bool {
        self.endpoint == *endpoint
            && self.authentication == effective.authentication
            && decide(effective.policy, effective.fallback, self.observed) == Verdict::Deliver(self.protection)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rule::Fingerprint;
    use crate::tls::{
        DaneDemand, Demands, Fallback, Minimum, RuleDemand, TlsPolicy, TlsSettings, TlsTag, insists_on, resolve,
        strengthen,
    };

    /// How many different ones there are.
    const ENDPOINTS: usize = 144;

    fn endpoint(number: usize) -> Endpoint {
        Endpoint {
            address: SocketAddr::from(([192, 0, 2, (number % 2) as u8], 25)),
            host: ["mx.one.test", "mx.other.test"][number / 2 % 2].to_owned(),
            route: [None, Some(0), Some(1)][number / 4 % 3],
            tlsa: [None, Some("one.test"), Some("other.test")][number / 12 % 3].map(|name| TlsaSet {
                base: "mx.one.test".parse().unwrap(),
                also: vec![name.parse().unwrap()],
                associations: Vec::new(),
            }),
            pins: (0..2).filter(|pin| ((number / 36) >> pin) & 1 == 1).map(pin).collect(),
        }
    }

    fn pin(octet: u8) -> Arc<Pin> {
        Arc::new(Pin::Certificates(vec![Fingerprint([octet; 32])]))
    }

    fn effective(policy: TlsPolicy, fallback: Fallback, authentication: Authentication) -> Effective {
        Effective {
            policy,
            fallback,
            authentication,
            demanded_by: Vec::new(),
            lifted: Vec::new(),
            overridden: Vec::new(),
        }
    }

    const FALLBACKS: [Fallback; 3] = [Fallback::Plaintext, Fallback::Unverified, Fallback::Defer];

    fn every_effective() -> Vec<Effective> {
        let mut all = Vec::new();
        for policy in TlsPolicy::ALL {
            for fallback in FALLBACKS {
                use Authentication::{Dane, DaneAndPin, Pin, Pkix, PkixAndPin};
                for authentication in [Pkix, Dane, Pin, PkixAndPin, DaneAndPin] {
                    all.push(effective(policy, fallback, authentication));
                }
            }
        }
        all
    }

    /// Said anew and without `decide`: what each demand forbids, over every pair of deliveries.
    #[test]
    fn no_connection_is_weaker_than_what_it_serves() {
        for maker in every_effective() {
            for observed in Observed::ALL {
                let Some(made) = Established::new(endpoint(0), observed, &maker) else { continue };
                for user in every_effective().iter().filter(|user| made.serves(&endpoint(0), user)) {
                    let is_plaintext = made.protection() == Protection::Plaintext;
                    assert!(!(user.policy.require_tls() && is_plaintext), "{made:?} {user:?}");
                    if insists_on(user.policy) == Minimum::Verified {
                        assert_eq!((observed, made.protection()), (Observed::Verified, Protection::Verified));
                    }
                    assert_eq!(maker.authentication, user.authentication);
                }
            }
        }
    }

    #[test]
    fn a_delivery_may_use_what_it_made_and_nobody_else_at_another_place() {
        for maker in every_effective() {
            for observed in Observed::ALL {
                let Some(made) = Established::new(endpoint(0), observed, &maker) else { continue };
                assert!(made.serves(&endpoint(0), &maker));
                assert!((1..ENDPOINTS).all(|other| !made.serves(&endpoint(other), &maker)));
            }
        }
    }

    #[test]
    fn plaintext_is_kept_where_tls_is_not_offered() {
        let opportunistic = effective(TlsPolicy::ALL[0], Fallback::Plaintext, Authentication::Pkix);
        let kept: Vec<Observed> = Observed::ALL
            .into_iter()
            .filter(|observed| Established::new(endpoint(0), *observed, &opportunistic).is_some())
            .collect();
        assert_eq!(kept, [Observed::NotOffered, Observed::Verified]);
    }

    #[test]
    fn who_skips_and_who_verifies_do_not_share() {
        let verifying = effective(TlsPolicy::ALL[0], Fallback::Plaintext, Authentication::Pkix);
        let skipping = effective(TlsPolicy::ALL[1], Fallback::Plaintext, Authentication::Pkix);
        let requiring = effective(TlsPolicy::ALL[2], Fallback::Plaintext, Authentication::Pkix);
        let made = Established::new(endpoint(0), Observed::Verified, &verifying).unwrap();
        assert!(!made.serves(&endpoint(0), &skipping));
        assert!(made.serves(&endpoint(0), &requiring), "both would have delivered, verified");
    }

    /// An endpoint out of few, so that many deliveries meet at one: those that differ by TLSA records and pins, and one
    /// that differs in all.
    fn place() -> impl Strategy<Value = usize> {
        (0..4usize, 0..4usize).prop_map(|(base, pins)| [0, 12, 24, 31][base] + 36 * pins)
    }

    const MINIMA: [Minimum; 3] = [Minimum::None, Minimum::Encrypted, Minimum::Verified];

    prop_compose! {
        /// What is demanded of a message, but for TLSA records and pins, which come with the host.
        fn demands()(
            switches in 0..4usize, fallback in 0..3usize, route in 0..3usize, minimum in 0..3usize,
            of_rule in prop::option::of(0..3usize), unusable: bool, mta_sts_enforced: bool, tag in 0..3usize,
        ) -> Demands {
            let policy = TlsPolicy::ALL[switches];
            let settings = TlsSettings {
                require_tls: Some(policy.require_tls()),
                skip_verification: Some(policy.skip_verification()),
                fallback: Some(FALLBACKS[fallback]),
                tag: Some([TlsTag::None, TlsTag::Requiretls, TlsTag::NotRequired][tag]),
                ..TlsSettings::default()
            };
            Demands {
                sender: resolve(settings, TlsSettings::default()),
                route: MINIMA[route],
                rule: RuleDemand {
                    minimum: MINIMA[minimum],
                    fallback: of_rule.map(|fallback| FALLBACKS[fallback]),
                    pinned: false,
                },
                dane: if unusable { DaneDemand::Encrypted } else { DaneDemand::None },
                mta_sts_enforced,
            }
        }
    }

    /// A host at one moment. Of a certificate: what the trusted roots, each set of TLSA records and each pin say of it.
    #[derive(Debug, Clone)]
    enum Shown {
        NoTls(Observed),
        Certificate { by_roots: bool, by_tlsa: [bool; 2], by_pin: [bool; 2] },
    }

    impl Shown {
        /// What a delivery to `endpoint` makes of it.
        fn observed(&self, endpoint: &Endpoint, authentication: Authentication) -> Observed {
            use Authentication::{Dane, DaneAndPin, Pin, Pkix, PkixAndPin};
            let (by_roots, by_tlsa, by_pin) = match self {
                Shown::NoTls(observed) => return *observed,
                Shown::Certificate { by_roots, by_tlsa, by_pin } => (*by_roots, by_tlsa, by_pin),
            };
            let dane =
                endpoint.tlsa.as_ref().is_some_and(|set| by_tlsa[usize::from(set.also[0].as_str() > "one.test")]);
            let pins = (0..2).all(|number| by_pin[usize::from(number)] || !endpoint.pins.contains(&pin(number)));
            let is_valid = match authentication {
                Pkix => by_roots,
                Dane => dane,
                Pin => pins,
                PkixAndPin => by_roots && pins,
                DaneAndPin => dane && pins,
            };
            if is_valid { Observed::Verified } else { Observed::Unverified }
        }
    }

    fn shown() -> impl Strategy<Value = Shown> {
        let certificate = (any::<bool>(), any::<[bool; 2]>(), any::<[bool; 2]>());
        prop_oneof![
            1 => (0..3usize).prop_map(|column| Shown::NoTls(Observed::ALL[column])),
            3 => certificate.prop_map(|(by_roots, by_tlsa, by_pin)| Shown::Certificate { by_roots, by_tlsa, by_pin }),
        ]
    }

    proptest! {
        /// Random deliveries to a few hosts that show now this and now that, over one pool: no message travels on a
        /// connection that its own decision would have refused.
        #[test]
        fn no_message_travels_where_its_own_decision_would_not_have_sent_it(
            deliveries in prop::collection::vec((demands(), place(), shown()), 1..60)
        ) {
            let mut pool: Vec<(Established, Shown)> = Vec::new();
            for (mut demands, place, shown) in deliveries {
                let endpoint = endpoint(place);
                demands.rule.pinned = !endpoint.pins.is_empty();
                if endpoint.tlsa.is_some() {
                    demands.dane = DaneDemand::Authenticated;
                }
                let effective = strengthen(demands);
                let reused = pool.iter().find(|(kept, _)| kept.serves(&endpoint, &effective)).cloned();
                let Some((used, shown)) = reused else {
                    let observed = shown.observed(&endpoint, effective.authentication);
                    pool.extend(Established::new(endpoint, observed, &effective).map(|made| (made, shown)));
                    continue;
                };
                // Had it shaken hands itself, it would have decided the same of the same certificate.
                let observed = shown.observed(&endpoint, effective.authentication);
                prop_assert_eq!(
                    decide(effective.policy, effective.fallback, observed),
                    Verdict::Deliver(used.protection())
                );
                prop_assert_eq!((used.endpoint(), used.observed()), (&endpoint, observed));
                // And in the words of those who demanded it.
                let recipient = demands.sender.tag != TlsTag::NotRequired;
                let by_dane = recipient && demands.dane == DaneDemand::Authenticated;
                let operator = demands.route.max(demands.rule.minimum);
                let verified = demands.sender.policy == TlsPolicy::from_switches(true, false)
                    || operator == Minimum::Verified
                    || demands.rule.pinned
                    || demands.sender.tag == TlsTag::Requiretls
                    || by_dane
                    || recipient && demands.mta_sts_enforced;
                let encrypted = verified
                    || demands.sender.policy.require_tls()
                    || operator == Minimum::Encrypted
                    || recipient && demands.dane != DaneDemand::None;
                prop_assert!(!encrypted || used.protection() != Protection::Plaintext);
                prop_assert!(!verified || used.observed() == Observed::Verified);
                if let Shown::Certificate { by_roots, by_pin, .. } = &shown {
                    for number in 0..2 {
                        prop_assert!(!endpoint.pins.contains(&pin(number)) || by_pin[usize::from(number)]);
                    }
                    prop_assert!(!verified || by_dane || demands.rule.pinned || *by_roots);
                }
                prop_assert_eq!(matches!(used.authentication, Authentication::Dane | Authentication::DaneAndPin), by_dane);
            }
        }
    }
}
