//! Spans of what runs on a host. They tell a command's program and never its arguments, which may name a
//! path, or hold a guard's whole script.

use drs_model::HostName;
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::Argv;
use crate::argv::name_of;

/// The span of a command that is run to its end.
pub(super) fn exec(host: &HostName, argv: &Argv) -> Span {
    let program = name_of(argv.parts());
    info_span!("ssh.exec", %host, program, code = Empty, bytes = Empty, otel.status_code = Empty)
}

/// The span of a stream: of a command, or of a socket on the host.
pub(super) fn stream(host: &HostName, argv: Option<&Argv>) -> Span {
    let program = argv.map_or("(socket)", |argv| name_of(argv.parts()));
    info_span!("ssh.stream", %host, program, code = Empty, bytes = Empty, otel.status_code = Empty)
}

/// Notes how a command ended, and how many bytes it gave.
pub(super) fn ended(span: &Span, code: i32, bytes: u64) {
    span.record("code", code).record("bytes", bytes);
    if code != 0 {
        span.record("otel.status_code", "ERROR");
    }
}
