//! Messages over Mailgun's API: a form with the parts that an application gives.

use std::io;

use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::Run;

const BOUNDARY: &str = "b0undary";

/// A connection that stays open.
pub(super) struct Connection {
    stream: TcpStream,
    head: String,
    same: Vec<u8>,
    body: Vec<u8>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(run: &Run) -> io::Result<Self> {
        let options = &run.options;
        let address = options.http.as_deref().unwrap_or_default();
        let key = BASE64_STANDARD.encode(format!("api:{}", options.key.as_deref().unwrap_or_default()));
        let head = format!(
            "POST /v3/{}/messages HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {key}\r\n\
             Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: ",
            options.sender
        );
        let mut same = Vec::new();
        field(&mut same, "from", format!("Bench <app@{}>", options.sender).as_bytes());
        field(&mut same, "text", &run.text);
        for given in &options.field {
            let (name, value) =
                given.split_once('=').ok_or_else(|| io::Error::other(format!("{given}: not NAME=VALUE")))?;
            field(&mut same, name, value.as_bytes());
        }
        Ok(Self { stream: run.connect(address).await?, head, same, body: Vec::new(), buffer: Vec::with_capacity(4096) })
    }

    pub(super) async fn send(&mut self, run: &Run, number: usize) -> io::Result<()> {
        let Self { stream, head, same, body, buffer } = self;
        body.clear();
        for recipient in run.recipients(number) {
            field(body, "to", recipient.as_bytes());
        }
        field(body, "subject", format!("Message {number} of a load").as_bytes());
        body.extend_from_slice(same);
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        buffer.clear();
        buffer.extend_from_slice(format!("{head}{}\r\n\r\n", body.len()).as_bytes());
        buffer.extend_from_slice(body);
        stream.write_all(buffer).await?;
        answer(stream, buffer).await
    }
}

fn field(body: &mut Vec<u8>, name: &str, value: &[u8]) {
    body.extend_from_slice(
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(),
    );
    body.extend_from_slice(value);
    body.extend_from_slice(b"\r\n");
}

/// Reads one answer, which must be 200.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if buffer.len() >= whole {
                let fine = head.starts_with("http/1.1 200");
                let said = || io::Error::other(format!("the server said {}", String::from_utf8_lossy(buffer)));
                return fine.then_some(()).ok_or_else(said);
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::Error::other("the server closed a connection during the load"));
        }
    }
}
