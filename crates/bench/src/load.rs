//! The generator: a number of messages over some connections that stay open, then the figures.
//!
//! Each connection sends its next message when the last one was answered; with `--rate` messages are due at times of their own,
//! and the time a message waits for its turn counts as the server's latency.

mod http;
mod smtp;

use std::{
    cell::{Cell, RefCell},
    io,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{Barrier, Mutex},
    task::{JoinSet, LocalSet},
    time::{sleep, sleep_until, timeout},
};

use crate::{
    tally::{ask, now},
    watch::{self, Watch},
};

/// How a load is set up.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Where the server takes SMTP, ADDRESS:PORT. Else --http.
    #[arg(long, conflicts_with = "http", required_unless_present = "http")]
    pub smtp: Option<String>,
    /// Where the server takes Mailgun's POST …/messages, ADDRESS:PORT.
    #[arg(long, requires = "key")]
    pub http: Option<String>,
    /// The API key.
    #[arg(long)]
    pub key: Option<String>,
    /// A further form field, NAME=VALUE, such as o:deliverytime=…; may be repeated.
    #[arg(long)]
    pub field: Vec<String>,
    /// LOGIN:PASSWORD for AUTH PLAIN.
    #[arg(long)]
    pub login: Option<String>,
    /// PEM file of the roots to trust: STARTTLS comes first.
    #[arg(long)]
    pub trust: Option<PathBuf>,
    /// The name that the server's certificate must have.
    #[arg(long, default_value = "localhost")]
    pub name: String,
    /// The domain that messages come from.
    #[arg(long, default_value = "bench.test")]
    pub sender: String,
    /// The sink's control address, to wait until all has arrived. Without it only acceptance is measured.
    #[arg(long)]
    pub sink: Option<String>,
    /// Which of the sink's listeners all of it arrives at.
    #[arg(long, default_value_t = 0)]
    pub listener: usize,
    /// How many messages.
    #[arg(long)]
    pub messages: usize,
    /// How many messages go before, uncounted; the sink is then reset.
    #[arg(long, default_value_t = 0)]
    pub warm_up: usize,
    /// How many connections.
    #[arg(long, default_value_t = 16)]
    pub connections: usize,
    /// Octets of a message's text.
    #[arg(long, default_value_t = 10_000)]
    pub size: usize,
    /// Recipients of each message.
    #[arg(long, default_value_t = 1)]
    pub recipients: usize,
    /// How many recipient domains, in turn.
    #[arg(long, default_value_t = 10)]
    pub domains: usize,
    /// A recipient domain; {} is its number.
    #[arg(long, default_value = "d{}.test")]
    pub to: String,
    /// The number of the first recipient.
    #[arg(long, default_value_t = 0)]
    pub first: usize,
    /// Messages per second; as many as go without it.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Keep trying to connect for so many seconds, as at a server that is about to start.
    #[arg(long, default_value_t = 0.0)]
    pub knock: f64,
    /// Seconds without a delivery before giving up.
    #[arg(long, default_value_t = 60.0)]
    pub patience: f64,
    /// The server's control group, whose processes are watched. Else --pid.
    #[arg(long)]
    pub cgroup: Option<PathBuf>,
    /// The server's process, watched with its children.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Seconds after the last arrival that still count for the server's processor time: recording, cleaning up.
    #[arg(long, default_value_t = 1.0)]
    pub settle: f64,
}

/// Sends it all, waits for it and returns the figures.
pub async fn run(options: Options) -> io::Result<Value> {
    if options.connections == 0 || options.recipients == 0 || options.domains == 0 {
        return Err(io::Error::other("connections, recipients and domains are one or more"));
    }
    let run = Rc::new(Run::new(options));
    LocalSet::new().run_until(measure(&run)).await
}

async fn measure(run: &Rc<Run>) -> io::Result<Value> {
    let options = &run.options;
    let mut connections = JoinSet::new();
    for _ in 0..options.connections {
        let run = run.clone();
        connections.spawn_local(async move { connection(&run).await });
    }
    unless_one_fails(&mut connections, run.gate.wait()).await?;
    if options.warm_up > 0 {
        send(run, &mut connections, options.warm_up, None).await?;
        if let Some(sink) = &options.sink {
            arrivals(sink, options, options.warm_up * options.recipients).await?;
            sleep(Duration::from_secs_f64(options.settle)).await;
            ask(sink, "reset").await?;
        }
    }

    let watch = Watch::begin(options.cgroup.clone(), options.pid);
    let (sink_before, own_before) = (sink_seconds(options).await?, watch::own_processor_seconds());
    let began = now();
    send(run, &mut connections, options.messages, options.rate).await?;
    let accepted = now();
    let arrived = match &options.sink {
        Some(sink) => Some(arrivals(sink, options, options.messages * options.recipients).await?),
        None => None,
    };
    sleep(Duration::from_secs_f64(options.settle)).await;
    let own = watch::own_processor_seconds() - own_before + sink_seconds(options).await? - sink_before;

    let messages = options.messages as f64;
    let mut figures = json!({
        "messages": options.messages, "recipients": options.recipients, "began": began, "ended": accepted,
        "first_accepted": run.first_accepted.get(), "accepted_per_s": messages / (accepted - began),
        "latency_ms": percentiles(&mut run.latencies.borrow_mut()), "own_cpu_s_per_1000": own * 1000.0 / messages,
    });
    if let Some(arrived) = arrived {
        let time = |field: &str| arrived[field].as_f64().unwrap_or_default();
        figures["delivered_per_s"] = json!(messages / (time("last") - began));
        figures["twice"] = json!(time("deliveries") - time("distinct"));
        for field in ["first", "last", "transactions", "connections", "full_handshakes", "resumed_handshakes"] {
            figures[field] = arrived[field].clone();
        }
    }
    if let Some(watched) = watch.end() {
        figures["cpu_s_per_1000"] = json!(watched.processor_seconds * 1000.0 / messages);
        figures["bytes_per_message"] = json!(watched.written as f64 / messages);
        figures["peak_mib"] = json!(watched.peak as f64 / 1024.0 / 1024.0);
    }
    Ok(figures)
}

async fn sink_seconds(options: &Options) -> io::Result<f64> {
    match &options.sink {
        Some(sink) => Ok(ask(sink, "count").await?["processor_seconds"].as_f64().unwrap_or_default()),
        None => Ok(0.0),
    }
}

/// Waits until so many recipients have their mail. Each of them counts once.
async fn arrivals(sink: &str, options: &Options, recipients: usize) -> io::Result<Value> {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let figures = ask(sink, "count").await?["listeners"][options.listener].take();
        let distinct = figures["distinct"].as_u64().unwrap_or_default();
        if distinct >= recipients as u64 {
            return Ok(figures);
        }
        if distinct > seen {
            (seen, since) = (distinct, Instant::now());
        }
        if since.elapsed().as_secs_f64() > options.patience {
            return Err(io::Error::other(format!("{distinct} of {recipients} arrived, and no more came")));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

type Connections = JoinSet<io::Result<()>>;

/// Has the connections send so many messages.
async fn send(run: &Run, connections: &mut Connections, messages: usize, rate: Option<f64>) -> io::Result<()> {
    run.begin(messages, rate);
    unless_one_fails(connections, run.gate.wait()).await?;
    unless_one_fails(connections, run.gate.wait()).await
}

async fn unless_one_fails<T>(connections: &mut Connections, all: impl Future<Output = T>) -> io::Result<()> {
    tokio::select! {
        _ = all => Ok(()),
        Some(ended) = connections.join_next() => ended?.and(Err(io::Error::other("a connection ended too early"))),
    }
}

/// One connection: open, then at each opening of the gate what is to be sent, up to the next.
async fn connection(run: &Run) -> io::Result<()> {
    // One after the other: sixteen logins at once look like somebody who guesses.
    let turn = run.turn.lock().await;
    let mut connection = match &run.options.smtp {
        Some(address) => Connection::Smtp(smtp::Connection::open(run, address).await?),
        None => Connection::Http(http::Connection::open(run).await?),
    };
    drop(turn);
    run.gate.wait().await;
    loop {
        run.gate.wait().await;
        while let Some((number, since)) = run.next().await {
            match &mut connection {
                Connection::Smtp(smtp) => smtp.send(run, number).await?,
                Connection::Http(http) => http.send(run, number).await?,
            }
            run.accepted(since);
        }
        run.gate.wait().await;
    }
}

enum Connection {
    Smtp(smtp::Connection),
    Http(http::Connection),
}

/// What the connections of a load share.
struct Run {
    options: Options,
    text: Vec<u8>,
    turn: Mutex<()>,
    /// Opens when all connections and the one who measures have come to it.
    gate: Barrier,
    made: Instant,
    began: Cell<Instant>,
    next: Cell<usize>,
    messages: Cell<usize>,
    rate: Cell<Option<f64>>,
    first_accepted: Cell<Option<f64>>,
    latencies: RefCell<Vec<Duration>>,
}

impl Run {
    fn new(options: Options) -> Self {
        const LINE: &[u8] = b"All work and no play makes a dull message, and so on to the end of it.\r\n";
        let mut text = LINE.repeat(options.size / LINE.len() + 1);
        text.truncate(options.size.saturating_sub(2));
        text.extend_from_slice(b"\r\n");
        Self {
            text,
            turn: Mutex::new(()),
            gate: Barrier::new(options.connections + 1),
            made: Instant::now(),
            began: Cell::new(Instant::now()),
            next: Cell::new(0),
            messages: Cell::new(0),
            rate: Cell::new(None),
            first_accepted: Cell::new(None),
            latencies: RefCell::default(),
            options,
        }
    }

    fn begin(&self, messages: usize, rate: Option<f64>) {
        self.began.set(Instant::now());
        self.next.set(0);
        self.messages.set(messages);
        self.rate.set(rate);
        self.first_accepted.set(None);
        *self.latencies.borrow_mut() = Vec::with_capacity(messages);
    }

    /// The next message's number, once it is due, and since when it is.
    async fn next(&self) -> Option<(usize, Instant)> {
        let number = self.next.get();
        if number == self.messages.get() {
            return None;
        }
        self.next.set(number + 1);
        let Some(rate) = self.rate.get() else { return Some((number, Instant::now())) };
        let due = self.began.get() + Duration::from_secs_f64(number as f64 / rate);
        sleep_until(due.into()).await;
        Some((number, due))
    }

    fn accepted(&self, since: Instant) {
        self.first_accepted.set(self.first_accepted.get().or_else(|| Some(now())));
        self.latencies.borrow_mut().push(since.elapsed());
    }

    /// The recipients of a message.
    fn recipients(&self, message: usize) -> impl Iterator<Item = String> {
        let Options { recipients, domains, first, .. } = self.options;
        (message * recipients..(message + 1) * recipients).map(move |index| {
            let domain = self.options.to.replace("{}", &(index % domains).to_string());
            format!("n{}@{domain}", first + index)
        })
    }

    async fn connect(&self, address: &str) -> io::Result<TcpStream> {
        let deadline = self.made + Duration::from_secs_f64(self.options.knock);
        loop {
            match timeout(Duration::from_secs(10), TcpStream::connect(address)).await? {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

fn percentiles(latencies: &mut [Duration]) -> Value {
    latencies.sort_unstable();
    let at = |share: f64| {
        let rank = (latencies.len() as f64 * share).ceil() as usize;
        latencies.get(rank.max(1) - 1).map(|latency| latency.as_secs_f64() * 1000.0)
    };
    json!({ "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_happened() {
        let mut latencies: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentiles(&mut latencies), json!({ "p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0 }));
        assert_eq!(percentiles(&mut [])["p50"], Value::Null);
    }
}
