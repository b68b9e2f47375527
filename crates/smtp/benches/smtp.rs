//! What each message costs in the language of SMTP: replies and commands read, content to wire form and back.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use smtp::data::{from_wire, into_wire, to_wire};
use smtp::receive::DataReceiver;
use smtp::reply::ReplyParser;
use smtp::request::Request;

fn main() {
    divan::main();
}

fn content(octets: usize) -> Vec<u8> {
    let line = b"All work and no play makes a dull message, and so on to the end of it.\r\n";
    line.iter().copied().cycle().take(octets / line.len() * line.len()).collect()
}

#[divan::bench]
fn replies_of_a_transaction(bencher: Bencher) {
    bencher.bench(|| {
        let mut parser = ReplyParser::default();
        parser.push(black_box(b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"));
        (parser.next_reply(), parser.next_reply(), parser.next_reply())
    });
}

#[divan::bench]
fn reply_to_ehlo(bencher: Bencher) {
    bencher.bench(|| {
        let mut parser = ReplyParser::default();
        parser.push(black_box(
            b"250-mx.example.com\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-STARTTLS\r\n\
            250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n",
        ));
        parser.next_reply()
    });
}

#[divan::bench]
fn mail_and_rcpt() -> [bool; 2] {
    let lines: [&[u8]; 2] = [b"MAIL FROM:<app@example.com> SIZE=10240 BODY=8BITMIME", b"RCPT TO:<ann@example.net>"];
    lines.map(|line| Request::parse(black_box(line)).is_ok())
}

#[divan::bench(args = [1_000, 10_000, 100_000])]
fn receive_data(bencher: Bencher, octets: usize) {
    let data = [content(octets), b".\r\n".to_vec()].concat();
    bencher.counter(BytesCount::new(octets)).bench(|| {
        let mut receiver = DataReceiver::default();
        (receiver.push(black_box(&data)), receiver.into_content())
    });
}

#[divan::bench(args = [1_000, 10_000, 100_000])]
fn bare_line_ends_to_wire(bencher: Bencher, octets: usize) {
    let content: Vec<u8> = content(octets).into_iter().filter(|octet| *octet != b'\r').collect();
    bencher.counter(BytesCount::new(octets)).bench(|| to_wire(black_box(&content)));
}

#[divan::bench(args = [1_000, 10_000, 100_000])]
fn content_into_wire(bencher: Bencher, octets: usize) {
    bencher.counter(BytesCount::new(octets)).with_inputs(|| content(octets)).bench_values(into_wire);
}

#[divan::bench(args = [1_000, 10_000, 100_000])]
fn wire_to_content(bencher: Bencher, octets: usize) {
    let wire = content(octets);
    bencher.counter(BytesCount::new(octets)).bench(|| from_wire(black_box(&wire)).len());
}
