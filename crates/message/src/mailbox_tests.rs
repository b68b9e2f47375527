use super::*;

fn shown(list: &str) -> Vec<(Option<String>, String)> {
    let mailboxes = Mailbox::parse_list(list).unwrap_or_else(|e| panic!("{list:?}: {e}"));
    mailboxes.into_iter().map(|m| (m.name, m.address.to_string())).collect()
}

#[test]
fn one_mailbox_is_read_as_people_write_it() {
    for (text, name, address) in [
        ("b@example.net", None, "b@example.net"),
        (" <b@example.net> ", None, "b@example.net"),
        ("C <c@example.net>", Some("C"), "c@example.net"),
        ("C<c@example.net>", Some("C"), "c@example.net"),
        ("\"Last, First\" <x@y.example>", Some("Last, First"), "x@y.example"),
        ("\"A \\\"B\\\" \\\\ C\" <x@y.example>", Some("A \"B\" \\ C"), "x@y.example"),
        ("\"Dr\" Jane  Q. Public <x@y.example>", Some("Dr Jane Q. Public"), "x@y.example"),
        ("Jörg Müller <x@y.example>", Some("Jörg Müller"), "x@y.example"),
        ("山田太郎 <x@y.example>", Some("山田太郎"), "x@y.example"),
        ("O'Brien & Söhne [Team] <x@y.example>", Some("O'Brien & Söhne [Team]"), "x@y.example"),
        ("x@y.example <x@y.example>", Some("x@y.example"), "x@y.example"),
        ("\"\" <x@y.example>", None, "x@y.example"),
        ("(c, (d) \\) e) A (f) <x@y.example> (g)", Some("A"), "x@y.example"),
        ("x@y.example (Bob)", None, "x@y.example"),
        ("=?utf-8?Q?J=C3=B6rg?= <x@y.example>", Some("Jörg"), "x@y.example"),
        ("=?utf-8?B?SsO2?= =?utf-8?B?cmc=?= M <x@y.example>", Some("Jörg M"), "x@y.example"),
        ("=?iso-8859-1?Q?J=F6rg?= <x@y.example>", Some("Jörg"), "x@y.example"),
        ("\"=?utf-8?Q?a?=\" <x@y.example>", Some("=?utf-8?Q?a?="), "x@y.example"),
        ("\"a b\"@example.com", None, "\"a b\"@example.com"),
        ("Q <\"a>,b\"@example.com>", Some("Q"), "\"a>,b\"@example.com"),
        ("b@bücher.example", None, "b@xn--bcher-kva.example"),
        ("Ж <жук@example.com>", Some("Ж"), "жук@example.com"),
    ] {
        assert_eq!(shown(text), [(name.map(str::to_owned), address.to_owned())], "{text:?}");
    }
}

#[test]
fn a_list_is_separated_by_commas() {
    for (list, addresses) in [
        ("b@example.net,C <c@example.net>", &["b@example.net", "c@example.net"][..]),
        ("\"Last, First\" <a@y.z>, (x, y) b@y.z", &["a@y.z", "b@y.z"]),
        ("a@y.z, , b@y.z,", &["a@y.z", "b@y.z"]),
    ] {
        let found: Vec<String> = shown(list).into_iter().map(|(_, address)| address).collect();
        assert_eq!(found, addresses, "{list:?}");
    }
}

#[test]
fn one_bad_entry_spoils_the_list_and_is_named() {
    for (list, entry) in [
        ("a@y.z, nonsense, b@y.z", "nonsense"),
        ("Last, First <x@y.z>", "Last"),
        ("a@y.z, b@", "b@"),
        ("a@y.z b@y.z", "a@y.z b@y.z"),
        ("A <a@y.z> B", "A <a@y.z> B"),
        ("A <a@y.z> <b@y.z>", "A <a@y.z> <b@y.z>"),
        ("A <a@y.z>, B <b@y.z", "B <b@y.z"),
        ("a@y.z, \"open <b@y.z>", "\"open <b@y.z>"),
        ("(open a@y.z", "(open a@y.z"),
        ("A <>", "A <>"),
        ("<@a.b,@c.d:e@f.g>", "<@a.b,@c.d:e@f.g>"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("Team: a@y.z, b@y.z;", "Team: a@y.z"),
        ("undisclosed-recipients:;", "undisclosed-recipients:;"),
        ("a@y.z; b@y.z", "a@y.z; b@y.z"),
        ("A: B <a@y.z>", "A: B <a@y.z>"),
        ("A\r\nBcc: x@y.z <a@y.z>", "A  Bcc: x@y.z <a@y.z>"),
        ("a@y.z\n", "a@y.z\n"),
        ("\"A\0\" <a@y.z>", "\"A \" <a@y.z>"),
        ("=?utf-8?Q?A=0D=0ABcc:_x?= <a@y.z>", "=?utf-8?Q?A=0D=0ABcc:_x?= <a@y.z>"),
    ] {
        match Mailbox::parse_list(list) {
            // The white space around an entry is not part of it, except for what is refused for it.
            Err(MailboxError::Entry { entry: named, .. }) => assert_eq!(named.trim(), entry.trim(), "{list:?}"),
            Ok(mailboxes) if list.trim() != list => assert_eq!(mailboxes.len(), 1),
            other => panic!("{list:?}: {other:?}"),
        }
    }
}

#[test]
fn faults_say_what_is_wrong() {
    for (text, message) in [
        ("", "there is no address"),
        (" , ", "there is no address"),
        ("bob", "'bob': there is no '@'"),
        ("T: a@y.z", "'T: a@y.z': groups are not supported; separate addresses by commas"),
        ("\"A <a@y.z>", "'\"A <a@y.z>': quotes or brackets do not match"),
        ("A\u{1} <a@y.z>", "'A  <a@y.z>': control characters are not allowed"),
    ] {
        assert_eq!(Mailbox::parse_list(text).unwrap_err().to_string(), message, "{text:?}");
    }
}

#[test]
fn sizes_are_limited() {
    let many = |n: usize| vec!["a@y.z"; n].join(",");
    assert_eq!(Mailbox::parse_list(&many(MAILBOXES)).unwrap().len(), MAILBOXES);
    assert_eq!(Mailbox::parse_list(&many(MAILBOXES + 1)), Err(MailboxError::TooMany));
    assert_eq!(Mailbox::parse_list(&" ".repeat(MAILBOX_LIST_OCTETS + 1)), Err(MailboxError::TooLong));
    assert!(Mailbox::parse_list(&format!("{} <a@y.z>", "n".repeat(DISPLAY_NAME_OCTETS))).is_ok());
    assert!(Mailbox::parse_list(&format!("{} <a@y.z>", "n".repeat(DISPLAY_NAME_OCTETS + 1))).is_err());
    let entry = |comment: usize| format!("({}) a@y.z", "c".repeat(comment));
    assert!(Mailbox::parse_list(&entry(MAILBOX_OCTETS - 8)).is_ok());
    assert!(Mailbox::parse_list(&entry(MAILBOX_OCTETS - 7)).is_err());
    // Hostile nesting costs neither stack nor time.
    assert!(Mailbox::parse_list(&"(".repeat(MAILBOX_LIST_OCTETS)).is_err());
    assert!(Mailbox::parse_list(&"<".repeat(MAILBOX_LIST_OCTETS)).is_err());
}

#[test]
fn one_mailbox_means_one() {
    assert_eq!("a@y.z, b@y.z".parse::<Mailbox>(), Err(MailboxError::NotOne));
    assert_eq!("A <a@y.z>".parse::<Mailbox>().unwrap().name(), Some("A"));
}

#[test]
fn a_shown_mailbox_reads_back() {
    let address: Address = "x@y.example".parse().unwrap();
    for name in ["Bob", "Last, First", "A \"B\" \\ C", "a@b", "T: x;", "(c)", "=?utf-8?Q?a?=", "山田", "<x>"] {
        let mailbox = Mailbox::new(Some(name), address.clone()).unwrap();
        assert_eq!(mailbox.to_string().parse::<Mailbox>().unwrap(), mailbox, "{mailbox}");
    }
    assert_eq!(Mailbox::new(Some("Bob"), address.clone()).unwrap().to_string(), "Bob <x@y.example>");
    assert_eq!(Mailbox::new(None, address.clone()).unwrap().to_string(), "x@y.example");
    assert!(Mailbox::new(Some("A\r\nB"), address).is_err());
}
