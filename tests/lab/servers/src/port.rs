//! Free TCP ports.

use std::net::TcpListener;

/// Ports of 127.0.0.1 that are free now and differ from each other. Another program may take one before it
/// is used: whoever fails to listen asks again.
pub(crate) fn free<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound port").port())
}
