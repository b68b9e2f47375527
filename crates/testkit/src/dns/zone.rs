//! What the authority knows, built record by record.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use domain::{
    base::{Name, Rtype, Serial, Ttl, rdata::RecordData},
    rdata::{A, Aaaa, Cname, Mx, Ptr, Soa, Txt, ZoneRecordData},
};

pub(super) type Owner = Name<Vec<u8>>;
pub(super) type Data = ZoneRecordData<Vec<u8>, Owner>;

/// The data of an [`crate::Authority`]: a builder whose methods take and give the zone.
///
/// ```
/// let zone = testkit::Zone::new()
///     .mx("d.test", 10, "mx1.d.test")
///     .a("mx1.d.test", "127.0.0.2".parse().unwrap())
///     .null_mx("nomail.test")
///     .servfail("broken.test");
/// # drop(zone);
/// ```
///
/// # Panics
///
/// All methods panic on a name that is no domain name: that is a mistake in the test.
#[derive(Clone, Debug)]
pub struct Zone {
    records: BTreeMap<Owner, Vec<Data>>,
    troubles: Vec<Trouble>,
    /// Of all records, and of what is said not to exist.
    pub(super) ttl: Ttl,
}

/// Long enough for one attempt, short enough for a test that changes the zone.
const TTL: Ttl = Ttl::from_secs(1);

/// A name (and perhaps one type of it) that does not answer as it should.
#[derive(Clone, Debug)]
struct Trouble {
    name: Owner,
    rtype: Option<Rtype>,
    kind: TroubleKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TroubleKind {
    Servfail,
    Silent,
}

impl Default for Zone {
    fn default() -> Self {
        Zone::new()
    }
}

impl Zone {
    /// Nothing exists.
    pub fn new() -> Zone {
        Zone { records: BTreeMap::new(), troubles: Vec::new(), ttl: TTL }
    }

    /// How long answers hold, denials too.
    pub fn ttl(self, seconds: u32) -> Zone {
        Zone { ttl: Ttl::from_secs(seconds), ..self }
    }

    /// A mail exchanger (RFC 5321 §5.1).
    pub fn mx(self, name: &str, preference: u16, host: &str) -> Zone {
        self.record(name, Mx::new(preference, owner(host)))
    }

    /// The one MX record that says: no mail here (RFC 7505).
    pub fn null_mx(self, name: &str) -> Zone {
        self.mx(name, 0, ".")
    }

    /// An IPv4 address.
    pub fn a(self, name: &str, address: Ipv4Addr) -> Zone {
        self.record(name, A::new(address))
    }

    /// An IPv6 address.
    pub fn aaaa(self, name: &str, address: Ipv6Addr) -> Zone {
        self.record(name, Aaaa::new(address))
    }

    /// An address of either family.
    pub fn address(self, name: &str, address: IpAddr) -> Zone {
        match address {
            IpAddr::V4(address) => self.a(name, address),
            IpAddr::V6(address) => self.aaaa(name, address),
        }
    }

    /// The name of an address, at its name in the reverse DNS.
    pub fn ptr(self, name: &str, target: &str) -> Zone {
        self.record(name, Ptr::new(owner(target)))
    }

    /// An alias.
    pub fn cname(self, name: &str, target: &str) -> Zone {
        self.record(name, Cname::new(owner(target)))
    }

    /// A text, cut into strings of 255 octets as needed.
    pub fn txt(self, name: &str, text: &str) -> Zone {
        let text = Txt::build_from_slice(text.as_bytes()).expect("a text that fits a record");
        self.record(name, text)
    }

    /// Any record.
    pub fn record(mut self, name: &str, data: impl Into<ZoneRecordData<Vec<u8>, Name<Vec<u8>>>>) -> Zone {
        self.records.entry(owner(name)).or_default().push(data.into());
        self
    }

    /// Takes away all records and troubles of a name.
    pub fn without(mut self, name: &str) -> Zone {
        let name = owner(name);
        self.records.remove(&name);
        self.troubles.retain(|trouble| trouble.name != name);
        self
    }

    /// Every question about the name fails (SERVFAIL).
    pub fn servfail(self, name: &str) -> Zone {
        self.trouble(name, None, TroubleKind::Servfail)
    }

    /// Questions about one type of the name fail.
    pub fn servfail_for(self, name: &str, rtype: Rtype) -> Zone {
        self.trouble(name, Some(rtype), TroubleKind::Servfail)
    }

    /// Questions about the name are never answered: the asker runs into its timeout.
    pub fn silent(self, name: &str) -> Zone {
        self.trouble(name, None, TroubleKind::Silent)
    }

    /// Questions about one type of the name are never answered.
    pub fn silent_for(self, name: &str, rtype: Rtype) -> Zone {
        self.trouble(name, Some(rtype), TroubleKind::Silent)
    }

    fn trouble(mut self, name: &str, rtype: Option<Rtype>, kind: TroubleKind) -> Zone {
        self.troubles.push(Trouble { name: owner(name), rtype, kind });
        self
    }

    pub(super) fn trouble_with(&self, name: &Owner, rtype: Rtype) -> Option<TroubleKind> {
        let hit = |trouble: &&Trouble| trouble.name == *name && trouble.rtype.is_none_or(|only| only == rtype);
        self.troubles.iter().find(hit).map(|trouble| trouble.kind)
    }

    /// The records of one type at a name.
    pub(super) fn records(&self, name: &Owner, rtype: Rtype) -> impl Iterator<Item = &Data> {
        let wanted = move |data: &&Data| rtype == Rtype::ANY || data.rtype() == rtype;
        self.records.get(name).into_iter().flatten().filter(wanted)
    }

    pub(super) fn alias(&self, name: &Owner) -> Option<&Owner> {
        self.records(name, Rtype::CNAME).find_map(|data| match data {
            ZoneRecordData::Cname(cname) => Some(cname.cname()),
            _ => None,
        })
    }

    /// The name has records, or something below it has (an empty non-terminal, RFC 8020).
    pub(super) fn exists(&self, name: &Owner) -> bool {
        let troubled: BTreeSet<&Owner> = self.troubles.iter().map(|trouble| &trouble.name).collect();
        self.records.keys().chain(troubled).any(|known| known.ends_with(name))
    }

    /// The SOA of the whole tree, for negative answers (RFC 2308 §3).
    pub(super) fn soa(&self) -> Data {
        let second = Ttl::from_secs(1);
        Soa::new(owner("ns.test"), owner("hostmaster.test"), Serial(1), second, second, second, self.ttl).into()
    }
}

fn owner(name: &str) -> Owner {
    name.parse().unwrap_or_else(|error| panic!("{name:?} is no domain name: {error}"))
}
