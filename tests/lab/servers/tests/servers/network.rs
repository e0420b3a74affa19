//! The proxy: what clients of a server see when the network between them fails.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use drs_lab_servers::{Proxy, Redis};

fn connect(port: u16) -> TcpStream {
    let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    patience(&connection, Duration::from_secs(60));
    connection
}

fn patience(connection: &TcpStream, patience: Duration) {
    connection.set_read_timeout(Some(patience)).expect("a socket takes options");
}

fn ping(mut connection: &TcpStream) {
    connection.write_all(b"PING\r\n").expect("the connection is open");
}

fn pong(mut connection: &TcpStream) -> String {
    let mut answer = [0; 7];
    connection.read_exact(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Nothing comes, and the connection is still there.
fn hangs(mut connection: &TcpStream) -> bool {
    patience(connection, Duration::from_millis(200));
    let came = connection.read(&mut [0; 7]);
    patience(connection, Duration::from_secs(60));
    came.is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_cut_line_hangs_and_delivers_when_it_is_healed() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port());
    let old = connect(proxy.port());
    ping(&old);
    assert_eq!(pong(&old), "+PONG\r\n");

    proxy.cut();
    let new = connect(proxy.port());
    for connection in [&old, &new] {
        ping(connection);
        assert!(hangs(connection));
    }
    proxy.heal();
    for connection in [&old, &new] {
        assert_eq!(pong(connection), "+PONG\r\n");
    }
}

#[test]
fn a_severed_line_closes_and_refuses_until_it_is_healed() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port());
    let (mut old, mut hanging) = (connect(proxy.port()), connect(proxy.port()));
    ping(&old);
    assert_eq!(pong(&old), "+PONG\r\n");
    proxy.cut();
    ping(&hanging);

    proxy.sever();
    for connection in [&mut old, &mut hanging] {
        assert_eq!(connection.read(&mut [0; 7]).unwrap_or(0), 0);
    }
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    proxy.heal();
    let new = connect(proxy.port());
    ping(&new);
    assert_eq!(pong(&new), "+PONG\r\n");
}

#[test]
fn a_slow_line_takes_its_time_in_each_direction() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port());
    let connection = connect(proxy.port());
    proxy.delay(Duration::from_millis(100));
    let began = Instant::now();
    ping(&connection);
    assert_eq!(pong(&connection), "+PONG\r\n");
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_dropped_proxy_closes_its_port() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.port());
    let (port, mut connection) = (proxy.port(), connect(proxy.port()));
    drop(proxy);
    assert_eq!(connection.read(&mut [0; 7]).unwrap_or(0), 0);
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
