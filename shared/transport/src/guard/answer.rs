//! Reading what the guard script answers.

use drs_model::guard::GuardExit;
use drs_model::{FencingToken, GuardAnswer, GuardStatus, JobId};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Every answer is a line that begins with this.
const MARKER: &str = "\ndrs-guard: ";
/// Most bytes of noise before an answer, and of an answer.
const BYTES_MAX: usize = 64 * 1024;

/// The answer line without its marker, and what follows it byte for byte.
pub(super) fn split(stdout: &[u8]) -> Option<(String, &[u8])> {
    let marker = MARKER.as_bytes();
    let at = stdout.windows(marker.len()).position(|window| window == marker)?;
    let rest = stdout.get(at + marker.len()..)?;
    let end = rest.iter().position(|&byte| byte == b'\n')?;
    let (line, rest) = rest.split_at(end);
    Some((String::from_utf8_lossy(line).into_owned(), rest.get(1..)?))
}

/// Reads a stream up to the end of the answer line and not a byte further. `Err` holds what came
/// instead.
pub(super) async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> Result<String, String> {
    let mut seen = Vec::new();
    while seen.len() < BYTES_MAX {
        match stream.read_u8().await {
            Ok(byte) => seen.push(byte),
            Err(_) => break,
        }
        if seen.ends_with(b"\n")
            && let Some((line, _)) = split(&seen)
        {
            return Ok(line);
        }
    }
    Err(String::from_utf8_lossy(&seen).into_owned())
}

/// The answer to a request to start, hold or cancel.
pub(super) fn guard_answer(line: &str) -> Option<GuardAnswer> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("STARTED", "") => Some(GuardAnswer::Started),
        ("ATTACHED", "") => Some(GuardAnswer::Attached),
        ("EXIT", end) => exit(end).map(GuardAnswer::Exit),
        ("BUSY", _) => busy(line).map(GuardAnswer::Busy),
        ("STALE", _) => stale(line).map(GuardAnswer::Stale),
        _ => None,
    }
}

/// The job that has the VM, when the answer is a refusal for its sake.
pub(super) fn busy(line: &str) -> Option<JobId> {
    line.strip_prefix("BUSY ")?.parse().ok()
}

/// The newer token, when the answer is a refusal for its sake.
pub(super) fn stale(line: &str) -> Option<FencingToken> {
    line.strip_prefix("STALE ")?.parse().ok().map(FencingToken)
}

/// The answer to a question for the status.
pub(super) fn status(line: &str) -> Option<GuardStatus> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("RUNNING", "") => Some(GuardStatus::Running),
        ("EXIT", end) => exit(end).map(GuardStatus::Exit),
        ("VANISHED", "") => Some(GuardStatus::Vanished),
        ("REBOOTED", "") => Some(GuardStatus::Rebooted),
        ("UNKNOWN", "") => Some(GuardStatus::Unknown),
        _ => None,
    }
}

fn exit(text: &str) -> Option<GuardExit> {
    match text {
        "cancelled" => Some(GuardExit::Cancelled),
        code => code.parse().ok().map(GuardExit::Code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_of_a_login_shell_is_skipped_and_the_output_is_kept_byte_for_byte() {
        let stdout = b"Welcome!\nno newline\ndrs-guard: RUN\n\x00\ndrs-guard: EXIT 0\n";
        let (line, rest) = split(stdout).expect("an answer");
        assert_eq!(line, "RUN");
        assert_eq!(rest, b"\x00\ndrs-guard: EXIT 0\n");
        assert_eq!(split(b"Welcome!\n"), None);
        assert_eq!(split(b"\ndrs-guard: STA"), None);
    }

    #[tokio::test]
    async fn a_stream_is_read_up_to_the_answer_and_no_further() {
        let mut stream: &[u8] = b"hello\n\ndrs-guard: SERVE\nbytes";
        assert_eq!(read_line(&mut stream).await.as_deref(), Ok("SERVE"));
        assert_eq!(stream, b"bytes");
        let mut closed: &[u8] = b"sh: not found\n";
        assert_eq!(read_line(&mut closed).await, Err("sh: not found\n".to_owned()));
    }

    #[test]
    fn answers_are_understood_or_refused() {
        let job = "0190b2c0-0000-7000-8000-000000000001";
        assert_eq!(guard_answer("STARTED"), Some(GuardAnswer::Started));
        assert_eq!(guard_answer("EXIT 7"), Some(GuardAnswer::Exit(GuardExit::Code(7))));
        assert_eq!(guard_answer("EXIT cancelled"), Some(GuardAnswer::Exit(GuardExit::Cancelled)));
        assert_eq!(guard_answer(&format!("BUSY {job}")), job.parse().ok().map(GuardAnswer::Busy));
        assert_eq!(guard_answer("STALE 9"), Some(GuardAnswer::Stale(FencingToken(9))));
        for nonsense in ["", "EXIT", "EXIT x", "BUSY", "STALE", "STARTED twice", "FAIL no disk"] {
            assert_eq!(guard_answer(nonsense), None, "{nonsense:?}");
        }
        assert_eq!(status("REBOOTED"), Some(GuardStatus::Rebooted));
        assert_eq!(status("EXIT 0"), Some(GuardStatus::Exit(GuardExit::Code(0))));
        assert_eq!(status("ATTACHED"), None);
    }
}
