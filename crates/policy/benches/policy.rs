//! What each attempt asks of the decisions about TLS.

use divan::black_box;
use policy::tls::{
    DaneDemand, Demands, Fallback, Minimum, Observed, RuleDemand, TlsPolicy, TlsSettings, Verdict, decide, resolve,
    strengthen,
};

fn main() {
    divan::main();
}

/// The whole table.
#[divan::bench]
fn decide_all() -> usize {
    let cells = TlsPolicy::ALL.into_iter().flat_map(|policy| Observed::ALL.map(|observed| (policy, observed)));
    cells.filter(|(policy, seen)| decide(*policy, Fallback::Plaintext, black_box(*seen)) == Verdict::LeaveHost).count()
}

#[divan::bench]
fn strengthen_nothing() -> policy::tls::Effective {
    let sender = resolve(TlsSettings::default(), TlsSettings::default());
    let (rule, dane) = (RuleDemand::default(), DaneDemand::None);
    strengthen(black_box(Demands { sender, route: Minimum::None, rule, dane, mta_sts_enforced: false }))
}

#[divan::bench]
fn strengthen_everything() -> policy::tls::Effective {
    let settings = TlsSettings { require_tls: Some(true), ..TlsSettings::default() };
    let sender = resolve(settings, TlsSettings::default());
    let rule = RuleDemand { minimum: Minimum::Verified, ..RuleDemand::default() };
    let (route, dane) = (Minimum::Encrypted, DaneDemand::Authenticated);
    strengthen(black_box(Demands { sender, route, rule, dane, mta_sts_enforced: true }))
}
