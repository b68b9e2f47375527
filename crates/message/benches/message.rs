//! What each message costs as bytes: composed, accepted whole, looked through, signed.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use message::dkim::{KeyKind, Signer, SigningKey};
use message::{Draft, Identity, accept, compose, has_words};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

fn identity() -> Identity {
    Identity::new(1_321_292_559, [7; 32], &"example.com".parse().expect("a domain"))
}

fn text(octets: usize) -> String {
    "All work and no play makes a dull message, and so on to the end of it.\r\n".repeat(octets / 72)
}

fn draft(octets: usize) -> Draft {
    let mut draft = Draft::new("App <app@example.com>".parse().expect("a mailbox"), "A message");
    draft.to = vec!["Ann <ann@example.net>".parse().expect("a mailbox")];
    draft.text = Some(text(octets));
    draft
}

fn whole(octets: usize) -> Vec<u8> {
    let head = "From: app@example.com\r\nTo: ann@example.net\r\nSubject: A message\r\nDate: Mon, 14 Nov 2011 17:42:39 +0000\r\n\
        Message-ID: <1@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n";
    format!("{head}\r\n{}", text(octets)).into_bytes()
}

#[divan::bench(args = SIZES)]
fn compose_text(bencher: Bencher, octets: usize) {
    let (draft, identity) = (draft(octets), identity());
    bencher.counter(BytesCount::new(octets)).bench(|| compose(black_box(&draft), &identity));
}

#[divan::bench(args = SIZES)]
fn compose_text_and_html(bencher: Bencher, octets: usize) {
    let (mut draft, identity) = (draft(octets / 2), identity());
    draft.html = Some(format!("<p>{}</p>", text(octets / 2)));
    bencher.counter(BytesCount::new(octets)).bench(|| compose(black_box(&draft), &identity));
}

#[divan::bench(args = SIZES)]
fn accept_whole(bencher: Bencher, octets: usize) {
    let (given, identity) = (whole(octets), identity());
    bencher.counter(BytesCount::new(octets)).bench(|| accept(black_box(&given), &[], &identity));
}

#[divan::bench(args = SIZES)]
fn look_for_words(bencher: Bencher, octets: usize) {
    let given = whole(octets);
    bencher.counter(BytesCount::new(octets)).bench(|| has_words(black_box(&given), &["unsubscribe_url%"]));
}

fn sign(bencher: Bencher, octets: usize, kind: KeyKind) {
    let key = SigningKey::generate(kind).expect("a key");
    let signer = Signer::new("example.com".parse().expect("a domain"), "k1".parse().expect("a selector"), key);
    let content = whole(octets);
    bencher.counter(BytesCount::new(octets)).bench(|| signer.sign(black_box(&content), 1_321_292_559));
}

#[divan::bench(args = SIZES)]
fn sign_rsa(bencher: Bencher, octets: usize) {
    sign(bencher, octets, KeyKind::Rsa2048);
}

#[divan::bench(args = SIZES)]
fn sign_ed25519(bencher: Bencher, octets: usize) {
    sign(bencher, octets, KeyKind::Ed25519);
}
