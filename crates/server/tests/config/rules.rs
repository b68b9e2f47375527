//! Rules per destination.

use policy::rule::Pin;
use policy::tls::{Fallback, Minimum};

use super::*;

#[test]
fn a_rule_of_a_file_of_authorities() {
    let pem = testkit::Ca::new().unwrap();
    let folder = file_with("").parent().unwrap().to_owned();
    let (file, both) = (folder.join("ca.pem"), folder.join("both.pem"));
    std::fs::write(&file, pem.pem()).unwrap();
    let quoted = format!("{:?}", file.display().to_string());
    let text = format!("[[rules]]\ndestinations = [\"a.test\"]\nca = {quoted}\ntls_fallback = \"defer\"\n");
    let loaded = load_text(&text).unwrap();
    let rule = &loaded.config.rules[0].rule;
    assert_eq!((rule.minimum, rule.fallback), (Minimum::Verified, Some(Fallback::Defer)));
    assert_eq!(rule.pin.as_deref(), Some(&Pin::Authorities(vec![pem.der().to_vec()])));
    let again = load_text(&show::as_toml(&loaded)).unwrap();
    assert_eq!(again.config.rules, loaded.config.rules);

    let fingerprint = "00".repeat(32);
    let error = load_text(&format!("{text}certificate = [\"{fingerprint}\"]\n")).unwrap_err().to_string();
    assert!(error.contains("waxwing.toml:1:") && error.contains("rules[1]: has both a 'ca' and a 'cert"), "{error}");
    // One that cannot be used is not left out silently.
    let no_authority = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&both, pem.pem() + no_authority).unwrap();
    let error = load_text(&text.replace("ca.pem", "both.pem")).unwrap_err().to_string();
    assert!(error.contains("rules[1].ca: ") && error.contains("certificate 2 of this file is not one of"), "{error}");
}

#[test]
fn a_rule_that_has_ended_is_told() {
    let rule = |until: &str| format!("[[rules]]\nhosts = [\"*\"]\nminimum = \"encrypted\"\nuntil = {until}\n");
    // A date is in; a time is not.
    for (until, end) in [
        ("2027-01-31", 1_801_440_000),
        ("\"2027-01-31\"", 1_801_440_000),
        ("2027-01-31T12:00:00Z", 1_801_396_800),
        ("\"2027-01-31T12:00:00+01:00\"", 1_801_393_200),
        ("2027-01-31 12:00:00-01:00", 1_801_400_400),
    ] {
        let config = load_text(&rule(until)).unwrap().config;
        assert_eq!(config.rules[0].rule.until, Some(end), "{until}");
        assert_eq!((config.ended_rules(end - 1).len(), config.ended_rules(end).len()), (0, 1));
    }
    let loaded = load_text(&(rule("9999-01-01") + &rule("2020-02-29"))).unwrap();
    let warning = "rules[2] has ended (until 2020-02-29) and applies no more";
    let shown = show::as_toml(&loaded);
    assert_eq!(shown.lines().filter(|line| line.contains("has ended")).collect::<Vec<_>>(), [format!("# {warning}")]);
    assert_eq!(show::as_json(&loaded)["rules"]["warnings"], serde_json::json!([warning]));
    assert_eq!(show::as_json(&loaded)["routes"].get("warnings"), None);
}
