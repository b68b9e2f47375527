//! The tables of DANE: each line a rule that somebody once got wrong.

use super::*;

fn name(text: &str) -> Domain {
    text.parse().unwrap()
}

fn bogus_answer() -> Security {
    Security::Bogus("no signature".to_owned())
}

fn names(result: Result<Vec<Domain>, Dane>) -> Result<Vec<String>, &'static str> {
    result.map(|names| names.iter().map(ToString::to_string).collect()).map_err(|dane| dane.code())
}

#[test]
fn which_names_are_asked_for_tlsa_records() {
    use Security::{Indeterminate, Insecure, Secure};
    let secure = || NextHop::Mx(Secure);
    let direct = |addresses| HostAnswer { addresses, expanded: None, alias: None };
    let alias = |addresses, alias| HostAnswer { addresses, expanded: Some(name("real.example")), alias };
    let own = || Ok(vec!["mx.example".to_owned()]);
    let both = || Ok(vec!["real.example".to_owned(), "mx.example".to_owned()]);
    let cases = [
        ("all secure", secure(), direct(Secure), own()),
        ("MX insecure", NextHop::Mx(Insecure), direct(Secure), Err("mx-insecure")),
        ("MX indeterminate", NextHop::Mx(Indeterminate), direct(Secure), Err("mx-insecure")),
        ("MX bogus", NextHop::Mx(bogus_answer()), direct(Secure), Err("dnssec-invalid")),
        ("a route", NextHop::Route { flagged: false }, direct(Secure), Err("route-not-flagged")),
        ("a flagged route", NextHop::Route { flagged: true }, direct(Secure), own()),
        (
            "a flagged route, address insecure",
            NextHop::Route { flagged: true },
            direct(Insecure),
            Err("address-insecure"),
        ),
        ("address insecure", secure(), direct(Insecure), Err("address-insecure")),
        ("address indeterminate", secure(), direct(Indeterminate), Err("address-insecure")),
        ("address bogus", secure(), direct(bogus_answer()), Err("dnssec-invalid")),
        ("secure alias", secure(), alias(Secure, None), both()),
        ("secure alias into an unsigned zone", secure(), alias(Insecure, Some(Secure)), own()),
        ("unsigned alias", secure(), alias(Insecure, Some(Insecure)), Err("address-insecure")),
        ("alias that nobody asked about", secure(), alias(Insecure, None), Err("address-insecure")),
        ("bogus alias", secure(), alias(Insecure, Some(bogus_answer())), Err("dnssec-invalid")),
        ("MX insecure, secure alias", NextHop::Mx(Insecure), alias(Secure, None), Err("mx-insecure")),
    ];
    for (case, next_hop, answer, expected) in cases {
        let asked = names(base_domains(&next_hop, &name("mx.example"), &answer));
        assert_eq!(asked, expected, "{case}");
    }
}

#[test]
fn one_secure_family_is_enough() {
    use Security::{Indeterminate, Insecure, Secure};
    let cases = [
        (Some(Secure), Some(Secure), Secure),
        (Some(Secure), Some(Insecure), Secure),
        (Some(bogus_answer()), Some(Secure), Secure),
        (None, Some(Secure), Secure),
        (Some(Insecure), None, Insecure),
        (Some(Insecure), Some(bogus_answer()), Insecure),
        (Some(bogus_answer()), None, bogus_answer()),
        (None, None, Indeterminate),
    ];
    for (one, other, expected) in cases {
        assert_eq!(either_family(one.clone(), other.clone()), expected);
        assert_eq!(either_family(other, one), expected);
    }
}

fn record(usage: u8, selector: u8, matching: u8, length: usize) -> Tlsa {
    Tlsa { usage, selector, matching, data: vec![0xab; length] }
}

fn der(usage: u8, selector: u8) -> Tlsa {
    Tlsa { usage, selector, matching: 0, data: vec![0x30, 3, 2, 1, 5] }
}

#[test]
fn which_records_can_be_used() {
    use UnusableRecord::{NotDer, PkixUsage, UnknownMatching, UnknownSelector, UnknownUsage, WrongDigestLength};
    let cases = [
        (record(3, 1, 1, 32), Ok("3 1 1")),
        (record(3, 0, 1, 32), Ok("3 0 1")),
        (record(3, 1, 2, 64), Ok("3 1 2")),
        (record(2, 0, 1, 32), Ok("2 0 1")),
        (record(2, 1, 2, 64), Ok("2 1 2")),
        (der(2, 0), Ok("2 0 0")),
        (der(3, 1), Ok("3 1 0")),
        (record(0, 0, 1, 32), Err(PkixUsage(0))),
        (record(1, 1, 1, 32), Err(PkixUsage(1))),
        (record(4, 1, 1, 32), Err(UnknownUsage(4))),
        (record(255, 1, 1, 32), Err(UnknownUsage(255))),
        (record(3, 2, 1, 32), Err(UnknownSelector(2))),
        (record(3, 1, 3, 32), Err(UnknownMatching(3))),
        (record(3, 1, 1, 31), Err(WrongDigestLength(31))),
        (record(3, 1, 1, 64), Err(WrongDigestLength(64))),
        (record(3, 1, 2, 32), Err(WrongDigestLength(32))),
        (record(3, 1, 1, 0), Err(WrongDigestLength(0))),
        (record(3, 0, 0, 300), Err(NotDer)),
        (record(2, 0, 0, 0), Err(NotDer)),
        (Tlsa { data: vec![0x30, 4, 2, 1, 5], ..der(2, 0) }, Err(NotDer)),
        (Tlsa { data: vec![0x30, 0x81], ..der(2, 0) }, Err(NotDer)),
        (Tlsa { data: vec![0x30, 0x84, 0, 0, 0, 0], ..der(2, 0) }, Err(NotDer)),
    ];
    for (record, expected) in cases {
        let found = record.association().map(|association| association.to_string());
        assert_eq!(found, expected.map(str::to_owned), "{record:?}");
    }
    let long = [&[0x30, 0x82, 1, 0][..], &[0; 256]].concat();
    assert!(Tlsa { data: long, ..der(3, 0) }.association().is_ok());
}

fn verdict(answer: TlsaAnswer) -> Result<Dane, NotDane> {
    judge(&name("mx.example"), &[name("example"), name("mx.example")], answer)
}

/// The records of a usable set, as in a zone file.
fn usable(records: &[Tlsa]) -> Vec<String> {
    match verdict(TlsaAnswer::Records(records.to_vec())) {
        Ok(Dane::Usable(set)) => {
            assert_eq!((set.base, set.also), (name("mx.example"), vec![name("example")]));
            set.associations.iter().map(ToString::to_string).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_an_answer_means() {
    let code = |answer| verdict(answer).map(|dane| dane.code());
    assert_eq!(code(TlsaAnswer::Denied), Err(NotDane::NoTlsa));
    assert_eq!(code(TlsaAnswer::Insecure), Err(NotDane::TlsaInsecure));
    assert_eq!(code(TlsaAnswer::Bogus("expired".to_owned())), Ok("dnssec-invalid"));
    assert_eq!(code(TlsaAnswer::Failed("SERVFAIL".to_owned())), Ok("tlsa-lookup-failed"));
    assert_eq!(code(TlsaAnswer::Records(vec![record(3, 1, 1, 32)])), Ok("usable"));
    assert_eq!(code(TlsaAnswer::Records(vec![record(1, 1, 1, 32), record(3, 1, 9, 32)])), Ok("tlsa-invalid"));
}

#[test]
fn one_usable_record_makes_the_set_usable() {
    assert_eq!(usable(&[record(0, 0, 1, 32), record(3, 1, 1, 32), record(3, 1, 1, 5)]), ["3 1 1"]);
}

#[test]
fn the_strongest_digest_of_each_kind_counts() {
    assert_eq!(usable(&[record(3, 1, 1, 32), record(3, 1, 2, 64)]), ["3 1 2"]);
    // A stronger digest that cannot be used replaces nothing.
    assert_eq!(usable(&[record(3, 1, 1, 32), record(3, 1, 2, 63)]), ["3 1 1"]);
    // Other kinds are left alone, and what is compared octet by octet has no digest.
    assert_eq!(
        usable(&[record(3, 1, 2, 64), record(3, 0, 1, 32), record(2, 1, 1, 32), der(3, 1), record(3, 1, 2, 64)]),
        ["3 1 2", "3 0 1", "2 1 1", "3 1 0", "3 1 2"]
    );
}
