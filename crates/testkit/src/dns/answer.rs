//! From question to answer (RFC 1034 §4.3.2, RFC 2308, RFC 6891).

use domain::base::{
    Message, MessageBuilder, Name, Rtype, ToName,
    iana::{Class, Opcode, Rcode},
    message_builder::{AnswerBuilder, PushError},
};

use super::{
    Asked,
    zone::{Data, Owner, TroubleKind, Zone},
};

/// Aliases followed in one answer; a loop ends here.
const ALIASES: usize = 8;

/// What a UDP answer may have without EDNS (RFC 1035 §4.2.1), and what we offer with it.
const PLAIN_UDP: usize = 512;
const EDNS_UDP: u16 = 1232;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What becomes of a packet.
pub(super) struct Reply {
    /// The question, when it was one.
    pub(super) asked: Option<Asked>,
    /// The answer; `None` is silence.
    pub(super) packet: Option<Vec<u8>>,
}

/// The records of an answer.
struct Found {
    rcode: Rcode,
    records: Vec<(Owner, Data)>,
    /// Negative: the SOA goes with it.
    negative: bool,
}

pub(super) fn answer(zone: &Zone, packet: &[u8], transport: Transport) -> Reply {
    let silence = Reply { asked: None, packet: None };
    let Ok(query) = Message::from_octets(packet) else { return silence };
    if query.header().qr() {
        return silence;
    }
    let Ok(question) = query.sole_question() else {
        return Reply { packet: refuse(&query, Rcode::FORMERR), ..silence };
    };
    if query.header().opcode() != Opcode::QUERY || question.qclass() != Class::IN {
        return Reply { packet: refuse(&query, Rcode::NOTIMP), ..silence };
    }
    let name: Owner = question.qname().to_name();
    let rtype = question.qtype();
    let spelled = name.to_string().to_ascii_lowercase();
    let asked = Asked { name: spelled.trim_end_matches('.').to_owned(), rtype, tcp: transport == Transport::Tcp };
    let packet = match look_up(zone, name, rtype) {
        Ok(found) => write(zone, &query, &found, transport),
        Err(TroubleKind::Servfail) => refuse(&query, Rcode::SERVFAIL),
        Err(TroubleKind::Silent) => None,
    };
    Reply { asked: Some(asked), packet }
}

/// Follows aliases through the zone. The code is that of the last name (RFC 6604 §3).
fn look_up(zone: &Zone, mut name: Owner, rtype: Rtype) -> Result<Found, TroubleKind> {
    let mut records = Vec::new();
    for _ in 0..=ALIASES {
        if let Some(trouble) = zone.trouble_with(&name, rtype) {
            return Err(trouble);
        }
        let here: Vec<_> = zone.records(&name, rtype).map(|data| (name.clone(), data.clone())).collect();
        if !here.is_empty() {
            records.extend(here);
            return Ok(Found { rcode: Rcode::NOERROR, records, negative: false });
        }
        let Some(target) = zone.alias(&name) else {
            let rcode = if zone.exists(&name) { Rcode::NOERROR } else { Rcode::NXDOMAIN };
            return Ok(Found { rcode, records, negative: true });
        };
        records.extend(zone.records(&name, Rtype::CNAME).map(|data| (name.clone(), data.clone())));
        name = target.clone();
    }
    Err(TroubleKind::Servfail)
}

/// The answer as a packet; over UDP, where it is too long, without records and with TC set (RFC 2181 §9).
fn write(zone: &Zone, query: &Message<&[u8]>, found: &Found, transport: Transport) -> Option<Vec<u8>> {
    let limit = match (transport, query.opt()) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, None) => PLAIN_UDP,
        (Transport::Udp, Some(opt)) => usize::from(opt.udp_payload_size().clamp(PLAIN_UDP as u16, EDNS_UDP)),
    };
    let full = compose(zone, query, found, false).ok()?;
    match full.len() <= limit {
        true => Some(full),
        false => compose(zone, query, &Found { records: Vec::new(), negative: false, ..*found }, true).ok(),
    }
}

fn compose(zone: &Zone, query: &Message<&[u8]>, found: &Found, truncated: bool) -> Result<Vec<u8>, PushError> {
    let mut answer = start(query, found.rcode)?;
    answer.header_mut().set_aa(true);
    answer.header_mut().set_tc(truncated);
    for (name, data) in &found.records {
        answer.push((name, zone.ttl.as_secs(), data))?;
    }
    let mut authority = answer.authority();
    if found.negative {
        authority.push((Name::root_slice(), zone.ttl.as_secs(), zone.soa()))?;
    }
    let mut additional = authority.additional();
    if query.opt().is_some() {
        additional.opt(|opt| {
            opt.set_udp_payload_size(EDNS_UDP);
            Ok(())
        })?;
    }
    Ok(additional.finish())
}

/// An answer that is a code and nothing else.
fn refuse(query: &Message<&[u8]>, rcode: Rcode) -> Option<Vec<u8>> {
    Some(start(query, rcode).ok()?.finish())
}

fn start(query: &Message<&[u8]>, rcode: Rcode) -> Result<AnswerBuilder<Vec<u8>>, PushError> {
    let mut answer = MessageBuilder::new_vec().start_answer(query, rcode)?;
    // Stub resolvers ask for recursion and may mind when it is not there.
    answer.header_mut().set_ra(true);
    Ok(answer)
}
