//! A receiver of telemetry: what a program exports over OTLP/HTTP (protobuf) can be looked at.

mod http;
mod spans;
mod wire;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long [`OtlpReceiver::wait_for`] waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// A span as it was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// The span that this one is part of; empty for the first of a trace.
    pub parent_id: String,
    /// What it is a span of.
    pub name: String,
    /// The program: `service.name` of the resource, empty when it has none.
    pub service: String,
    /// Strings, numbers and truth values as text; lists and bytes are left out.
    pub attributes: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub start_ns: u64,
    /// Nanoseconds since 1970.
    pub end_ns: u64,
}

/// A collector on a port of 127.0.0.1: `POST /v1/traces`, `/v1/metrics` and `/v1/logs`.
///
/// Dropped, it closes its connections and its port.
pub struct OtlpReceiver {
    port: u16,
    inbox: Arc<Inbox>,
}

impl OtlpReceiver {
    /// Begins to listen.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let inbox = Arc::<Inbox>::default();
        let shared = inbox.clone();
        thread::spawn(move || listen(&listener, &shared));
        Self { port, inbox }
    }

    /// `http://127.0.0.1:PORT`, as `OTEL_EXPORTER_OTLP_ENDPOINT` wants it.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All spans so far, in the order in which they came. Panics when something came that is not OTLP.
    pub fn spans(&self) -> Vec<Span> {
        self.received().spans.clone()
    }

    /// Waits until the spans are as wanted and gives them. After 60 s it panics, and says what came.
    pub fn wait_for(&self, is_so: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let began = Instant::now();
        let mut received = self.received();
        while !is_so(&received.spans) {
            let left = PATIENCE.saturating_sub(began.elapsed());
            assert!(!left.is_zero(), "the spans never came; these did: {:#?}", received.spans);
            let waited = self.inbox.changed.wait_timeout(received, left);
            received = waited.unwrap_or_else(PoisonError::into_inner).0;
            assert_eq!(received.refused, [""; 0], "what came is not OTLP");
        }
        received.spans.clone()
    }

    /// How many exports of metrics came. They are not read.
    pub fn metrics(&self) -> usize {
        self.received().metrics
    }

    /// How many exports of logs came. They are not read.
    pub fn logs(&self) -> usize {
        self.received().logs
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        let received = self.inbox.received();
        assert_eq!(received.refused, [""; 0], "what came is not OTLP");
        received
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        let mut received = self.inbox.received();
        received.closed = true;
        for connection in received.connections.drain(..) {
            // One that its client closed before is closed.
            connection.shutdown(Shutdown::Both).ok();
        }
        drop(received);
        // Wakes the listener, which sees that it is not wanted any more.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

/// What came, and who waits for more.
#[derive(Default)]
struct Inbox {
    received: Mutex<Received>,
    changed: Condvar,
}

#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    metrics: usize,
    logs: usize,
    /// Requests that are not OTLP, and why.
    refused: Vec<String>,
    connections: Vec<TcpStream>,
    closed: bool,
}

impl Inbox {
    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one export; the answer is the HTTP status.
    fn take(&self, request: &http::Request) -> &'static str {
        let mut received = self.received();
        let refusal = match request.path.as_str() {
            "/v1/traces" => match spans::read(&request.body) {
                Ok(spans) => {
                    received.spans.extend(spans);
                    None
                }
                Err(e) => Some(format!("{}: {e}", request.path)),
            },
            "/v1/metrics" => {
                received.metrics += 1;
                None
            }
            "/v1/logs" => {
                received.logs += 1;
                None
            }
            path => Some(format!("{path}: no such path")),
        };
        self.changed.notify_all();
        match refusal {
            None => "200 OK",
            Some(why) => {
                received.refused.push(why);
                "400 Bad Request"
            }
        }
    }
}

fn listen(listener: &TcpListener, inbox: &Arc<Inbox>) {
    for connection in listener.incoming() {
        let Ok(connection) = connection else { continue };
        let mut received = inbox.received();
        if received.closed {
            break;
        }
        received.connections.extend(connection.try_clone());
        let inbox = inbox.clone();
        thread::spawn(move || http::serve(&connection, |request| inbox.take(request)));
    }
}
