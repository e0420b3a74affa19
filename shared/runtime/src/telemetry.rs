//! What a process tells of itself: log lines, traces and figures.
//!
//! The crates emit `tracing` spans and events and know nothing of who listens. Three listen:
//! - **log lines** go to standard error, so that standard output stays what was asked for; spans do not
//!   show in them;
//! - **spans** go to an OTLP receiver, when one is configured (`spans`). Log lines do not go there: they
//!   may name a path or a key file, a span's attributes never do;
//! - **figures** are events with the target `drs::metric`; a role counts them for `/metrics` when an
//!   address is configured ([`metrics`]). They are no log lines, at whatever level.
//!
//! What nobody listens to costs one comparison at its place in the code.
//!
//! # Spans
//! The trace of a job begins with who submits it: a command or a fire of a schedule. The record and the
//! message of the job carry it (`traceparent`), so that every process that works for the job goes on with it.
//!
//! | span | parent | tells |
//! |---|---|---|
//! | `drs.COMMAND` | none | a command, from its start to its end |
//! | `fire` | none | `schedule`, `at`: a run of a schedule is decided on and submitted |
//! | `publish` | who submits | `job`, `lane`: its message goes out |
//! | `claim` | who submitted | `job`, `worker`; in each process that gets the message |
//! | `job` | who submitted | `job`, `kind`, `subject`, `attempt`, `lane`, `worker`, `outcome`, `fault`; one for each attempt |
//! | `hold` | `job` | the VMs of the job are taken on their hosts |
//! | `step` | `job` | `step`, `mark` (`run`, `undo`), `fault` |
//! | `transfer` | `step` | `step`, `bytes`: content on its way between a host, the vault and the spool |
//! | `watch` | `step` | looks at something that takes its time; the looks themselves leave no spans |
//! | `guard.VERB` | what asks | `host`, `verb`, `program`: a question to the guard of a host |
//! | `guard.held` | `hold` | `host`: from the moment in which a VM is held to its end |
//! | `ssh.exec` | what runs it | `host`, `program`, `code`, `bytes` of its output: a command on a host |
//! | `ssh.stream` | what opens it | the same, from the opening of the stream to its end |
//!
//! A `fault` is a code (`host_unreachable`), and the span's status is *error* then. Spans wait for at most a
//! second, 8,192 of them; those for which there is no room, and those that the receiver does not take within 2
//! s, are lost. A `program` is the name of a command, or `drs-NAME` for one of our own scripts, without its
//! arguments. Every trace is sent: who wants fewer samples them in the collector.

pub mod metrics;
mod spans;

use std::io::stderr;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::{LogFormat, TelemetrySection};
use crate::environment;
use metrics::Metrics;

/// What a process is to its observers, and how much it logs.
#[derive(Debug, Clone)]
pub struct Voice<'a> {
    /// `service.name` of its traces: `drs` for a command, `drs-worker`, `drs-scheduler`, ... for a role.
    pub service: &'static str,
    /// What is logged, unless `DRS_LOG` says otherwise; a level, or `target=level,...`.
    pub level: &'a str,
    /// How a log line is written.
    pub format: LogFormat,
}

/// The telemetry of this process, from its start to [`Telemetry::end`].
#[must_use = "what was not sent yet is lost unless it is ended"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<Metrics>,
}

impl Telemetry {
    /// Starts logging, traces and figures as configured, once for the process, and before any async
    /// runtime is entered: the one that sends traces is a thread of its own. Figures are counted when
    /// the section names an address. What cannot be started is told in the log and left out.
    pub fn start(voice: &Voice<'_>, section: &TelemetrySection) -> Self {
        let (filter, refused) = log_filter(voice.level);
        let traces = section.otlp.as_deref().map(|base| spans::provider(base, voice.service));
        let (traces, untraced) = match traces.transpose() {
            Ok(traces) => (traces, None),
            Err(error) => (None, Some(error)),
        };
        let metrics = section.metrics.map(|_| Metrics::new());
        let started = tracing_subscriber::registry()
            .with(lines(voice.format, filter))
            .with(traces.as_ref().map(spans::layer))
            .with(metrics.as_ref().map(Metrics::layer))
            .try_init();
        if let Err(error) = started {
            tracing::debug!(%error, "logging was started before");
        }
        if let Some(error) = refused {
            tracing::warn!(%error, "DRS_LOG is no log filter and is left aside");
        }
        if let Some(error) = untraced {
            tracing::warn!(%error, "traces go nowhere: their receiver cannot be used");
        }
        Self { traces, metrics }
    }

    /// The figures, when they are counted.
    #[must_use]
    pub fn metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    /// Sends what was not sent yet, for 2 s at most. To be called when the async runtime is left.
    pub fn end(self) {
        if let Some(traces) = self.traces {
            spans::end(&traces);
        }
    }
}

/// Libraries whose log lines are left out: the one says at each export why a receiver's certificate is
/// refused, the other logs what it also answers, and we say both once.
const LOUD: [&str; 2] = ["rustls_platform_verifier", "lapin"];

/// The filter of log lines, and why what `DRS_LOG` says is none.
fn log_filter(level: &str) -> (EnvFilter, Option<tracing_subscriber::filter::ParseError>) {
    match environment::log_filter().as_deref().map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(level), Some(error)),
        None => (EnvFilter::new(level), None),
    }
}

fn lines(format: LogFormat, filter: EnvFilter) -> impl Layer<Registry> {
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let is_line = |metadata: &Metadata<'_>| {
        let target = metadata.target();
        let is_loud = LOUD.iter().any(|library| target.starts_with(library));
        metadata.is_event() && target != metrics::TARGET && !is_loud
    };
    // The hint keeps the other filter's: what neither lines nor spans want is never looked at.
    lines.with_filter(filter.and(filter_fn(is_line).with_max_level_hint(LevelFilter::TRACE)))
}
