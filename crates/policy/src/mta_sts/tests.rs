use super::*;

fn domain(name: &str) -> Domain {
    name.parse().unwrap()
}

fn id(text: &str) -> PolicyId {
    text.parse().unwrap()
}

fn policy(mode: Mode, mx: &[&str], max_age: u64) -> Policy {
    let lines: String = mx.iter().map(|pattern| format!("mx: {pattern}\n")).collect();
    format!("version: STSv1\nmode: {}\n{lines}max_age: {max_age}\n", mode.as_str()).parse().unwrap()
}

#[test]
fn a_policy_file_is_read() {
    let expected = Policy {
        mode: Mode::Enforce,
        mx: vec![MxPattern::Host(domain("mx1.d.test")), MxPattern::OneLabelBelow(domain("d.test"))],
        max_age: Duration::from_secs(604_800),
    };
    for file in [
        "version: STSv1\r\nmode: enforce\r\nmx: mx1.d.test\r\nmx: *.d.test\r\nmax_age: 604800\r\n",
        "version: STSv1\nmode: enforce\nmx: mx1.d.test\nmx: *.d.test\nmax_age: 604800",
        "max_age:604800\nmx:MX1.D.test \t\nmode:\t enforce\r\nmx:*.D.TEST\nversion:STSv1   ",
        // Unknown fields do not count, of others the first does, blank lines are no lines.
        "version: STSv1\nx-y.z: some words, ü\nmode: enforce\nmode: none\nmx: mx1.d.test\n\nmx: *.d.test\n\
         max_age: 604800\nmax_age: nonsense\nversion: STSv2\n \r\n\n",
    ] {
        assert_eq!(file.parse(), Ok(expected.clone()), "{file:?}");
    }
    assert_eq!(expected.to_string().parse(), Ok(expected));
}

#[test]
fn a_file_that_is_no_policy_is_refused() {
    use InvalidPolicy::{Missing, NotAField, NotText, TooLarge};
    let value = |field, value: &str| InvalidPolicy::Value { field, value: value.to_owned() };
    let good = "version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 1\n";
    for (file, expected) in [
        (String::new(), Missing("version")),
        ("<!doctype html>\n<p>404".to_owned(), NotAField(1)),
        (good.replace("STSv1", "STSv2"), value("version", "STSv2")),
        (good.replace("STSv1", "stsv1"), value("version", "stsv1")),
        (good.replace("mode: enforce\n", ""), Missing("mode")),
        (good.replace("enforce", "Enforce"), value("mode", "Enforce")),
        (good.replace("mx: a.test\n", ""), Missing("mx")),
        (good.replace("max_age: 1\n", ""), Missing("max_age")),
        (good.replace("max_age: 1", "max_age: -1"), value("max_age", "-1")),
        (good.replace("max_age: 1", "max_age: +1"), value("max_age", "+1")),
        (good.replace("max_age: 1", "max_age: 1.5"), value("max_age", "1.5")),
        (good.replace("max_age: 1", "max_age: 12345678901"), value("max_age", "12345678901")),
        (good.replace("max_age: 1", "max_age: "), value("max_age", "")),
        (good.replace("a.test", "192.0.2.1"), value("mx", "192.0.2.1")),
        (good.replace("a.test", "[192.0.2.1]"), value("mx", "[192.0.2.1]")),
        (good.replace("a.test", "bücher.test"), value("mx", "bücher.test")),
        (good.replace("a.test", "a.test, b.test"), value("mx", "a.test, b.test")),
        (good.replace("a.test", "a.test."), value("mx", "a.test.")),
        (good.replace("a.test", ".a.test"), value("mx", ".a.test")),
        (good.replace("a.test", "*"), value("mx", "*")),
        (good.replace("a.test", "*.*.test"), value("mx", "*.*.test")),
        (good.replace("a.test", "mx.*.test"), value("mx", "mx.*.test")),
        (good.replace("a.test", "m*.a.test"), value("mx", "m*.a.test")),
        (good.replace("mode", " mode"), NotAField(2)),
        (good.replace("mode:", "mode "), NotAField(2)),
        (format!("{good}x:\n"), NotAField(5)),
        (format!("{good}x: a\u{1b}b\n"), NotAField(5)),
        (good.replace('\n', "\r"), NotAField(1)),
        (good.replace("enforce", &"\u{7}".repeat(1000)), value("mode", &"?".repeat(80))),
        (format!("{good}x: {}", "y".repeat(FILE_OCTETS)), TooLarge),
    ] {
        let found = file.parse::<Policy>();
        // A carriage return alone ends no line: all of it is one field with a value that cannot be.
        if file.contains('\r') {
            assert!(found.is_err(), "{file:?}");
        } else {
            assert_eq!(found, Err(expected), "{file:?}");
        }
    }
    assert_eq!(Policy::parse(b"version: STSv1\xff"), Err(NotText));
}

#[test]
fn the_edges_of_max_age_and_mode_none() {
    assert_eq!(policy(Mode::Enforce, &["a.test"], 0).max_age, Duration::ZERO);
    assert_eq!(policy(Mode::Enforce, &["a.test"], 31_557_600).max_age, MOST_MAX_AGE);
    assert_eq!(policy(Mode::Enforce, &["a.test"], 31_557_601).max_age, MOST_MAX_AGE);
    assert_eq!(policy(Mode::Enforce, &["a.test"], 9_999_999_999).max_age, MOST_MAX_AGE);
    assert_eq!(policy(Mode::None, &[], 86_400).mx, []);
}

#[test]
fn a_policy_names_so_many_hosts_and_no_more() {
    let file = |hosts| format!("version: STSv1\nmode: enforce\nmax_age: 1\n{}", "mx: a.test\n".repeat(hosts));
    assert_eq!(file(MX_PATTERNS).parse::<Policy>().unwrap().mx.len(), MX_PATTERNS);
    assert_eq!(file(MX_PATTERNS + 1).parse::<Policy>(), Err(InvalidPolicy::TooManyHosts));
}

/// Nothing that a stranger writes makes a reader panic, and what is read is written as it was understood.
#[test]
fn whatever_is_published_is_read_or_refused() {
    let file = "version: STSv1\r\nmode: enforce\nmx: *.a.test\nmax_age: 1\n";
    let record = "v=STSv1; id=a1; x=y;";
    for octet in [0, b' ', b'\n', b'\r', b':', b';', b'=', b'*', b'.', 0x80, 0xc3, 0xff] {
        for place in 0..file.len() {
            let mut changed = file.as_bytes().to_vec();
            changed[place] = octet;
            if let Ok(policy) = Policy::parse(&changed) {
                assert_eq!(policy.to_string().parse(), Ok(policy));
            }
            let _ = Policy::parse(&file.as_bytes()[place..]);
        }
        for place in 0..record.len() {
            let mut changed = record.as_bytes().to_vec();
            changed[place] = octet;
            let _ = record_id(&[&changed[..], &record.as_bytes()[place..]]);
        }
    }
}

#[test]
fn hosts_are_matched_by_name_and_by_one_label() {
    for (pattern, host, expected) in [
        ("mx.d.test", "mx.d.test", true),
        ("MX.d.test", "mx.D.test", true),
        ("mx.d.test", "mx2.d.test", false),
        ("mx.d.test", "a.mx.d.test", false),
        ("mx.d.test", "d.test", false),
        ("*.d.test", "mx.d.test", true),
        ("*.d.test", "MX.D.TEST", true),
        ("*.d.test", "d.test", false),
        ("*.d.test", "a.mx.d.test", false),
        ("*.d.test", "mxd.test", false),
        ("*.test", "d.test", true),
        ("*.test", "mx.d.test", false),
        ("xn--bcher-kva.test", "bücher.test", true),
    ] {
        let policy = policy(Mode::Testing, &["other.test", pattern], 1);
        assert_eq!(matches(&policy, &domain(host)), expected, "{pattern} {host}");
    }
}

#[test]
fn only_enforce_forbids_a_host() {
    for (mode, named, admitted) in [
        (Mode::Enforce, true, true),
        (Mode::Enforce, false, false),
        (Mode::Testing, true, true),
        (Mode::Testing, false, true),
        (Mode::None, true, true),
        (Mode::None, false, true),
    ] {
        let policy = policy(mode, &[if named { "mx.d.test" } else { "other.test" }], 1);
        assert_eq!(policy.admits(&domain("mx.d.test")), admitted, "{mode:?} {named}");
        assert_eq!(policy.enforces(), mode == Mode::Enforce);
    }
}

const DAY: i64 = 86_400;

fn cached(max_age: u64) -> Cached {
    Cached::fetched(id("1"), policy(Mode::Enforce, &["mx.d.test"], max_age), UnixSeconds(0), UnixSeconds(0))
}

#[test]
fn what_is_cached_applies_until_it_expires_or_has_a_successor() {
    use Next::{Fetch, NoPolicy, UseCached};
    let (same, newer) = (TxtAnswer::Record(id("1")), TxtAnswer::Record(id("2")));
    let (none, failed) = (TxtAnswer::NoRecord, TxtAnswer::Failed);
    let valid = cached(100);
    for (cached, now, expected) in [
        (None, 0, [Fetch, Fetch, NoPolicy, NoPolicy]),
        (Some(&valid), 0, [UseCached, Fetch, UseCached, UseCached]),
        (Some(&valid), 99, [UseCached, Fetch, UseCached, UseCached]),
        (Some(&valid), 100, [Fetch, Fetch, NoPolicy, NoPolicy]),
        // The clock was set back.
        (Some(&valid), -1000, [UseCached, Fetch, UseCached, UseCached]),
    ] {
        let found = [&same, &newer, &none, &failed].map(|answer| next(cached, answer, UnixSeconds(now)));
        assert_eq!(found, expected, "at {now}");
    }
    // A policy of no duration is never cached.
    assert_eq!(next(Some(&cached(0)), &same, UnixSeconds(0)), Fetch);
}

#[test]
fn a_policy_is_refreshed_daily_before_it_expires_while_it_is_used() {
    for (max_age, refresh_at) in [(31_557_600, DAY), (2 * 86_400, DAY), (86_400, DAY / 2), (3600, 1800), (60, 300)] {
        assert_eq!(cached(max_age).refresh_at, UnixSeconds(refresh_at), "{max_age}");
    }
    let year = cached(31_557_600);
    for (now, due) in [(0, false), (DAY - 1, false), (DAY, true), (30 * DAY, true), (31 * DAY, false)] {
        assert_eq!(year.is_due(UnixSeconds(now)), due, "at {now}");
    }
    let used = year.used(UnixSeconds(30 * DAY)).unwrap();
    assert!(used.is_due(UnixSeconds(31 * DAY)) && used.used(UnixSeconds(31 * DAY)).is_none());
    assert!(!used.is_due(UnixSeconds(365 * DAY + DAY)));
    // An hour later after a failure, sooner near the end, and never at once.
    for (max_age, now, refresh_at) in
        [(31_557_600, DAY, DAY + 3600), (DAY, DAY / 2, DAY / 2 + 3600), (3600, 1800, 2700), (3600, 3599, 3899)]
    {
        let postponed = cached(max_age.try_into().unwrap()).postponed(UnixSeconds(now));
        assert_eq!(postponed.refresh_at, UnixSeconds(refresh_at), "{max_age} at {now}");
    }
}

#[test]
fn a_refresh_keeps_the_id_that_cannot_be_asked_for() {
    let cached = cached(100);
    assert_eq!(refresh_as(&cached, &TxtAnswer::Record(id("2"))), Some(id("2")));
    assert_eq!(refresh_as(&cached, &TxtAnswer::Failed), Some(id("1")));
    assert_eq!(refresh_as(&cached, &TxtAnswer::NoRecord), None);
}

#[test]
fn nothing_fails_for_good_by_a_policy_that_may_be_old() {
    for (mode, confirmed, expected) in [
        (Mode::Enforce, false, true),
        (Mode::Enforce, true, false),
        (Mode::Testing, false, false),
        (Mode::None, false, false),
    ] {
        assert_eq!(must_recheck(&policy(mode, &["a.test"], 1), confirmed), expected, "{mode:?} {confirmed}");
    }
}
