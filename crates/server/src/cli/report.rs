//! `waxwing report`: reports about TLS that came by mail.

use std::path::PathBuf;

use clap::Subcommand;
use message::tls_report;
use policy::tlsrpt::report::REPORT_OCTETS;
use store::tlsrpt::{Kept, Via};
use store::{Store, Timestamp};

use super::{Failure, print};
use crate::tlsrpt::incoming;

/// Largest file that is read, in octets: a report in base64, and the rest of its mail.
const FILE_OCTETS: u64 = 2 * REPORT_OCTETS as u64;

#[derive(Debug, Subcommand)]
pub(super) enum ReportCommand {
    /// Keep reports about our domains: mails as they came, or the reports themselves (.json, .json.gz).
    Import {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub(super) async fn run(store: &Store, command: ReportCommand) -> Result<(), Failure> {
    let ReportCommand::Import { files } = command;
    let mut failed = 0;
    for file in &files {
        match import(store, file).await {
            Ok(words) => print(format_args!("{}: {words}\n", file.display()))?,
            Err(words) => {
                failed += 1;
                eprintln!("waxwing: {}: {words}", file.display());
            }
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure::Failed(format!("{failed} of {} files not imported", files.len()))),
    }
}

async fn import(store: &Store, file: &PathBuf) -> Result<String, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > FILE_OCTETS {
        return Err(format!("it is longer than {FILE_OCTETS} octets"));
    }
    let octets = std::fs::read(file).map_err(|error| error.to_string())?;
    let is_report = octets.starts_with(&[0x1f, 0x8b]) || octets.trim_ascii_start().starts_with(b"{");
    let octets = if is_report { octets } else { tls_report::find(&octets).ok_or("there is no report in it")? };
    let report = incoming::read(&octets).map_err(|error| error.to_string())?;
    let kept = incoming::keep(store, report, Via::Mail, Timestamp::now()).await.map_err(|error| error.to_string())?;
    Ok(match kept {
        (domain, Kept::Known) => format!("the report about {domain} was here already"),
        (domain, _) => format!("a report about {domain} is kept"),
    })
}
