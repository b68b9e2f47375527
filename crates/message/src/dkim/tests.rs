use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};

use super::*;

/// The message of RFC 8463 §A.2.
const MESSAGE: &str = "From: Joe SixPack <joe@football.example.com>\r\n\
    To: Suzie Q <suzie@shopping.example.net>\r\n\
    Subject: Is dinner ready?\r\n\
    Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
    Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\
    \r\n\
    Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";

fn pem(label: &str, der: &[u8]) -> String {
    let lines: Vec<String> =
        STANDARD.encode(der).as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The key of RFC 8463 §A.1, as `openssl genpkey` would write it.
fn ed25519() -> SigningKey {
    let seed = STANDARD.decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").unwrap();
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    SigningKey::from_pem(&pem("PRIVATE KEY", &[&head[..], &seed].concat())).unwrap()
}

fn rsa_der() -> Vec<u8> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref().to_vec()
}

fn signer(key: SigningKey) -> Signer {
    Signer::new("football.example.com".parse().unwrap(), "brisbane".parse().unwrap(), key)
}

fn body_hash(body: &str) -> String {
    STANDARD.encode(canonical::body_hash(body.as_bytes()))
}

/// Checks a signature in another way than it was made: the value of `b=` is cut out of the text.
fn verify(field: &[u8], content: &str, public: &[u8], algorithm: &'static dyn VerificationAlgorithm) -> bool {
    let field = str::from_utf8(field).unwrap();
    let value = |tag: &str| {
        let flat: String = field.split_once(':').unwrap().1.split_ascii_whitespace().collect();
        flat.split(';').find_map(|part| part.strip_prefix(tag)?.strip_prefix('=').map(str::to_owned)).unwrap()
    };
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in content.split("\r\n\r\n").next().unwrap().split("\r\n") {
        match line.split_once(':') {
            Some((name, rest)) if !line.starts_with([' ', '\t']) => fields.push((name.to_lowercase(), rest.to_owned())),
            _ => fields.last_mut().unwrap().1.push_str(line),
        }
    }
    let mut data = String::new();
    let flat = |value: &str| value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    for name in value("h").split(':').map(str::to_lowercase) {
        if let Some(index) = fields.iter().rposition(|(found, _)| *found == name) {
            let (name, value) = fields.remove(index);
            data += &format!("{name}:{}\r\n", flat(&value));
        }
    }
    let unsigned = field.rsplit_once(" b=").unwrap().0;
    data += &format!("dkim-signature:{} b=", flat(unsigned.split_once(':').unwrap().1));
    let body = content.split_once("\r\n\r\n").unwrap().1;
    let signature = STANDARD.decode(value("b")).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data.as_bytes());
    let message = if value("a") == "ed25519-sha256" { digest.as_ref() } else { data.as_bytes() };
    value("bh") == body_hash(body) && UnparsedPublicKey::new(algorithm, public).verify(message, &signature).is_ok()
}

#[test]
fn bodies_are_hashed_in_their_relaxed_form() {
    // The digests come from another implementation.
    for (body, hash) in [
        ("", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        ("\r\n", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        (" \r\n", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        ("Hello!\r\n  \r\n\r\n", "EVfAHeUMDygbJe0SkMWJHjgXGjtiTLZnMQbyWqzsrCY="),
        (" C \r\nD \t E\r\n\r\n\r\n", "unak6JHq0wL+Q1HP7dW1tjBx9FLA6DffoZ0qrLwbbpo="),
        ("a", "jkYhN5eG70Kk/sFVzVJcKR3X2zwf3jR4Ui9PYcA/0b0="),
        ("a\r\n\r\n \t\r\nb  \tc \r\n \r\n", "x1qCL69ds6KO60OP6oHZNBjJWj5/PNL5/MITYgjH4HY="),
        ("\r\n\r\nx\r\n", "hHl0gskkj3KarB8IzxZHkNJubfPe+wREH5JIHngjIuU="),
    ] {
        assert_eq!(body_hash(body), hash, "{body:?}");
    }
}

#[test]
fn the_example_of_rfc_8463_comes_out() {
    let names = ["from", "to", "subject", "date", "message-id", "from", "subject", "date"];
    let section = Section::parse(MESSAGE.as_bytes()).unwrap();
    let mut data = canonical::header(&section, &names);
    let field = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; \
        i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : \
        message-id : from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=";
    canonical::field(field.as_bytes(), &mut data);
    let signature = ed25519().sign(&data[..data.len() - 2]).unwrap();
    let expected = "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";
    assert_eq!(STANDARD.encode(signature), expected);
    assert_eq!(body_hash(MESSAGE.split_once("\r\n\r\n").unwrap().1), "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
}

#[test]
fn signatures_hold_and_what_they_cover_cannot_be_changed() {
    let rsa = rsa_der();
    for (key, algorithm) in [
        (ed25519(), &ED25519 as &'static dyn VerificationAlgorithm),
        (SigningKey::from_pem(&pem("PRIVATE KEY", &rsa)).unwrap(), &RSA_PKCS1_2048_8192_SHA256),
        // What is inside of PKCS#8 is PKCS#1.
        (SigningKey::from_pem(&pem("RSA PRIVATE KEY", &rsa[26..])).unwrap(), &RSA_PKCS1_2048_8192_SHA256),
    ] {
        let public = key.public().to_vec();
        let field = signer(key).sign(MESSAGE.as_bytes(), 1_528_637_909).unwrap();
        assert!(verify(&field, MESSAGE, &public, algorithm));
        for (from, to) in [("dinner", "lunch"), ("Hi.", "Ho."), ("\r\n\r\nHi", "\r\nFrom: evil@example\r\n\r\nHi")] {
            assert!(!verify(&field, &MESSAGE.replacen(from, to, 1), &public, algorithm), "{to}");
        }
        // White space may change on the way, and further trace fields may come.
        let relayed = MESSAGE.replace("Is dinner", "Is\r\n  dinner") + "  \r\n\r\n";
        assert!(verify(&field, &format!("Received: x\r\n{relayed}"), &public, algorithm));
    }
}

#[test]
fn the_field_is_folded_and_says_what_it_must() {
    let field = signer(ed25519()).sign(MESSAGE.as_bytes(), 1_528_637_909).unwrap();
    let text = String::from_utf8(field).unwrap();
    assert!(text.lines().all(|line| line.len() <= 78), "{text}");
    assert!(text.ends_with("\r\n") && text.lines().skip(1).all(|line| line.starts_with(' ')), "{text}");
    let flat: String = text.split_ascii_whitespace().collect();
    for tag in [
        "DKIM-Signature:v=1;a=ed25519-sha256;c=relaxed/relaxed;d=football.example.com;s=brisbane;t=1528637909;",
        "h=From:From:To:To:Subject:Subject:Date:Date:Message-ID:Message-ID:Reply-To:Cc:MIME-Version:Content-Type;",
    ] {
        assert!(flat.contains(tag), "{flat}");
    }
    assert!(!flat.contains(";l="));
    let (name, record) = signer(ed25519()).record();
    assert_eq!(name, "brisbane._domainkey.football.example.com");
    assert_eq!(record, "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
}

#[test]
fn what_cannot_be_signed_is_refused() {
    let sign = |content: &str| signer(ed25519()).sign(content.as_bytes(), 0).err();
    assert_eq!(sign("To: a@b.example\r\n\r\n"), Some(SignError::NoFrom));
    assert!(matches!(sign("no field\r\n\r\n"), Some(SignError::Header(_))));
    for stray in ["From: a@b.example\n\nx", "From: a@b.example\r\n\r\na\rb\r\n", "From: a@b.example\r\n\r\nx\r"] {
        assert_eq!(sign(stray), Some(SignError::LineEnding), "{stray:?}");
    }
    assert_eq!(sign("From: a@b.example\r\n"), None);
}

#[test]
fn keys_are_read_or_refused_in_words() {
    let good = pem("PRIVATE KEY", &rsa_der());
    let read = |text: &str| SigningKey::from_pem(text).err();
    assert_eq!(read(&format!("Bag Attributes\n{}{good}", pem("CERTIFICATE", b"x"))), None);
    assert_eq!(read(&good.replace('\n', "\r\n")), None);
    for (text, error) in [
        ("", KeyError::NoKey),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", KeyError::NoKey),
        ("-----BEGIN PRIVATE KEY-----\nAAAA", KeyError::Unreadable),
        ("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n", KeyError::Unreadable),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----", KeyError::Encrypted),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----",
            KeyError::Encrypted,
        ),
        (&"x".repeat(40_000), KeyError::NoKey),
    ] {
        assert_eq!(read(text), Some(error), "{text:.60}");
    }
    assert_eq!(format!("{:?}", ed25519()), "SigningKey(ed25519)");
}

/// `openssl genrsa 1024`, made for this test alone.
const SHORT: &str = include_str!("rsa-1024.pem");

#[test]
fn a_short_key_is_refused() {
    assert_eq!(SigningKey::from_pem(SHORT).err(), Some(KeyError::Short));
}

#[test]
fn keys_are_made_and_written_as_they_are_read() {
    for (kind, bits) in [(KeyKind::Rsa2048, Some(2048)), (KeyKind::Ed25519, None)] {
        let key = SigningKey::generate(kind).unwrap();
        let text = key.to_pem().unwrap();
        assert!(text.lines().all(|line| line.len() <= 64));
        let read = SigningKey::from_pem(&text).unwrap();
        assert_eq!((read.rsa_bits(), read.record()), (bits, key.record()));
        let (one, other) = (signer(key).sign(MESSAGE.as_bytes(), 0), signer(read).sign(MESSAGE.as_bytes(), 0));
        assert_eq!(one, other);
    }
}
