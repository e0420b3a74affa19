//! A network that can be cut: a TCP proxy in front of a server.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes carried at a time.
const CHUNK: usize = 64 * 1024;

/// How long the proxy waits for its own port when another program has it for a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port of 127.0.0.1 that leads to another one, over a line that tests cut, sever, slow down and heal.
///
/// Dropped, it closes its connections and its port.
pub struct Proxy {
    port: u16,
    line: Arc<Line>,
}

impl Proxy {
    /// Leads to a port of 127.0.0.1.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let line = Arc::new(Line { target, state: Mutex::default(), changed: Condvar::new() });
        listen(&line, listener);
        Self { port, line }
    }

    /// The port to connect to; the same for as long as the proxy lives.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A pulled cable: connections stay open, nothing goes through, nobody is told. New connections are
    /// taken and hang. What was sent meanwhile goes through when the line is healed, as TCP would send it
    /// again.
    pub fn cut(&self) {
        self.line.set(Mode::Cut);
    }

    /// A server that went away: connections are closed, new ones are refused.
    pub fn sever(&self) {
        self.line.set(Mode::Severed);
        self.line.close_all();
        // Wakes the listener, which sees that it is not wanted any more and gives the port back.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        let mut state = self.line.state();
        while state.listens {
            state = self.line.wait(state);
        }
    }

    /// All is well again. A delay stays.
    pub fn heal(&self) {
        self.line.set(Mode::Whole);
        if self.line.state().listens {
            return;
        }
        let began = Instant::now();
        loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)) {
                Ok(listener) => return listen(&self.line, listener),
                Err(e) => assert!(began.elapsed() < PATIENCE, "the proxy's port is taken: {e}"),
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// From now on every piece of data takes this much longer, in each direction. 0 at first.
    pub fn delay(&self, delay: Duration) {
        self.line.state().delay = delay;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.sever();
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    #[default]
    Whole,
    Cut,
    Severed,
}

struct Line {
    target: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    mode: Mode,
    delay: Duration,
    listens: bool,
    /// Both ends of each connection, with a number per connection.
    ends: Vec<(u64, TcpStream)>,
    connections: u64,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mode: Mode) {
        self.state().mode = mode;
        self.changed.notify_all();
    }

    fn set_listens(&self, listens: bool) {
        self.state().listens = listens;
        self.changed.notify_all();
    }

    fn close_all(&self) {
        for (_, end) in self.state().ends.drain(..) {
            close(&end, Shutdown::Both);
        }
    }

    /// Waits while the line is cut, and as long as the delay wants; false when it is severed.
    fn passes(&self) -> bool {
        let mut state = self.state();
        while state.mode == Mode::Cut {
            state = self.wait(state);
        }
        let (whole, delay) = (state.mode == Mode::Whole, state.delay);
        drop(state);
        thread::sleep(delay);
        whole
    }

    /// Keeps an end of a connection, to close it when the line is severed; false when it is severed already.
    fn keep(&self, connection: u64, end: &TcpStream) -> bool {
        let mut state = self.state();
        let Ok(end) = end.try_clone() else { return false };
        if state.mode == Mode::Severed {
            return false;
        }
        state.ends.push((connection, end));
        true
    }

    fn number(&self) -> u64 {
        let mut state = self.state();
        state.connections += 1;
        state.connections
    }
}

/// Takes connections until the line is severed.
fn listen(line: &Arc<Line>, listener: TcpListener) {
    line.set_listens(true);
    let line = line.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            if line.state().mode == Mode::Severed {
                break;
            }
            let Ok(client) = client else { continue };
            let line = line.clone();
            thread::spawn(move || {
                let number = line.number();
                carry_both_ways(&line, number, &client);
                line.state().ends.retain(|(of, _)| *of != number);
            });
        }
        drop(listener);
        line.set_listens(false);
    });
}

fn carry_both_ways(line: &Line, number: u64, client: &TcpStream) {
    if !line.keep(number, client) || !line.passes() {
        return;
    }
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, line.target)) else { return };
    if !line.keep(number, &server) {
        return;
    }
    for end in [client, &server] {
        end.set_nodelay(true).expect("a socket takes options");
    }
    thread::scope(|scope| {
        scope.spawn(|| carry(line, &server, client));
        carry(line, client, &server);
    });
}

/// Carries what one end sends to the other, its end of sending too.
fn carry(line: &Line, mut from: &TcpStream, mut to: &TcpStream) {
    let mut piece = vec![0; CHUNK];
    loop {
        let length = from.read(&mut piece).unwrap_or(0);
        if !line.passes() || length == 0 {
            break;
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    close(from, Shutdown::Read);
    close(to, Shutdown::Write);
}

/// Closes a connection that may be closed already.
fn close(end: &TcpStream, how: Shutdown) {
    end.shutdown(how).ok();
}
