//! Running one command to its end over a channel.

use std::pin::pin;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, Sig};

use super::SshConfig;
use crate::tail::Tail;
use crate::{Argv, Output, TransportError};

/// Extended data of this type is standard error.
pub(super) const STDERR: u32 = 1;

/// Sends the command, feeds it, and collects what it leaves.
pub(super) async fn run(
    config: &SshConfig,
    channel: &mut Channel<Msg>,
    argv: &Argv,
    stdin: Bytes,
) -> Result<Output, TransportError> {
    let broke = |error: russh::Error| config.unreachable(format!("the connection broke: {error}"));
    channel.exec(true, argv.quoted()).await.map_err(broke)?;
    let mut writer = channel.make_writer();
    let mut writing = pin!(async move {
        use tokio::io::AsyncWriteExt;
        // A command may end without having read its input: its exit code tells, not this write.
        if stdin.is_empty() || writer.write_all(&stdin).await.is_ok() {
            drop(writer.shutdown().await);
        }
    });
    let mut written = false;
    let mut end = End::default();
    let mut stdout = Vec::new();
    loop {
        let message = tokio::select! {
            () = &mut writing, if !written => { written = true; continue }
            message = channel.wait() => message,
        };
        match message {
            Some(ChannelMsg::Data { data }) => {
                if stdout.len() + data.len() > Output::BYTES_MAX {
                    return Err(config.protocol(argv, "more than 16 MiB of standard output"));
                }
                stdout.extend_from_slice(&data);
            }
            Some(ChannelMsg::Close) | None => break,
            Some(message) => end.note(&message),
        }
    }
    let (code, stderr) = end.finish(config, argv)?;
    Ok(Output { code, stdout, stderr })
}

/// What a channel tells about the end of its command.
#[derive(Default)]
pub(super) struct End {
    code: Option<i32>,
    refused: bool,
    stderr: Tail,
}

impl End {
    pub(super) fn note(&mut self, message: &ChannelMsg) {
        match message {
            ChannelMsg::ExtendedData { data, ext: STDERR } => self.stderr.push(data),
            ChannelMsg::ExitStatus { exit_status } => {
                self.code = Some(i32::try_from(*exit_status).unwrap_or(i32::MAX));
            }
            ChannelMsg::ExitSignal { signal_name, .. } => {
                self.code = Some(128 + number(signal_name))
            }
            ChannelMsg::Failure => self.refused = true,
            _ => {}
        }
    }

    /// Exit code and the end of standard error, or why there is none.
    pub(super) fn finish(
        self,
        config: &SshConfig,
        argv: &Argv,
    ) -> Result<(i32, String), TransportError> {
        match self.code {
            Some(code) => Ok((code, self.stderr.text())),
            None if self.refused => Err(config.protocol(argv, "the SSH server runs no commands")),
            None => Err(config.unreachable("the connection broke while a command ran".into())),
        }
    }
}

/// The number of a signal on Linux; SSH sends its name.
fn number(signal: &Sig) -> i32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        // OpenSSH names the others `SIG` and the number is lost: any code that is no success.
        Sig::Custom(_) => 127,
    }
}
