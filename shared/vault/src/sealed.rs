//! Small JSON documents that know when they are damaged or too new.
//!
//! ```json
//! {"format":1,"digest":"<64 hexadecimal digits>","body":{}}
//! ```
//!
//! `digest` is the BLAKE3 of the bytes of `body` exactly as they stand in the file.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The format that is written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;

/// Why a document was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// A newer version wrote it.
    #[error("document format {0}")]
    TooNew(u32),
}

/// A document and the digest that identifies its content.
pub(crate) struct Sealed<T> {
    /// The content.
    pub(crate) body: T,
    /// BLAKE3 of the content, 64 hexadecimal digits.
    pub(crate) digest: String,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    format: u32,
    digest: &'a str,
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    digest: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// The document's bytes.
pub(crate) fn seal<T: Serialize>(body: &T) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::value::to_raw_value(body)?;
    let digest = blake3::hash(body.get().as_bytes()).to_hex();
    let mut document =
        serde_json::to_vec(&Outgoing { format: FORMAT, digest: &digest, body: &body })?;
    document.push(b'\n');
    Ok(document)
}

/// The document's content, checked.
pub(crate) fn open<T: DeserializeOwned>(document: &[u8]) -> Result<Sealed<T>, SealError> {
    let damaged = |error: serde_json::Error| SealError::Damaged(error.to_string());
    let FormatOnly { format } = serde_json::from_slice(document).map_err(damaged)?;
    if format > FORMAT {
        return Err(SealError::TooNew(format));
    }
    let incoming: Incoming = serde_json::from_slice(document).map_err(damaged)?;
    let digest = blake3::hash(incoming.body.get().as_bytes()).to_hex();
    if format != FORMAT || digest.as_str() != incoming.digest {
        return Err(SealError::Damaged("its content does not have its digest".into()));
    }
    let body = serde_json::from_str(incoming.body.get()).map_err(damaged)?;
    Ok(Sealed { body, digest: incoming.digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_is_found_except_to_the_format_which_reads_as_newer() {
        let document = seal(&vec!["büro", "b"]).expect("seals");
        assert_eq!(open::<Vec<String>>(&document).expect("opens").body, ["büro", "b"]);
        for place in 0..document.len() - 1 {
            for bit in 0..8 {
                let mut changed = document.clone();
                changed[place] ^= 1 << bit;
                assert!(open::<Vec<String>>(&changed).is_err(), "bit {bit} of byte {place}");
            }
            assert!(open::<Vec<String>>(&document[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_newer_document_is_called_newer_whatever_it_holds() {
        let newer = br#"{"format":2,"seal":"other"}"#;
        assert!(matches!(open::<u32>(newer), Err(SealError::TooNew(2))));
    }
}
