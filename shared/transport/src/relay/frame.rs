//! Frames of the relay's protocol.

use std::io;

/// Most bytes of content in a frame.
pub(super) const CONTENT_BYTES_MAX: usize = 64 * 1024;
/// Bytes before the content.
pub(super) const HEAD_BYTES: usize = 5;

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The next argument of the command.
    Argument,
    /// The command is complete.
    Go,
    /// Bytes for its standard input; none: the input ends.
    Input,
    /// Bytes of its standard output.
    Output,
    /// The end of its standard error.
    Error,
    /// Its exit code.
    Exit,
}

impl Kind {
    const ALL: [(Self, u8); 6] = [
        (Self::Argument, b'A'),
        (Self::Go, b'G'),
        (Self::Input, b'I'),
        (Self::Output, b'O'),
        (Self::Error, b'E'),
        (Self::Exit, b'X'),
    ];

    fn byte(self) -> u8 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, byte)| *byte)
    }
}

/// A frame's first bytes. The content must not be longer than [`CONTENT_BYTES_MAX`].
pub(super) fn head(kind: Kind, length: usize) -> [u8; HEAD_BYTES] {
    let [.., a, b, c, d] = length.to_be_bytes();
    [kind.byte(), a, b, c, d]
}

/// What a frame is and how much content follows.
///
/// # Errors
/// It is no frame of this protocol.
pub(super) fn parse([byte, length @ ..]: [u8; HEAD_BYTES]) -> io::Result<(Kind, usize)> {
    let kind = Kind::ALL.iter().find(|(_, of_kind)| *of_kind == byte);
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    match kind {
        Some((kind, _)) if length <= CONTENT_BYTES_MAX => Ok((*kind, length)),
        _ => Err(broken("no frame")),
    }
}

/// The other side does not keep to the protocol.
pub(super) fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("relay protocol: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_was_meant_and_nonsense_is_refused() {
        for (kind, _) in Kind::ALL {
            for length in [0, 1, 300, CONTENT_BYTES_MAX] {
                assert_eq!(parse(head(kind, length)).expect("a frame"), (kind, length));
            }
        }
        for nonsense in [[0; 5], *b"Z\0\0\0\x01", *b"I\0\x01\0\x01", *b"I\xff\xff\xff\xff"] {
            assert!(parse(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
