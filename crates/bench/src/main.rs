//! The command line of the bench's own tools; `script/bench` is what people call.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "waxwing-bench", about = "The generator, the receiver and the DNS of script/bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Receives mail, counts it and drops it.
    Sink(bench::sink::Options),
    /// Sends mail, waits until all of it has arrived and prints one line of JSON with the figures.
    Load(Box<bench::load::Options>),
    /// Answers MX and A questions for any name below .test.
    Dns(bench::dns::Options),
    /// Asks a sink: `count`, `arrivals` (the same by tenths of a second), or `reset` to count from nothing again.
    Ask {
        /// The sink's control address.
        control: String,
        /// What to ask.
        question: String,
    },
}

fn main() -> ExitCode {
    // One thread each: the machine's cores belong to the server that is measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let done = runtime.block_on(async {
        match Arguments::parse().what {
            What::Sink(options) => bench::sink::run(options).await.map(|_| None),
            What::Load(options) => bench::load::run(*options).await.map(Some),
            What::Dns(options) => bench::dns::run(options).await.map(|_| None),
            What::Ask { control, question } => bench::tally::ask(&control, &question).await.map(Some),
        }
    });
    match done {
        Ok(figures) => {
            figures.inspect(|figures| println!("{figures}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("waxwing-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
