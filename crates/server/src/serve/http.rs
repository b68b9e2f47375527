//! HTTP connections: how many, how slow they may be, and how they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower_http::timeout::TimeoutLayer;

/// What strangers may take of the HTTP side.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Connections at the same time; more of them wait in the system's queue.
    pub(super) connections: usize,
    /// From the moment a request may begin to the end of its header; so an idle connection ends after it too.
    pub(super) header_time: Duration,
    /// From the end of a request's header to the beginning of the response, reading the body included.
    pub(super) request_time: Duration,
    /// How long a client may leave what we sent unread; whoever reads nothing would hold its connection for ever.
    pub(super) unread_time: Duration,
    /// How long requests may still run once the server stops.
    pub(super) grace: Duration,
    /// How many connections are open, for those who watch.
    pub(super) open: Arc<AtomicUsize>,
}

impl Limits {
    pub(super) fn with_grace(grace: Duration) -> Limits {
        Limits {
            connections: 1024,
            header_time: Duration::from_secs(30),
            request_time: Duration::from_secs(300),
            unread_time: Duration::from_secs(60),
            grace,
            open: Arc::default(),
        }
    }
}

/// Serves until `stop` turns true, then lets open requests finish for the time of grace.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits, mut stop: watch::Receiver<bool>) {
    let router = router.layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, limits.request_time));
    let slots = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_time);
    let mut connections = JoinSet::new();

    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots, limits.unread_time) => accepted,
            _ = stop.wait_for(|stopping| *stopping) => break,
        };
        let (stream, peer, slot) = accepted;
        while connections.try_join_next().is_some() {}

        // Tower's service is asked per request, so that handlers know who is calling.
        let inner = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            inner.call(request)
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        let open = Open::new(&limits.open);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "HTTP connection ended");
            }
            drop((slot, open));
        });
    }

    drop(listener);
    if tokio::time::timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("HTTP requests still running after the time of grace are given up");
    }
}

/// A connection that counts as open until this is dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(open: &Arc<AtomicUsize>) -> Open {
        open.fetch_add(1, Ordering::Relaxed);
        Open(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The next connection and its slot. A failing accept (no file descriptors left, say) passes: told, and tried again.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    unread_time: Duration,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Responses are small and whole: waiting for more to send only delays them.
                let _ = stream.set_nodelay(true);
                // RFC 5482. Other systems than Linux have no such limit, and keep such a client until it goes.
                #[cfg(target_os = "linux")]
                if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(unread_time)) {
                    tracing::debug!(%error, "a client may take its time to read");
                }
                return (stream, peer, slot);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const FINE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    struct Running {
        address: SocketAddr,
        stop: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start(limits: Limits) -> Running {
        let router = Router::new()
            .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
            .route("/slow", get(|| tokio::time::sleep(Duration::from_millis(400))))
            .route("/stuck", get(std::future::pending::<()>));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        Running { address, stop, task: tokio::spawn(serve(listener, router, limits, stopped)) }
    }

    fn limits() -> Limits {
        Limits { header_time: Duration::from_millis(300), ..Limits::with_grace(Duration::from_secs(5)) }
    }

    /// Sends `bytes`, then reads until the server closes.
    async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        read_all(&mut stream).await
    }

    async fn read_all(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer));
        let _ = read.await.expect("the server closes in time");
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn handlers_know_the_peer_and_idle_connections_end() {
        let server = start(limits()).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let own = stream.local_addr().unwrap().to_string();
        stream.write_all(FINE).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&own), "{answer}");
    }

    #[tokio::test]
    async fn who_sends_no_header_is_sent_away() {
        let server = start(limits()).await;
        for beginning in [&b""[..], b"GET / HTTP/1.1\r\nHost:"] {
            let answer = exchange(server.address, beginning).await;
            assert!(!answer.contains("200"), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_stuck_request_is_answered_408() {
        let server = start(Limits { request_time: Duration::from_millis(100), ..limits() }).await;
        let answer = exchange(server.address, b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait() {
        let server = start(Limits { connections: 1, ..limits() }).await;
        let first = TcpStream::connect(server.address).await.unwrap();
        let second = exchange(server.address, FINE).await;
        assert!(second.starts_with("HTTP/1.1 200"), "served once the idle first was sent away: {second}");
        drop(first);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_reads_nothing_is_sent_away() {
        let unread_time = Duration::from_secs(1);
        let server = start(Limits { connections: 1, unread_time, ..Limits::with_grace(Duration::ZERO) }).await;
        let mut deaf = TcpStream::connect(server.address).await.unwrap();
        let flood = async { while deaf.write_all(&FINE.repeat(1000)).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(20), flood).await.expect("the connection is cut");
        let close = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert!(exchange(server.address, close).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_stop_finishes_what_runs_and_takes_no_more() {
        let server = start(Limits { header_time: Duration::from_secs(30), ..limits() }).await;
        let idle = TcpStream::connect(server.address).await.unwrap();
        let running = tokio::spawn(exchange(server.address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"));
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.stop.send(true).unwrap();
        assert!(running.await.unwrap().starts_with("HTTP/1.1 200"));
        tokio::time::timeout(Duration::from_secs(2), server.task)
            .await
            .expect("an idle connection delays no stop")
            .unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
        drop(idle);
    }

    #[tokio::test]
    async fn a_stop_waits_no_longer_than_its_grace() {
        let server = start(Limits { grace: Duration::from_millis(100), ..limits() }).await;
        let running = tokio::spawn(exchange(server.address, b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n"));
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(2), server.task).await.unwrap().unwrap();
        assert_eq!(running.await.unwrap(), "");
    }
}
