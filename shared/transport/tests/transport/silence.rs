//! A worker whose machine is gone without a word: the connection stands and nothing comes over it.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drs_transport::{Argv, Hold, HostGuard, Pulse, ShellGuard, SshConfig, SshRemote};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::guard::{Host, grip, grip_of, little_more_than_busybox, sh};
use crate::sshd::{Sshd, eventually};

const PULSE: Pulse = Pulse { beat: Duration::from_millis(300), silence: Duration::from_secs(2) };

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);
/// How long the host may take to notice.
const LIMIT: Duration = Duration::from_secs(20);

/// A way to a server that can be frozen: what is under way stays there, nothing is closed.
struct Way {
    address: SocketAddr,
    frozen: watch::Sender<bool>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (frozen, gate) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", port)).await.expect("the server");
                let ((near_out, near_in), (far_out, far_in)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(pass(near_out, far_in, gate.clone()));
                tokio::spawn(pass(far_out, near_in, gate.clone()));
            }
        });
        Self { address, frozen }
    }

    fn freeze(&self, frozen: bool) {
        self.frozen.send(frozen).expect("the way is there");
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut frozen: watch::Receiver<bool>,
) {
    let mut bytes = [0; 4096];
    while let Ok(count) = from.read(&mut bytes).await {
        if frozen.wait_for(|frozen| !frozen).await.is_err() || count == 0 {
            break;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
}

/// How many processes of the host's logins there are.
fn processes(host: &Host) -> usize {
    let mark = format!("DRS_STATE_DIR={}", host.path("state").display()).into_bytes();
    let all = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    all.filter(|process| {
        fs::read(process.path().join("environ"))
            .is_ok_and(|text| text.split(|&byte| byte == 0).any(|variable| variable == mark))
    })
    .count()
}

async fn silent_for(host: &Host) {
    let way = Way::to(host.sshd.port).await;
    let config = SshConfig { address: format!("root@{}", way.address), ..host.sshd.config() };
    let far = Arc::new(SshRemote::new(config).expect("an address"));
    let far = ShellGuard::with_pulse(far, PULSE);
    let (a, b) = (grip("a", 1), grip("b", 2));

    let since = Instant::now();
    let (_, hold) = far.hold(&a, Some(&host.note("lost"))).await.expect("an answer");
    let hold = hold.expect("the VM is free");
    let ended = sh("trap 'echo x >>\"$0\"; exit' TERM; echo up; while :; do sleep 0.1; done")
        .arg(host.path("ended").to_str().expect("text"));
    let mut served = far.serve(&a, &ended).await.expect("served");
    let mut up = [0; 3];
    served.stream.read_exact(&mut up).await.expect("it is up");

    // One that is silent from the start shows that the beats of the others are what they live by.
    let mute = ShellGuard::with_pulse(host.sshd.remote(), Pulse { beat: LONG, ..PULSE });
    let (_, muted) = mute.hold(&grip_of("web2", "c", 1), None).await.expect("an answer");
    let muted = muted.expect("the VM is free");
    tokio::time::timeout(LIMIT, muted.lost()).await.expect("the host ends it");
    assert!(since.elapsed() > PULSE.silence);
    assert_eq!((host.noted("lost"), host.noted("ended")), (0, 0));

    way.freeze(true);
    eventually("the hold is lost", async || host.noted("lost") == 1).await;
    eventually("the command is ended", async || host.noted("ended") == 1).await;
    let taken = std::cell::RefCell::new(None);
    eventually("the VM is free", async || {
        *taken.borrow_mut() = host.hold(&b, None).await;
        taken.borrow().is_some()
    })
    .await;
    let taken: Box<dyn Hold> = taken.into_inner().expect("taken");
    taken.release().await.expect("given back");
    eventually("no process is left", async || processes(host) == 0).await;
    let standing = tokio::time::timeout(Duration::from_millis(1), hold.lost()).await;
    assert!(standing.is_err(), "the connection still stands");

    way.freeze(false);
    hold.lost().await;
    assert_eq!(served.exit.await.expect("its end").0, 143);
    assert_eq!((host.noted("lost"), host.noted("ended")), (1, 1));
}

#[tokio::test]
async fn a_worker_that_falls_silent_loses_what_it_holds_and_serves() {
    silent_for(&Host::new()).await;
}

#[tokio::test]
async fn a_worker_that_falls_silent_is_noticed_by_busybox_too() {
    let tools = little_more_than_busybox();
    silent_for(&Host::on(Sshd::with(&format!("PATH={}", tools.path().display())))).await;
}

#[tokio::test]
async fn what_ends_in_order_leaves_no_process() {
    let host = Host::new();
    let a = grip("a", 1);
    let hold = host.hold(&a, None).await.expect("the VM is free");
    let served = host.guard.serve(&a, &Argv::new("true")).await.expect("served");
    assert_eq!(served.exit.await.expect("its end").0, 0);
    hold.release().await.expect("given back");
    eventually("no process is left", async || processes(&host) == 0).await;
}
