//! Signed DNS zones served by a real authority: ldns signs, NSD serves, unbound resolves; all on loopback, with a trust
//! anchor of their own.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to answer on its port.
const START: Duration = Duration::from_secs(20);

/// The keys of most zones.
const ONE_KEY: [&str; 1] = ["-k -a ECDSAP256SHA256"];

/// A zone.
#[derive(Clone, Debug)]
pub struct SignedZone {
    /// Its name with the final dot.
    pub name: &'static str,
    /// Its records beside SOA and NS, in the form of a zone file; names are relative to the zone.
    pub records: String,
    /// How it is signed.
    pub signing: Signing,
    /// Its keys, each as `ldns-keygen` is told; those with `-k` are what its parent names.
    pub keys: &'static [&'static str],
    /// What its parent says of its key.
    pub delegation: Delegation,
    /// Words of the signed zone that are replaced after it was signed, as a forger would.
    pub forged: Option<(String, String)>,
    /// What a resolver finds where the zone should be.
    pub served: Served,
}

/// How a zone is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// Not.
    Unsigned,
    /// Denials by NSEC.
    Nsec,
    /// Denials by NSEC3.
    Nsec3,
    /// Denials by NSEC3 that say nothing of unsigned delegations (RFC 5155 §6), as in most top-level domains.
    OptOut,
    /// Denials by NSEC3 with a salt and ten further rounds, as was once advised.
    Salted,
    /// With signatures that ended years ago.
    Expired,
}

/// What a resolver finds where a zone should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The zone.
    Well,
    /// An address at which nobody listens.
    Gone,
    /// Servers that never answer.
    Silent,
}

/// What a parent says of a zone's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delegation {
    /// Its digest, when the zone is signed.
    Right,
    /// That of another key.
    Wrong,
    /// Its digest, and before it that of a key which is not in use yet.
    RightAndNext,
}

impl SignedZone {
    /// A zone as it should be.
    pub fn new(name: &'static str, signing: Signing, records: impl Into<String>) -> SignedZone {
        let records = records.into();
        let delegation = Delegation::Right;
        SignedZone { name, records, signing, keys: &ONE_KEY, delegation, forged: None, served: Served::Well }
    }
}

/// A tree of zones with a running authority. It stops when it is dropped.
#[derive(Debug)]
pub struct SignedTree {
    folder: PathBuf,
    zones: Vec<SignedZone>,
    authority: Server,
    anchor: String,
    /// The keys of all zones.
    keys: Vec<(&'static str, String)>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    child: Running,
    /// Where servers that never answer are looked for.
    _silence: Option<UdpSocket>,
}

#[derive(Debug)]
struct Running(Child);

/// Whether the tools are there; the test of this name is reported as skipped when they are not.
pub fn tools_or_skip(test: &str) -> bool {
    let missing: Vec<&str> =
        ["nsd", "unbound", "ldns-keygen", "ldns-signzone"].into_iter().filter(|tool| find(tool).is_none()).collect();
    if !missing.is_empty() {
        // Past the harness, which keeps what a passing test prints.
        let _ = writeln!(io::stderr(), "skipped: {test}: not installed: {}", missing.join(", "));
    }
    missing.is_empty()
}

impl SignedTree {
    /// Signs the zones and serves them. The root, named `.`, must be among them, parents before their children.
    pub fn start(zones: Vec<SignedZone>) -> io::Result<SignedTree> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("waxwing-signed-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut anchor = String::new();
        // Children first: a parent signs the digests of their keys.
        let mut digests: Vec<(&'static str, String)> = Vec::new();
        let mut public = Vec::new();
        for zone in zones.iter().rev() {
            let children = digests.iter().filter(|(child, _)| parent_of(child, &zones) == Some(zone.name));
            let keys = sign(&folder, zone, children)?;
            digests.push((zone.name, keys.digest));
            public.push((zone.name, keys.public.clone()));
            if zone.name == "." {
                anchor = keys.public;
            }
        }
        let authority = serve(&folder, &zones)?;
        Ok(SignedTree { folder, zones, authority, anchor, keys: public })
    }

    /// The authority for all zones. Asked as if it were a resolver it answers whatever ends within one zone.
    pub fn authority(&self) -> SocketAddr {
        self.authority.address
    }

    /// The root's key, as a file of trust anchors has it.
    pub fn anchor(&self) -> &str {
        &self.anchor
    }

    /// The key of one zone, as a file of trust anchors has it; empty when the zone is not signed.
    ///
    /// # Panics
    ///
    /// When there is no such zone.
    pub fn anchor_of(&self, zone: &str) -> &str {
        let found = self.keys.iter().find(|(name, _)| *name == zone);
        &found.unwrap_or_else(|| panic!("there is no zone {zone}")).1
    }

    /// A file with the root's key.
    pub fn anchor_file(&self) -> PathBuf {
        self.folder.join("anchor")
    }

    /// A resolver for the tree, which validates or does not. It stops when it is dropped.
    pub fn resolver(&self, validates: bool) -> io::Result<Server> {
        std::fs::write(self.anchor_file(), &self.anchor)?;
        let address = free_port()?;
        let silence = UdpSocket::bind("127.0.0.1:0")?;
        let gone = free_port()?;
        let modules = if validates { "validator iterator" } else { "iterator" };
        let mut config = format!(
            "server:\n interface: {}\n port: {}\n do-daemonize: no\n chroot: \"\"\n username: \"\"\n directory: \"{}\"\n \
             pidfile: \"\"\n use-syslog: no\n do-not-query-localhost: no\n num-threads: 1\n qname-minimisation: no\n \
             target-fetch-policy: \"0 0 0 0 0\"\n do-ip6: no\n local-zone: \"test.\" nodefault\n module-config: \"{modules}\"\n \
             trust-anchor-file: \"{}\"\n",
            address.ip(),
            address.port(),
            self.folder.display(),
            self.anchor_file().display(),
        );
        for zone in &self.zones {
            let at = match zone.served {
                Served::Silent => silence.local_addr()?,
                Served::Gone => gone,
                Served::Well => self.authority(),
            };
            let _ = writeln!(config, "stub-zone:\n name: \"{}\"\n stub-addr: {}@{}", zone.name, at.ip(), at.port());
        }
        let file = self.folder.join(format!("unbound-{}.conf", address.port()));
        std::fs::write(&file, config)?;
        let mut command = tool("unbound");
        command.arg("-d").arg("-c").arg(file);
        Ok(Server { _silence: Some(silence), ..Server::spawn(command, address)? })
    }
}

impl Drop for SignedTree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn spawn(mut command: Command, address: SocketAddr) -> io::Result<Server> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut server = Server { address, child: Running(child), _silence: None };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.0.try_wait()? {
                return Err(io::Error::other(format!("{:?} ended with {status}", command.get_program())));
            }
            if started.elapsed() > START {
                return Err(io::Error::other(format!("{:?} does not answer", command.get_program())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The DNSKEY record of a zone, and the DS records for its parent.
struct Keys {
    public: String,
    digest: String,
}

fn sign<'a>(
    folder: &Path,
    zone: &SignedZone,
    children: impl Iterator<Item = &'a (&'static str, String)>,
) -> io::Result<Keys> {
    let plain = folder.join(file_name(zone.name));
    let origin = zone.name;
    let mut text = format!(
        "$ORIGIN {origin}\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n{}\n",
        zone.records
    );
    // What is opted out stands beside the signed zone, and no denial knows of it.
    let mut opted_out = String::new();
    for (child, digest) in children {
        let is_out = zone.signing == Signing::OptOut && digest.is_empty();
        let side = if is_out { &mut opted_out } else { &mut text };
        let _ = write!(side, "{child} 60 IN NS ns.{child}\nns.{child} 60 IN A 127.0.0.1\n{digest}\n");
    }
    std::fs::write(&plain, text)?;
    let signed = folder.join(format!("{}.signed", file_name(zone.name)));
    if zone.signing == Signing::Unsigned {
        std::fs::copy(&plain, &signed)?;
        return Ok(Keys { public: String::new(), digest: String::new() });
    }
    let keys = zone.keys.iter().map(|kind| make_key(folder, kind, zone.name)).collect::<io::Result<Vec<_>>>()?;
    let mut command = tool("ldns-signzone");
    command.current_dir(folder).arg("-U").arg("-o").arg(zone.name).arg("-f").arg(&signed);
    match zone.signing {
        Signing::Nsec3 => drop(command.args(["-n", "-t", "0"])),
        Signing::OptOut => drop(command.args(["-n", "-t", "0", "-p"])),
        Signing::Salted => drop(command.args(["-n", "-t", "10", "-s", "ab01"])),
        Signing::Expired => drop(command.args(["-i", "20200101000000", "-e", "20200201000000"])),
        Signing::Nsec | Signing::Unsigned => {}
    }
    run(command.arg(&plain).args(&keys))?;
    std::fs::OpenOptions::new().append(true).open(&signed)?.write_all(opted_out.as_bytes())?;
    if let Some((from, to)) = &zone.forged {
        let text = std::fs::read_to_string(&signed)?;
        if !text.contains(from.as_str()) {
            return Err(io::Error::other(format!("{} has no '{from}' to forge", zone.name)));
        }
        std::fs::write(&signed, text.replace(from.as_str(), to))?;
    }
    let named: Vec<String> =
        zone.keys.iter().zip(keys).filter(|(kind, _)| is_named(kind)).map(|(_, key)| key).collect();
    let read = |keys: &[String], part: &str| -> io::Result<String> {
        keys.iter().map(|key| std::fs::read_to_string(folder.join(format!("{key}.{part}")))).collect()
    };
    let digest = match zone.delegation {
        Delegation::Right => read(&named, "ds")?,
        Delegation::Wrong => read(&[make_key(folder, ONE_KEY[0], zone.name)?], "ds")?,
        // The key that is to come is announced and not there yet (RFC 6781 §4.1.2).
        Delegation::RightAndNext => read(&[make_key(folder, zone.keys[0], zone.name)?, named[0].clone()], "ds")?,
    };
    Ok(Keys { public: read(&named, "key")?, digest })
}

/// Whether the parent names a key.
fn is_named(kind: &str) -> bool {
    kind.split(' ').any(|word| word == "-k")
}

fn make_key(folder: &Path, kind: &str, zone: &str) -> io::Result<String> {
    let made = run(tool("ldns-keygen").current_dir(folder).args(kind.split(' ')).arg(zone))?;
    Ok(made.trim().to_owned())
}

/// The nearest zone above.
fn parent_of(child: &str, zones: &[SignedZone]) -> Option<&'static str> {
    let above = |zone: &&str| {
        *zone != child && (*zone == "." || child.strip_suffix(*zone).is_some_and(|rest| rest.ends_with('.')))
    };
    zones.iter().map(|zone| zone.name).filter(above).max_by_key(|zone| zone.len())
}

fn serve(folder: &Path, zones: &[SignedZone]) -> io::Result<Server> {
    let address = free_port()?;
    let mut config = format!(
        "server:\n ip-address: {}\n port: {}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{dir}\"\n pidfile: \"\"\n \
         database: \"\"\n xfrdfile: \"{dir}/xfrd.state\"\n zonelistfile: \"{dir}/zone.list\"\n logfile: \"{dir}/nsd.log\"\n \
         server-count: 1\nremote-control:\n control-enable: no\n",
        address.ip(),
        address.port(),
        dir = folder.display(),
    );
    for zone in zones.iter().filter(|zone| zone.served == Served::Well) {
        let _ = writeln!(config, "zone:\n name: \"{}\"\n zonefile: \"{}.signed\"", zone.name, file_name(zone.name));
    }
    let file = folder.join("nsd.conf");
    std::fs::write(&file, config)?;
    let mut command = tool("nsd");
    command.arg("-d").arg("-c").arg(file);
    Server::spawn(command, address)
}

fn file_name(zone: &str) -> String {
    format!("zone.{}", zone.trim_end_matches('.'))
}

/// A port that is free for both UDP and TCP.
fn free_port() -> io::Result<SocketAddr> {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        if TcpListener::bind(udp.local_addr()?).is_ok() {
            return udp.local_addr();
        }
    }
}

fn run(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("{:?}: {said}", command.get_program())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn tool(name: &str) -> Command {
    Command::new(find(name).unwrap_or_else(|| name.into()))
}

/// Servers live where only the administrator's `PATH` looks.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join(name)).find(|file| file.is_file())
}
