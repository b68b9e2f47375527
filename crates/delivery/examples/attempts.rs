//! What an attempt costs: sends so many messages to a receiver in another process and prints the processor time of this one,
//! the kernel's share included.
//!
//!     cargo run --release -p delivery --example attempts -- MESSAGES AT_ONCE OCTETS
//!
//! The receiver verifies by a throw-away CA, offers TLS 1.3 and takes what comes; connections serve again, and each receipt
//! is settled at once.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use delivery::resolve::Dns;
use delivery::tls::{Roots, TlsEngine};
use delivery::{Client, Job, Options, Outcome, Reuse, Timeouts};
use policy::tls::{Fallback, Resolved, Source, TlsPolicy, TlsTag, WhenLeft};
use smtp::dsn::MailDsn;
use testkit::{Behaviour, Lab};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What this process is told to be when it is to be the receiver.
const RECEIVER: &str = "receiver";

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    if arguments.first().is_some_and(|first| first == RECEIVER) {
        return threads.block_on(receive());
    }
    let mut numbers = arguments.iter().map(|text| text.parse::<usize>());
    let mut number = |otherwise| numbers.next().unwrap_or(Ok(otherwise));
    let (messages, at_once, octets) = (number(10_000)?, number(16)?, number(10_000)?);
    let receiver = Receiver::start()?;
    threads.block_on(async { measure(Arc::new(receiver.client()?), messages, at_once, octets).await })
}

/// A lab with one host for `d.test`, until nobody holds the other end of its input.
async fn receive() -> Result<(), Failure> {
    let mut lab = Lab::empty().await?;
    let file = std::env::temp_dir().join(format!("waxwing-attempts-{}.pem", std::process::id()));
    lab.add("d", Behaviour::default()).await?;
    lab.dns().update(|zone| zone.ttl(60));
    lab.write_ca_pem(&file)?;
    println!("{} {} {}", lab.dns_addr(), lab.smtp_port(), file.display());
    tokio::task::spawn_blocking(|| std::io::stdin().lines().next()).await?;
    std::fs::remove_file(file)?;
    Ok(())
}

/// The receiver's process, which ends with its input.
struct Receiver {
    process: Child,
    /// Its DNS, its port, and the file of its CA.
    told: String,
}

impl Receiver {
    fn start() -> Result<Receiver, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg(RECEIVER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut told = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut told)?;
        Ok(Receiver { process, told })
    }

    fn client(&self) -> Result<Client, Failure> {
        let told: Vec<&str> = self.told.split_whitespace().collect();
        let [dns, port, ca] = told[..] else { return Err("the receiver did not start".into()) };
        let options = Options {
            ehlo_name: "waxwing.test".to_owned(),
            smtp_port: port.parse()?,
            source_addresses: Vec::new(),
            deliver_to_private: vec!["127.0.0.0/8".parse()?],
            routes: Vec::new(),
            timeouts: Timeouts::default(),
            reuse: Reuse::default(),
        };
        let tls = TlsEngine::new(Roots::system().with_file(ca.as_ref())?)?;
        Ok(Client::new(options, Dns::new(Some(dns.parse()?)), tls).remembering())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

async fn measure(client: Arc<Client>, messages: usize, at_once: usize, octets: usize) -> Result<(), Failure> {
    let line = "All work and no play makes a dull message, and so on to the end of it.\r\n";
    let wire: Arc<str> = line.repeat(octets / line.len() + 1).into();
    let left = Arc::new(AtomicUsize::new(at_once * 10));
    // Connections, sessions and answers of the DNS are there before the clock starts.
    send_all(&client, &wire, &left, at_once).await?;
    let (began, spent) = (Instant::now(), processor_time()?);
    left.store(messages, Ordering::Relaxed);
    send_all(&client, &wire, &left, at_once).await?;
    let (took, spent) = (began.elapsed(), processor_time()? - spent);
    client.close().await;
    let count = u32::try_from(messages)?;
    let rate = f64::from(count) / took.as_secs_f64();
    println!(
        "{messages} messages of {octets} octets, {at_once} at once: {rate:.0}/s, {:?} of processor time each",
        spent / count
    );
    Ok(())
}

async fn send_all(
    client: &Arc<Client>,
    wire: &Arc<str>,
    left: &Arc<AtomicUsize>,
    at_once: usize,
) -> Result<(), Failure> {
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (client, wire, left) = (client.clone(), wire.clone(), left.clone());
        senders.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                send(&client, &wire).await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    Ok(())
}

async fn send(client: &Client, wire: &str) -> Result<(), Failure> {
    let job = Job {
        destination: &"d.test".parse()?,
        return_path: &smtp::ReturnPath::Address("alice@sender.test".parse()?),
        recipients: &["bob@d.test".parse()?],
        wire: wire.as_bytes(),
        sender: Resolved {
            policy: TlsPolicy::from_switches(false, false),
            fallback: Fallback::default(),
            when_left: WhenLeft::default(),
            tag: TlsTag::default(),
            require_tls_from: Source::Default,
            skip_verification_from: Source::Default,
        },
        dsn: &MailDsn { ret: None, envid: None },
        recipient_dsn: &[],
    };
    let mut report = client.attempt(job).await;
    let Outcome::Delivered(_) = &report.recipients[0].outcome else { return Err(format!("{report:?}").into()) };
    if let Some(receipt) = report.receipt.take() {
        receipt.settle();
    }
    Ok(())
}

/// Of this process, in user and kernel mode (proc(5), fields 14 and 15).
fn processor_time() -> Result<Duration, Failure> {
    /// Linux tells it in hundredths of a second, whatever its clock does.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
    Ok(TICK * ticks)
}
