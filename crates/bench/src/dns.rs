//! A DNS authority for the laboratory that answers for any name below `.test` and keeps nothing: a hundred thousand domains
//! cost it no more than one.
//!
//! `d17.test` has the MX host `mx.d17.test`, a site of its own. A name of a group may be elsewhere: with `--group
//! dead=127.9.0.0+` the host of `dead17.test` is at 127.9.0.17, with `--hosted h=10` the MX host of `h17.test` is
//! `mx.host7.test`. Everything that is neither MX nor A does not exist (NODATA).

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use tokio::net::UdpSocket;

/// How long answers may be kept.
const TTL: u32 = 300;
const MX: u16 = 15;
const A: u16 = 1;
const SOA: u16 = 6;
const IN: u16 = 1;

/// How the authority is set up.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Where it answers, over UDP.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The address of every host that is in no group.
    #[arg(long, default_value = "127.0.0.1")]
    pub address: Ipv4Addr,
    /// PREFIX=ADDRESS: where hosts of domains are that begin so; with a + behind the address, the domain's number is added.
    #[arg(long)]
    pub group: Vec<Group>,
    /// PREFIX=COUNT: domains that begin so share this many MX hosts.
    #[arg(long)]
    pub hosted: Vec<Hosted>,
    /// Written once it listens: its address.
    #[arg(long)]
    pub ready_file: Option<PathBuf>,
}

/// Domains whose hosts are elsewhere.
#[derive(Clone, Debug)]
pub struct Group {
    prefix: String,
    address: Ipv4Addr,
    each: bool,
}

/// Domains that share MX hosts.
#[derive(Clone, Debug)]
pub struct Hosted {
    prefix: String,
    count: u32,
}

impl FromStr for Group {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (prefix, address) = text.split_once('=').ok_or("not PREFIX=ADDRESS")?;
        let each = address.ends_with('+');
        let address = address.trim_end_matches('+').parse().map_err(|error| format!("{address}: {error}"))?;
        Ok(Self { prefix: prefix.to_owned(), address, each })
    }
}

impl FromStr for Hosted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (prefix, count) = text.split_once('=').ok_or("not PREFIX=COUNT")?;
        let count = count.parse().ok().filter(|count| *count > 0).ok_or("not PREFIX=COUNT")?;
        Ok(Self { prefix: prefix.to_owned(), count })
    }
}

/// Answers until the process is ended.
pub async fn run(options: Options) -> io::Result<()> {
    let socket = UdpSocket::bind(options.listen).await?;
    if let Some(path) = &options.ready_file {
        crate::sink::write_whole(path, &format!("{}\n", socket.local_addr()?))?;
    }
    let mut buffer = [0; 1500];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(answer) = options.answer(&buffer[..length]) {
            socket.send_to(&answer, from).await.ok();
        }
    }
}

impl Options {
    /// The answer to a question (RFC 1035 §4.1); none to what is not one.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (head, rest) = query.split_at_checked(12)?;
        let is_question = head[2] & 0x80 == 0 && head[4..6] == [0, 1];
        let (labels, end) = labels(rest).filter(|_| is_question)?;
        let kind = u16::from_be_bytes(rest.get(end..end + 2)?.try_into().ok()?);
        let question = rest.get(..end + 4)?;

        let known = matches!(labels.last(), Some(last) if last == "test") && labels.len() >= 2;
        let records = match kind {
            MX if known && labels.len() == 2 => {
                let mut data = vec![0, 10];
                write_name(&mut data, &self.mail_host(&labels[0]));
                vec![data]
            }
            A if known => vec![self.address(&labels[labels.len() - 2]).octets().to_vec()],
            _ => Vec::new(),
        };
        // Authoritative; RD as it came. With nothing to say the zone's SOA tells how long that holds (RFC 2308 §3).
        let mut answer = head[..2].to_vec();
        answer.extend([0x84 | head[2] & 0x01, 0, 0, 1, 0, records.len() as u8, 0, u8::from(records.is_empty()), 0, 0]);
        answer.extend_from_slice(question);
        for data in &records {
            write_record(&mut answer, &[0xc0, 12], kind, data);
        }
        if records.is_empty() {
            let mut zone = Vec::new();
            write_name(&mut zone, "test");
            let mut data = zone.repeat(2);
            for number in [1, 3600, 600, 86400, TTL] {
                data.extend(u32::to_be_bytes(number));
            }
            write_record(&mut answer, &zone, SOA, &data);
        }
        Some(answer)
    }

    fn mail_host(&self, domain: &str) -> String {
        let number = number(domain);
        match self.hosted.iter().find(|hosted| belongs(domain, &hosted.prefix)) {
            Some(hosted) => format!("mx.host{}.test", number % hosted.count),
            None => format!("mx.{domain}.test"),
        }
    }

    fn address(&self, domain: &str) -> Ipv4Addr {
        match self.group.iter().find(|group| belongs(domain, &group.prefix)) {
            Some(Group { address, each: true, .. }) => Ipv4Addr::from(u32::from(*address) + number(domain)),
            Some(Group { address, .. }) => *address,
            None => self.address,
        }
    }
}

/// Whether a domain is the prefix, perhaps with a number.
fn belongs(domain: &str, prefix: &str) -> bool {
    domain.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn number(domain: &str) -> u32 {
    domain.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse::<u32>().unwrap_or(0) & 0xff_ffff
}

/// The labels of the name at the beginning, in lower case, and where it ends. Questions are not compressed.
fn labels(octets: &[u8]) -> Option<(Vec<String>, usize)> {
    let (mut labels, mut at) = (Vec::new(), 0);
    loop {
        let length = usize::from(*octets.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels, at));
        }
        let label = octets.get(at..at + length).filter(|_| length < 64)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}

fn write_record(out: &mut Vec<u8>, name: &[u8], kind: u16, data: &[u8]) {
    out.extend_from_slice(name);
    out.extend(kind.to_be_bytes());
    out.extend(IN.to_be_bytes());
    out.extend(TTL.to_be_bytes());
    out.extend((data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            address: Ipv4Addr::LOCALHOST,
            group: vec!["dead=127.9.0.0+".parse().unwrap(), "slow=127.0.0.2".parse().unwrap()],
            hosted: vec!["h=10".parse().unwrap()],
            ready_file: None,
        }
    }

    fn ask(name: &str, kind: u16) -> Vec<u8> {
        let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        write_name(&mut query, name);
        query.extend(kind.to_be_bytes());
        query.extend(IN.to_be_bytes());
        let answer = options().answer(&query).unwrap();
        assert_eq!(answer[..4], [7, 7, 0x85, 0], "{name}");
        assert_eq!(answer[12..query.len()], query[12..], "{name}");
        answer[6..8].iter().chain(&answer[query.len()..]).copied().collect()
    }

    #[test]
    fn any_name_has_an_address_and_any_domain_a_host() {
        for (name, address) in [
            ("mx.d5.test", [127, 0, 0, 1]),
            ("MX.DEAD258.test", [127, 9, 1, 2]),
            ("mx.slow.test", [127, 0, 0, 2]),
            ("mx.slower.test", [127, 0, 0, 1]),
        ] {
            assert!(ask(name, A).starts_with(&[0, 1]) && ask(name, A).ends_with(&address), "{name}");
        }
        for (domain, host) in [("d5.test", "mx.d5.test"), ("h27.test", "mx.host7.test")] {
            let mut data = vec![0, 10];
            write_name(&mut data, host);
            assert!(ask(domain, MX).ends_with(&data), "{domain}");
        }
    }

    #[test]
    fn what_does_not_exist_is_denied_for_a_while() {
        for (name, kind) in [("d5.test", 28), ("_25._tcp.mx.d5.test", 52), ("mx.d5.test", MX), ("elsewhere.example", A)]
        {
            let answer = ask(name, kind);
            assert!(answer.starts_with(&[0, 0]) && answer.ends_with(&TTL.to_be_bytes()), "{name}");
        }
    }

    #[test]
    fn what_is_no_question_gets_no_answer() {
        let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        write_name(&mut query, "d5.test");
        query.extend([0, 1, 0, 1]);
        for length in 0..query.len() {
            assert!(options().answer(&query[..length]).is_none(), "{length}");
        }
        query[2] |= 0x80; // an answer itself
        assert!(options().answer(&query).is_none());
    }
}
