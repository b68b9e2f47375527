//! The whole world of a delivery on loopback: DNS authority, CA, and receivers in every TLS state.

mod catalogue;
mod policies;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use tokio::net::TcpListener;

use crate::{
    ca::{Ca, Issue},
    dns::{Authority, Zone},
    policy_host::PolicyHost,
    receiver::{Behaviour, Receiver},
};

/// Ports to try until one is free on the addresses that are needed.
const PORTS: usize = 32;

/// Last octets of the receivers' addresses 127.0.0.x.
const FIRST_ADDRESS: u8 = 2;
const LAST_ADDRESS: u8 = 254;

/// A mail world on loopback. Needs no root: all receivers listen on one high port, each at its own address 127.0.0.x.
/// Everything stops when it is dropped.
pub struct Lab {
    ca: Ca,
    authority: Authority,
    policy_host: PolicyHost,
    port: u16,
    next_address: u8,
    hosts: Vec<RunningHost>,
    states: Vec<State>,
}

struct RunningHost {
    state: String,
    name: String,
    receiver: Option<Receiver>,
}

/// One recipient domain of the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its name, such as `self-signed`.
    pub name: String,
    /// Mail goes to addresses in this domain, such as `self-signed.test`.
    pub domain: String,
    /// The domain's MX hosts, best first.
    pub mx_hosts: Vec<String>,
    /// What is special about it, in one line.
    pub description: String,
}

/// An MX host to add to the lab.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name is `{label}.{state}.test`.
    pub label: String,
    /// The MX preference.
    pub preference: u16,
    /// Where it is reached.
    pub listen: Listen,
    /// What it does. Without a host name it gets the MX host's, without an identity a good one of the lab's CA.
    pub behaviour: Behaviour,
}

/// Where an MX host is reached. All use the lab's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// An A record with a 127.0.0.x of its own.
    #[default]
    V4,
    /// An AAAA record `::1`; one host of the lab can have it.
    V6,
    /// Both.
    Both,
    /// An A record for an address where nothing listens: connections are refused.
    Closed,
    /// A name without addresses.
    Nowhere,
}

impl Host {
    /// A host on an IPv4 address.
    pub fn new(label: &str, preference: u16, behaviour: Behaviour) -> Host {
        Host { label: label.to_owned(), preference, listen: Listen::V4, behaviour }
    }

    /// The same host elsewhere.
    pub fn on(self, listen: Listen) -> Host {
        Host { listen, ..self }
    }
}

impl Lab {
    /// The lab with a receiver for every TLS state:
    /// `good`, `self-signed`, `expired`, `wrong-name`, `no-starttls`, `starttls-454`, `broken-handshake`, `tls12-only`.
    pub async fn start() -> io::Result<Lab> {
        let mut lab = Lab::empty().await?;
        for entry in catalogue::catalogue() {
            let behaviour = (entry.behaviour)(&lab.ca, &mx_of(entry.name))?;
            let host = Host::new("mx", 10, behaviour);
            lab.add_described(entry.name, entry.description, vec![host]).await?;
        }
        Ok(lab)
    }

    /// A lab without receivers, for those of a test.
    pub async fn empty() -> io::Result<Lab> {
        let authority = Authority::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Zone::new()).await?;
        let policy_host = PolicyHost::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let port = free_port().await?;
        Ok(Lab {
            ca: Ca::new()?,
            authority,
            policy_host,
            port,
            next_address: FIRST_ADDRESS,
            hosts: Vec::new(),
            states: Vec::new(),
        })
    }

    /// Adds a receiver: mail for `{name}.test` goes to `mx.{name}.test`. Without a host name the behaviour gets that of
    /// the MX host, without an identity a good certificate for it.
    pub async fn add(&mut self, name: &str, behaviour: Behaviour) -> io::Result<Receiver> {
        let receivers = self.add_hosts(name, vec![Host::new("mx", 10, behaviour)]).await?;
        receivers.into_iter().next().ok_or_else(|| io::Error::other("no receiver was started"))
    }

    /// Adds a domain `{name}.test` with several MX hosts; gives the receivers of those that listen, in the same order.
    pub async fn add_hosts(&mut self, name: &str, hosts: Vec<Host>) -> io::Result<Vec<Receiver>> {
        self.add_described(name, "made for a test", hosts).await
    }

    async fn add_described(&mut self, name: &str, description: &str, hosts: Vec<Host>) -> io::Result<Vec<Receiver>> {
        let domain = format!("{name}.test");
        let mut ranked: Vec<(u16, String)> = Vec::new();
        let mut receivers = Vec::new();
        for Host { label, preference, listen, behaviour } in hosts {
            let host = format!("{label}.{domain}");
            let (addresses, receiver) = self.run(&host, listen, behaviour).await?;
            self.authority.update(|zone| {
                let zone = zone.mx(&domain, preference, &host);
                addresses.iter().fold(zone, |zone, address| zone.address(&host, *address))
            });
            receivers.extend(receiver.clone());
            self.hosts.push(RunningHost { state: name.to_owned(), name: host.clone(), receiver });
            ranked.push((preference, host));
        }
        ranked.sort_by_key(|(preference, _)| *preference);
        let mx_hosts = ranked.into_iter().map(|(_, host)| host).collect();
        self.states.push(State { name: name.to_owned(), domain, mx_hosts, description: description.to_owned() });
        Ok(receivers)
    }

    /// Starts one host; gives its addresses for the zone.
    async fn run(
        &mut self,
        host: &str,
        listen: Listen,
        mut behaviour: Behaviour,
    ) -> io::Result<(Vec<IpAddr>, Option<Receiver>)> {
        behaviour.host_name.get_or_insert_with(|| host.to_owned());
        if behaviour.identity.is_none() {
            behaviour.identity = Some(self.ca.issue(&Issue::new(host))?);
        }
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        match listen {
            Listen::Nowhere => Ok((Vec::new(), None)),
            Listen::Closed => Ok((vec![self.take_address()?], None)),
            Listen::V6 => {
                let receiver = self.listen(&[v6], behaviour).await?;
                Ok((vec![v6], Some(receiver)))
            }
            Listen::V4 | Listen::Both => loop {
                let mut addresses = vec![self.take_address()?];
                addresses.extend((listen == Listen::Both).then_some(v6));
                match self.listen(&addresses, behaviour.clone()).await {
                    // Another program has this port on this one address: there are many more.
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse && listen == Listen::V4 => {}
                    other => return Ok((addresses, Some(other?))),
                }
            },
        }
    }

    async fn listen(&self, addresses: &[IpAddr], behaviour: Behaviour) -> io::Result<Receiver> {
        let addresses: Vec<_> = addresses.iter().map(|ip| SocketAddr::new(*ip, self.port)).collect();
        Receiver::start_on(&addresses, behaviour)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("a receiver at {addresses:?}: {error}")))
    }

    fn take_address(&mut self) -> io::Result<IpAddr> {
        if self.next_address > LAST_ADDRESS {
            return Err(io::Error::other("the lab has no more addresses"));
        }
        let address = Ipv4Addr::new(127, 0, 0, self.next_address);
        self.next_address += 1;
        Ok(IpAddr::V4(address))
    }

    /// Where the DNS authority answers, over UDP and TCP: the server's `resolver`.
    pub fn dns_addr(&self) -> SocketAddr {
        self.authority.address()
    }

    /// The DNS authority, to change its zone and to read the questions.
    pub fn dns(&self) -> &Authority {
        &self.authority
    }

    /// The port of all receivers.
    pub fn smtp_port(&self) -> u16 {
        self.port
    }

    /// The CA that signs the good certificates.
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// The CA's root in PEM.
    pub fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// Writes the root to a file: the server's `trust_roots`.
    pub fn write_ca_pem(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, self.ca_pem())
    }

    /// Every domain of the lab, in the order of their coming.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The receiver of a state (its first host that listens) or of an MX host, by name.
    ///
    /// # Panics
    ///
    /// When there is none of that name; see [`Lab::find`].
    pub fn receiver(&self, name: &str) -> &Receiver {
        self.find(name).unwrap_or_else(|| {
            let known: Vec<_> = self.hosts.iter().map(|host| host.name.as_str()).collect();
            panic!("the lab has no receiver {name:?}; it has {known:?}")
        })
    }

    /// As [`Lab::receiver`], for names that may not be there.
    pub fn find(&self, name: &str) -> Option<&Receiver> {
        let named = self.hosts.iter().filter(|host| host.state == name || host.name == name);
        named.filter_map(|host| host.receiver.as_ref()).next()
    }

    /// All receivers with the names of their MX hosts.
    pub fn receivers(&self) -> impl Iterator<Item = (&str, &Receiver)> {
        self.hosts.iter().filter_map(|host| Some((host.name.as_str(), host.receiver.as_ref()?)))
    }

    /// Every breach of the protocol that any receiver saw, with the name of the host.
    pub fn violations(&self) -> Vec<String> {
        let told = |(host, receiver): (&str, &Receiver)| -> Vec<String> {
            receiver.violations().into_iter().map(|what| format!("{host}: {what}")).collect()
        };
        self.receivers().flat_map(told).collect()
    }
}

fn mx_of(state: &str) -> String {
    format!("mx.{state}.test")
}

/// A port that is free at this moment on all the addresses of the catalogue. Addresses that are lost to others between
/// this look and the listening are skipped later.
async fn free_port() -> io::Result<u16> {
    let mut trouble = None;
    for _ in 0..PORTS {
        match try_port().await {
            Ok(port) => return Ok(port),
            Err(error) => trouble = Some(error),
        }
    }
    let why = trouble.map_or_else(String::new, |error| error.to_string());
    Err(io::Error::other(format!("no port is free on 127.0.0.2 and its neighbours: {why}")))
}

async fn try_port() -> io::Result<u16> {
    let first = TcpListener::bind((Ipv4Addr::new(127, 0, 0, FIRST_ADDRESS), 0)).await?;
    let port = first.local_addr()?.port();
    for last in FIRST_ADDRESS + 1..FIRST_ADDRESS + 16 {
        TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), port)).await?;
    }
    Ok(port)
}
