//! The generator and the receiver, one beside the other: they agree on what was sent.

use std::{net::SocketAddr, path::PathBuf};

use bench::{load, sink, tally::ask};
use clap::Parser;
use tokio::task::LocalSet;

#[derive(Parser)]
struct Load {
    #[command(flatten)]
    options: load::Options,
}

#[derive(Parser)]
struct Sink {
    #[command(flatten)]
    options: sink::Options,
}

fn open(arguments: &[&str]) -> (sink::Sink, Vec<SocketAddr>) {
    let options = Sink::parse_from([&["sink", "--listen", "127.0.0.1:0"], arguments].concat()).options;
    let sink = sink::Sink::open(&options).unwrap();
    let addresses = sink.addresses().unwrap();
    (sink, addresses)
}

fn load(addresses: &[SocketAddr], arguments: &[&str]) -> load::Options {
    let (control, smtp) = (addresses[0].to_string(), addresses[1].to_string());
    let always = ["load", "--settle", "0", "--patience", "20", "--smtp", &smtp, "--sink", &control];
    Load::parse_from([&always, arguments].concat()).options
}

#[tokio::test]
async fn they_agree_and_a_second_time_is_seen() {
    let (sink, addresses) = open(&[]);
    let arguments = ["--messages", "200", "--recipients", "3", "--size", "70000", "--connections", "5"];
    let options = load(&addresses, &[&arguments[..], &["--warm-up", "10"]].concat());
    let control = addresses[0].to_string();
    let local = LocalSet::new();
    let (first, second) = local
        .run_until(async {
            tokio::task::spawn_local(sink.serve());
            let first = load::run(options.clone()).await.unwrap();
            load::run(load::Options { warm_up: 0, ..options }).await.unwrap();
            (first, ask(&control, "count").await.unwrap()["listeners"][0].clone())
        })
        .await;
    assert_eq!((first["transactions"].as_u64(), first["twice"].as_f64()), (Some(200), Some(0.0)));
    assert!(first["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
    assert_eq!((second["deliveries"].as_u64(), second["distinct"].as_u64()), (Some(1200), Some(600)));
    assert!(second["octets"].as_u64().unwrap() >= 400 * 70_000);
}

#[tokio::test]
async fn they_agree_over_tls() {
    let folder = std::env::temp_dir().join(format!("waxwing-bench-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let write = |name: &str, text: String| -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = write("certificate", made.cert.pem());
    let key = write("key", made.signing_key.serialize_pem());
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let (sink, addresses) = open(&["--certificate", &path(&certificate), "--key", &path(&key)]);
    let options = load(&addresses, &["--messages", "50", "--connections", "2", "--trust", &path(&certificate)]);
    let figures = LocalSet::new()
        .run_until(async {
            tokio::task::spawn_local(sink.serve());
            load::run(options).await.unwrap()
        })
        .await;
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((figures["transactions"].as_u64(), figures["full_handshakes"].as_u64()), (Some(50), Some(2)));
}

#[tokio::test]
async fn what_the_server_refuses_ends_the_load() {
    let (sink, addresses) = open(&[]);
    let options = load(&addresses, &["--messages", "1", "--login", "a:b"]);
    let refused = LocalSet::new()
        .run_until(async {
            tokio::task::spawn_local(sink.serve());
            load::run(options).await.unwrap_err()
        })
        .await;
    assert_eq!(refused.to_string(), "the server said 500 5.5.2 what?");
}
