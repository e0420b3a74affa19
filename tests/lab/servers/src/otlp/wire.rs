//! The protobuf wire format: a message is a series of numbered fields.
//!
//! Read here rather than by the library that the product writes with, so that its mistakes are seen.

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// A varint, or a fixed 64 or 32 bits.
    Number(u64),
    /// A string, bytes, or a message.
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    /// The bytes; empty for a number.
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => &[],
        }
    }

    /// The number; 0 for bytes.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }

    /// The string; what is not UTF-8 is replaced.
    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// Not a protobuf message: cut off, or of a wire type that does not exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a protobuf message")]
pub(super) struct Malformed;

/// The fields of a message with their numbers, in the order in which they stand.
pub(super) fn fields(mut rest: &[u8]) -> Result<Vec<(u64, Field<'_>)>, Malformed> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let field = match key & 7 {
            0 => Field::Number(varint(&mut rest)?),
            1 => Field::Number(fixed(&mut rest, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).map_err(|_| Malformed)?;
                Field::Bytes(take(&mut rest, length)?)
            }
            5 => Field::Number(fixed(&mut rest, 4)?),
            _ => return Err(Malformed),
        };
        fields.push((key >> 3, field));
    }
    Ok(fields)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, left) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = left;
    Ok(taken)
}

fn fixed(rest: &mut &[u8], length: usize) -> Result<u64, Malformed> {
    Ok(take(rest, length)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wire_type_is_read() {
        let message = [
            0x08, 0x96, 0x01, // 1: varint 150
            0x12, 0x02, b'h', b'i', // 2: bytes
            0x19, 1, 0, 0, 0, 0, 0, 0, 0x80, // 3: fixed 64
            0x25, 2, 0, 0, 0, // 4: fixed 32
        ];
        assert_eq!(
            fields(&message),
            Ok(vec![
                (1, Field::Number(150)),
                (2, Field::Bytes(b"hi")),
                (3, Field::Number(0x8000_0000_0000_0001)),
                (4, Field::Number(2)),
            ])
        );
    }

    #[test]
    fn what_is_cut_off_or_unknown_is_refused() {
        for message in [&[0x08][..], &[0x08, 0x80], &[0x12, 5, b'x'], &[0x19, 1], &[0x0b]] {
            assert_eq!(fields(message), Err(Malformed), "{message:x?}");
        }
        assert_eq!(fields(&[0xff; 11]), Err(Malformed));
    }
}
