//! The DNS authority, asked with packets over UDP and TCP.

use std::{net::SocketAddr, time::Duration};

use domain::{
    base::{Message, MessageBuilder, Name, Rtype, iana::Rcode},
    rdata::AllRecordData,
};
use testkit::{Authority, Zone};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

fn zone() -> Zone {
    let zone = Zone::new()
        .mx("d.test", 10, "mx1.d.test")
        .mx("d.test", 20, "mx2.d.test")
        .a("mx1.d.test", "127.0.0.2".parse().unwrap())
        .aaaa("mx1.d.test", "::1".parse().unwrap())
        .null_mx("nomail.test")
        .cname("alias.test", "d.test")
        .cname("dangling.test", "nowhere.test")
        .cname("loop.test", "pool.test")
        .cname("pool.test", "loop.test")
        .a("deep.empty.test", "127.0.0.3".parse().unwrap())
        .txt("text.test", &"x".repeat(300))
        .servfail("broken.test")
        .servfail_for("half.test", Rtype::MX)
        .a("half.test", "127.0.0.4".parse().unwrap())
        .silent("silent.test");
    (0..100).fold(zone, |zone, i| zone.mx("big.test", i, &format!("host-with-a-long-name-{i}.big.test")))
}

async fn authority() -> Authority {
    Authority::start("127.0.0.1:0".parse().unwrap(), zone()).await.unwrap()
}

fn query(name: &str, rtype: Rtype, edns: Option<u16>) -> Vec<u8> {
    let name: Name<Vec<u8>> = name.parse().unwrap();
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(4711);
    builder.header_mut().set_rd(true);
    let mut question = builder.question();
    question.push((&name, rtype)).unwrap();
    let mut additional = question.additional();
    if let Some(size) = edns {
        additional
            .opt(|opt| {
                opt.set_udp_payload_size(size);
                Ok(())
            })
            .unwrap();
    }
    additional.finish()
}

async fn ask_udp(address: SocketAddr, packet: &[u8]) -> Option<Message<Vec<u8>>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(packet, address).await.unwrap();
    let mut answer = vec![0; 65_535];
    let length = timeout(Duration::from_millis(500), socket.recv(&mut answer)).await.ok()?.unwrap();
    answer.truncate(length);
    Some(Message::from_octets(answer).unwrap())
}

async fn ask_tcp(address: SocketAddr, packet: &[u8]) -> Message<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_u16(packet.len().try_into().unwrap()).await.unwrap();
    stream.write_all(packet).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_octets(answer).unwrap()
}

fn records(message: &Message<Vec<u8>>) -> Vec<String> {
    let records = message.answer().unwrap().limit_to::<AllRecordData<_, _>>();
    records.map(|record| record.unwrap()).map(|record| format!("{} {}", record.owner(), record.data())).collect()
}

#[tokio::test]
async fn questions_get_their_answers() {
    let authority = authority().await;
    let cases: [(&str, Rtype, Rcode, &[&str]); 14] = [
        ("d.test", Rtype::MX, Rcode::NOERROR, &["d.test 10 mx1.d.test.", "d.test 20 mx2.d.test."]),
        // The owner is spelled as the asker spelled it, which some check against forgery.
        ("D.TeSt", Rtype::MX, Rcode::NOERROR, &["D.TeSt 10 mx1.d.test.", "D.TeSt 20 mx2.d.test."]),
        ("mx1.d.test", Rtype::A, Rcode::NOERROR, &["mx1.d.test 127.0.0.2"]),
        ("mx1.d.test", Rtype::AAAA, Rcode::NOERROR, &["mx1.d.test ::1"]),
        ("nomail.test", Rtype::MX, Rcode::NOERROR, &["nomail.test 0 ."]),
        (
            "alias.test",
            Rtype::MX,
            Rcode::NOERROR,
            &["alias.test d.test.", "d.test 10 mx1.d.test.", "d.test 20 mx2.d.test."],
        ),
        ("alias.test", Rtype::CNAME, Rcode::NOERROR, &["alias.test d.test."]),
        ("alias.test", Rtype::A, Rcode::NOERROR, &["alias.test d.test."]),
        ("dangling.test", Rtype::A, Rcode::NXDOMAIN, &["dangling.test nowhere.test."]),
        ("loop.test", Rtype::A, Rcode::SERVFAIL, &[]),
        ("empty.test", Rtype::A, Rcode::NOERROR, &[]),
        ("d.test", Rtype::TXT, Rcode::NOERROR, &[]),
        ("nothing.test", Rtype::MX, Rcode::NXDOMAIN, &[]),
        ("half.test", Rtype::A, Rcode::NOERROR, &["half.test 127.0.0.4"]),
    ];
    for (name, rtype, rcode, expected) in cases {
        let packet = query(name, rtype, None);
        let answer = ask_udp(authority.address(), &packet).await.unwrap();
        let header = answer.header();
        assert_eq!(
            (header.rcode(), header.id(), header.qr(), header.tc()),
            (rcode, 4711, true, false),
            "{name} {rtype}"
        );
        assert_eq!(header.aa(), rcode != Rcode::SERVFAIL, "{name} {rtype}");
        assert_eq!(records(&answer), expected, "{name} {rtype}");
        let answered = rcode == Rcode::NOERROR
            && expected.last().is_some_and(|last| !last.starts_with("alias") || rtype == Rtype::CNAME);
        let negative = rcode != Rcode::SERVFAIL && !answered;
        assert_eq!(answer.header_counts().nscount(), u16::from(negative), "{name} {rtype}: SOA");
        assert_eq!(
            ask_tcp(authority.address(), &packet).await.as_slice(),
            answer.as_slice(),
            "{name} {rtype} over TCP"
        );
    }
    let asked = authority.queries();
    assert_eq!((asked[0].to_string().as_str(), asked[0].tcp), ("d.test MX", false));
    assert_eq!((asked[3].to_string().as_str(), asked[3].tcp), ("d.test MX", true));
}

#[tokio::test]
async fn trouble_is_as_ordered() {
    let authority = authority().await;
    for (name, rtype) in [("broken.test", Rtype::MX), ("broken.test", Rtype::A), ("half.test", Rtype::MX)] {
        let answer = ask_udp(authority.address(), &query(name, rtype, Some(1232))).await.unwrap();
        assert_eq!(answer.header().rcode(), Rcode::SERVFAIL, "{name} {rtype}");
    }
    assert!(ask_udp(authority.address(), &query("silent.test", Rtype::MX, None)).await.is_none());
    assert!(authority.queries().iter().any(|asked| asked.name == "silent.test"));
    // Rubbish gets silence or FORMERR, and does no harm.
    assert!(ask_udp(authority.address(), b"rubbish").await.is_none());
    let empty = MessageBuilder::new_vec().finish();
    assert_eq!(ask_udp(authority.address(), &empty).await.unwrap().header().rcode(), Rcode::FORMERR);
    assert!(ask_udp(authority.address(), &query("d.test", Rtype::MX, None)).await.is_some());
}

#[tokio::test]
async fn long_answers_are_truncated_over_udp_and_whole_over_tcp() {
    let authority = authority().await;
    for edns in [None, Some(512), Some(1232), Some(65_000)] {
        let packet = query("big.test", Rtype::MX, edns);
        let short = ask_udp(authority.address(), &packet).await.unwrap();
        assert!(short.header().tc() && records(&short).is_empty(), "{edns:?}");
        assert_eq!(short.opt().is_some(), edns.is_some());
        let whole = ask_tcp(authority.address(), &packet).await;
        assert!(!whole.header().tc());
        assert_eq!(records(&whole).len(), 100);
    }
    // EDNS makes room for more than 512.
    let text = query("text.test", Rtype::TXT, None);
    assert!(!ask_udp(authority.address(), &text).await.unwrap().header().tc());
    authority.update(|zone| (0..20).fold(zone, |zone, i| zone.mx("mid.test", i, "a-host-with-a-long-name.mid.test")));
    for (edns, truncated) in [(None, true), (Some(1232), false)] {
        let answer = ask_udp(authority.address(), &query("mid.test", Rtype::MX, edns)).await.unwrap();
        assert_eq!(answer.header().tc(), truncated, "{edns:?}");
    }
}

#[tokio::test]
async fn the_zone_changes_at_run_time() {
    let authority = authority().await;
    let packet = query("d.test", Rtype::MX, None);
    authority.update(|zone| zone.without("d.test").mx("d.test", 5, "new.d.test"));
    assert_eq!(records(&ask_udp(authority.address(), &packet).await.unwrap()), ["d.test 5 new.d.test."]);
    authority.set(Zone::new());
    assert_eq!(ask_udp(authority.address(), &packet).await.unwrap().header().rcode(), Rcode::NXDOMAIN);
}
