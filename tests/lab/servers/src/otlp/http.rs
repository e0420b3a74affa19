//! As much of HTTP/1.1 as exporters speak: requests with a length, one after the other on a connection.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// Bytes of one export at most.
const BODY_MAX: usize = 64 << 20;

/// One request.
pub(super) struct Request {
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// Answers requests, each with a status, until the client closes the connection or breaks the protocol.
pub(super) fn serve(connection: &TcpStream, answer: impl Fn(&Request) -> &'static str) {
    let mut from = BufReader::new(connection);
    while let Ok(Some(request)) = read(&mut from) {
        let status = answer(&request);
        let mut to = connection;
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
        );
        if to.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// The next request; nothing at the end of the connection.
fn read(from: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).ok_or(io::ErrorKind::InvalidData)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        from.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
    }
    if length > BODY_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(Request { path, body }))
}
