use super::report::{Head, filename, subject};
use super::*;

fn domain(name: &str) -> Domain {
    name.parse().unwrap()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn sts() -> AppliedPolicy {
    AppliedPolicy {
        kind: PolicyType::Sts,
        strings: strings(&["version: STSv1", "mode: enforce", "mx: *.y.example", "max_age: 86400"]),
        domain: domain("y.example"),
        mx_patterns: strings(&["*.y.example"]),
    }
}

fn expired(ip: &str) -> Failure {
    Failure {
        sending_mta_ip: Some(ip.parse().unwrap()),
        receiving_mx_hostname: Some("mx1.y.example".to_owned()),
        ..Failure::of(ResultType::CertificateExpired)
    }
}

fn counted(policy: AppliedPolicy, outcome: Outcome, sessions: u64) -> Counted {
    Counted { result: SessionResult::new(policy, outcome), sessions }
}

fn head() -> Head<'static> {
    Head { organization: "Company-X", contact: "tls@x.example", id: "1@x.example", day: Day::of(1_459_468_800) }
}

#[test]
fn a_days_counters_become_a_report() {
    let tlsa = AppliedPolicy {
        kind: PolicyType::Tlsa,
        strings: strings(&["3 1 1 0B9F"]),
        domain: domain("mx1.y.example"),
        mx_patterns: Vec::new(),
    };
    let counted = [
        counted(sts(), Outcome::Failure(expired("192.0.2.1")), 3),
        counted(tlsa, Outcome::Failure(Failure::of(ResultType::TlsaInvalid)), 5),
        counted(sts(), Outcome::Success, 10),
        counted(sts(), Outcome::Failure(expired("192.0.2.1")), 4),
        counted(sts(), Outcome::Failure(expired("192.0.2.2")), 1),
    ];
    let report = Report::of(head(), &counted);
    assert_eq!(
        String::from_utf8(report.to_json()).unwrap(),
        concat!(
            r#"{"organization-name":"Company-X","#,
            r#""date-range":{"start-datetime":"2016-04-01T00:00:00Z","end-datetime":"2016-04-01T23:59:59Z"},"#,
            r#""contact-info":"tls@x.example","report-id":"1@x.example","policies":[{"#,
            r#""policy":{"policy-type":"tlsa","policy-string":["3 1 1 0B9F"],"policy-domain":"mx1.y.example"},"#,
            r#""summary":{"total-successful-session-count":0,"total-failure-session-count":5},"#,
            r#""failure-details":[{"result-type":"tlsa-invalid","failed-session-count":5}]},{"#,
            r#""policy":{"policy-type":"sts","#,
            r#""policy-string":["version: STSv1","mode: enforce","mx: *.y.example","max_age: 86400"],"#,
            r#""policy-domain":"y.example","mx-host":["*.y.example"]},"#,
            r#""summary":{"total-successful-session-count":10,"total-failure-session-count":8},"#,
            r#""failure-details":[{"result-type":"certificate-expired","sending-mta-ip":"192.0.2.1","#,
            r#""receiving-mx-hostname":"mx1.y.example","failed-session-count":7},"#,
            r#"{"result-type":"certificate-expired","sending-mta-ip":"192.0.2.2","#,
            r#""receiving-mx-hostname":"mx1.y.example","failed-session-count":1}]}]}"#
        )
    );
    assert_eq!(Report::parse(&report.to_json()), Ok(report.clone()));
    assert_eq!(report.sessions(), (10, 13));
}

#[test]
fn names_are_those_of_the_rfc() {
    let (x, y) = (domain("x.example"), domain("y.example"));
    let name = filename(&x, &y, Day::of(1_459_468_800), "0a1b");
    assert_eq!(name, "x.example!y.example!1459468800!1459555199!0a1b.json.gz");
    let subject = subject(&x, &y, "1@x.example");
    assert_eq!(subject, "Report Domain: y.example Submitter: x.example Report-ID: <1@x.example>");
}

#[test]
fn what_strangers_make_long_is_cut() {
    let policy = AppliedPolicy { strings: vec!["é".repeat(600); 100], ..sts() };
    let failure = Failure { failure_reason_code: Some("x".repeat(9000)), ..expired("192.0.2.1") };
    let result = SessionResult::new(policy, Outcome::Failure(failure));
    assert_eq!((result.policy().strings.len(), result.policy().strings[0].len()), (64, 512));
    let Outcome::Failure(failure) = result.outcome() else { panic!() };
    assert_eq!(failure.failure_reason_code.as_deref().map(str::len), Some(512));
    assert_eq!(result.in_short().outcome(), &Outcome::Failure(Failure::of(ResultType::CertificateExpired)));
}

#[test]
fn days_are_those_of_the_calendar() {
    for (seconds, text) in [
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (951_782_400, "2000-02-29"),
        (951_868_800, "2000-03-01"),
        (1_459_555_199, "2016-04-01"),
        (4_107_542_400, "2100-03-01"),
        (1_798_761_599, "2026-12-31"),
    ] {
        assert_eq!(Day::of(seconds).to_string(), text, "{seconds}");
    }
}

#[test]
fn the_words_are_those_of_the_registry() {
    for result in [ResultType::StarttlsNotSupported, ResultType::StsWebpkiInvalid, ResultType::DaneRequired] {
        assert_eq!(serde_json::to_value(result).unwrap(), result.as_str());
    }
    assert_eq!(serde_json::to_value(PolicyType::NoPolicyFound).unwrap(), PolicyType::NoPolicyFound.as_str());
}

/// RFC 8460, appendix B.
const EXAMPLE: &str = r##"{
  "organization-name": "Company-X",
  "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
  "contact-info": "sts-reporting@company-x.example",
  "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
  "policies": [{
    "policy": {
      "policy-type": "sts",
      "policy-string": ["version: STSv1","mode: testing", "mx: *.mail.company-y.example","max_age: 86400"],
      "policy-domain": "company-y.example",
      "mx-host": ["*.mail.company-y.example"]
    },
    "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
    "failure-details": [{
      "result-type": "certificate-expired",
      "sending-mta-ip": "2001:db8:abcd:0012::1",
      "receiving-mx-hostname": "mx1.mail.company-y.example",
      "failed-session-count": 100
    }, {
      "result-type": "starttls-not-supported",
      "sending-mta-ip": "2001:db8:abcd:0013::1",
      "receiving-mx-hostname": "mx2.mail.company-y.example",
      "receiving-ip": "203.0.113.56",
      "failed-session-count": 200,
      "additional-information": "https://reports.company-x.example/report_info?id=5065427c-23d3#StarttlsNotSupported"
    }, {
      "result-type": "validation-failure",
      "sending-mta-ip": "198.51.100.62",
      "receiving-ip": "203.0.113.58",
      "receiving-mx-hostname": "mx-backup.mail.company-y.example",
      "failed-session-count": 3,
      "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"
    }]
  }]
}"##;

#[test]
fn the_example_of_the_rfc_is_read() {
    let report = Report::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(report.sessions(), (5326, 303));
    assert_eq!(report.domains().collect::<Vec<_>>(), [domain("company-y.example")]);
    let details = &report.policies[0].failure_details;
    assert_eq!(details.iter().map(|detail| detail.failed_session_count).collect::<Vec<_>>(), [100, 200, 3]);
    assert_eq!(details[2].failure_reason_code.as_deref(), Some("X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"));
    assert_eq!(Report::parse(&report.to_json()), Ok(report));
}

#[test]
fn other_reporters_habits_are_understood() {
    let text = concat!(
        "\u{feff}",
        r#"{"date-range":{"start-datetime":"2016-04-01T00:00:00Z","end-datetime":"2016-04-01T23:59:59Z"},"#,
        r#""contact-info":null,"report-id":"7","extra":{"a":[1]},"policies":[{"policy":{"policy-type":"no-policy-found","#,
        r#""policy-domain":"Y.Example","policy-string":null,"mx-host":"mx.y.example"},"#,
        r#""summary":{"total-successful-session-count":"5"},"failure-details":null}]}"#
    );
    let report = Report::parse(text.as_bytes()).unwrap();
    assert_eq!(report.policies[0].policy.mx_host, ["mx.y.example"]);
    assert_eq!((report.sessions(), report.domains().next()), ((5, 0), Some(domain("y.example"))));
}

#[test]
fn what_is_no_report_is_refused() {
    let unreadable = |text: &str| matches!(Report::parse(text.as_bytes()), Err(ReportError::Unreadable(_)));
    for text in [
        "",
        "[]",
        "{}",
        &EXAMPLE.replace("5326", "-1"),
        &EXAMPLE.replace("5326", "1.5"),
        &EXAMPLE.replace("\"sts\"", "7"),
        &"[".repeat(100_000),
    ] {
        assert!(unreadable(text), "{text:.40}");
    }
    let parse = |text: String| Report::parse(text.as_bytes()).unwrap_err();
    assert_eq!(parse(" ".repeat(5 << 20)), ReportError::TooLong);
    assert_eq!(
        parse(EXAMPLE.replace("Company-X", &"x".repeat(5000))),
        ReportError::TooMuch("a text of more than 4096 octets")
    );
    let mut report = Report::parse(EXAMPLE.as_bytes()).unwrap();
    report.policies = vec![report.policies[0].clone(); 300];
    assert_eq!(Report::parse(&report.to_json()), Err(ReportError::TooMuch("more than 256 policies")));
    report.policies.truncate(1);
    report.policies[0].failure_details = vec![report.policies[0].failure_details[0].clone(); 10_001];
    assert_eq!(Report::parse(&report.to_json()), Err(ReportError::TooMuch("more than 10000 failure details")));
    report.policies.clear();
    assert_eq!(Report::parse(&report.to_json()), Err(ReportError::Empty));
}

#[test]
fn exactly_one_record_says_where_reports_go() {
    let mail = |address: &str| Destination::Mail(address.parse().unwrap());
    let https = |url: &str| Destination::Https(url.to_owned());
    let read = |texts: &[&str]| {
        let records: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        record::destinations(&records)
    };
    for (text, places) in [
        ("v=TLSRPTv1;rua=mailto:tls@y.example", vec![mail("tls@y.example")]),
        ("v=TLSRPTv1; rua=mailto:t%2Bls@y.example?subject=x;", vec![mail("t+ls@y.example")]),
        (
            "v=TLSRPTv1; x=1; rua=https://r.y.example/v1/tlsrpt , MAILTO:a@y.example,mailto:a@y.example; y=2",
            vec![https("https://r.y.example/v1/tlsrpt"), mail("a@y.example")],
        ),
        ("v=TLSRPTv1;rua=http://y.example/,ftp://y.example,mailto:a@y.example", vec![mail("a@y.example")]),
    ] {
        assert_eq!(read(&["v=spf1 -all", text]), Ok(places), "{text}");
    }
    let one = "v=TLSRPTv1;rua=mailto:tls@y.example";
    for (texts, why) in [
        (&[][..], NoRecord::Absent),
        (&["v=TLSRPTv2;rua=mailto:tls@y.example"], NoRecord::Absent),
        (&["V=tlsrptv1;rua=mailto:tls@y.example"], NoRecord::Absent),
        (&["v=TLSRPTv1 rua=mailto:tls@y.example"], NoRecord::Absent),
        (&[one, one], NoRecord::Several),
        (&["v=TLSRPTv1;"], NoRecord::Nowhere),
        (&["v=TLSRPTv1;rua="], NoRecord::Nowhere),
        (&["v=TLSRPTv1;rua=mailto:nobody"], NoRecord::Nowhere),
        (&["v=TLSRPTv1;rua=https:y.example"], NoRecord::Nowhere),
        (&["v=TLSRPTv1;rua=https://y.example/a b"], NoRecord::Nowhere),
    ] {
        assert_eq!(read(texts), Err(why), "{texts:?}");
    }
    let many: Vec<String> = (0..9).map(|number| format!("mailto:a{number}@y.example")).collect();
    assert_eq!(read(&[&format!("v=TLSRPTv1;rua={}", many.join(","))]).unwrap().len(), 5);
    assert_eq!(record::name(&domain("y.example")), Some(domain("_smtp._tls.y.example")));
    for place in [mail("a%b@y.example"), https("https://y.example/%20?a=b")] {
        assert_eq!(place.to_string().parse(), Ok(place));
    }
}
