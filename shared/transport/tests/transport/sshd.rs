//! A private sshd on a free port in a temporary directory.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drs_transport::{SshConfig, SshRemote};

/// A command of this machine, for the tests' own servers and looks at files and processes.
#[allow(clippy::disallowed_methods, reason = "tests start their servers themselves")]
pub(crate) fn local(program: &str) -> Command {
    Command::new(program)
}

/// Runs a command of this machine and wants it to succeed.
pub(crate) fn must(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until something is so; fails the test after 20 s.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(20), "still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) struct Sshd {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) port: u16,
    /// Further lines of the configuration.
    extra: String,
    server: Option<Child>,
}

impl Sshd {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// With the guard's state in a directory of its own and these variables at login.
    pub(crate) fn with(environment: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        for key in ["hostkey", "id"] {
            new_key(&dir.path().join(key), "");
        }
        fs::copy(dir.path().join("id.pub"), dir.path().join("authorized_keys")).expect("a copy");
        let extra =
            format!("SetEnv SHLVL=5 DRS_STATE_DIR={}/state {environment}", dir.path().display());
        let mut sshd = Self { dir, port, extra, server: None };
        sshd.up();
        sshd
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts the server and waits until it listens.
    pub(crate) fn up(&mut self) {
        fs::create_dir_all("/run/sshd").expect("sshd wants this directory");
        let config = self.path("sshd_config");
        let d = self.dir.path().display();
        let text = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {d}/hostkey\nPidFile {d}/sshd.pid\n\
             AuthorizedKeysFile {d}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin prohibit-password\nUseDNS no\n\
             MaxSessions 10\n{}\n",
            self.port, self.extra
        );
        fs::write(&config, text).expect("the configuration is written");
        let log = fs::File::create(self.path("sshd.log")).expect("a log file");
        let mut server = local("/usr/sbin/sshd");
        server.args(["-D", "-e", "-f"]).arg(&config).stdout(Stdio::null()).stderr(log);
        self.server = Some(server.spawn().expect("sshd starts"));
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "{}", self.log());
            std::thread::yield_now();
        }
    }

    /// Kills the server and every connection it has.
    pub(crate) fn down(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let pid = server.id();
        let sessions = local("pgrep").arg("-P").arg(pid.to_string()).output().expect("pgrep runs");
        server.kill().expect("sshd is killed");
        server.wait().expect("sshd is dead");
        for session in String::from_utf8_lossy(&sessions.stdout).split_whitespace() {
            kill("KILL", session);
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("sshd.log")).unwrap_or_default()
    }

    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.path("hostkey.pub"))
    }

    pub(crate) fn config(&self) -> SshConfig {
        SshConfig {
            host: "dc1".parse().expect("a name"),
            address: format!("root@127.0.0.1:{}", self.port),
            key_file: Some(self.path("id")),
            agent_socket: None,
            pinned: vec![self.fingerprint()],
            connect_timeout: SshConfig::CONNECT_TIMEOUT,
        }
    }

    pub(crate) fn remote(&self) -> Arc<SshRemote> {
        Arc::new(SshRemote::new(self.config()).expect("an address"))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.down();
        if std::thread::panicking() {
            eprintln!("--- sshd\n{}", self.log());
        }
    }
}

/// Sends a signal to a process (or, with a minus, a process group) that may be gone already.
pub(crate) fn kill(signal: &str, pid: &str) {
    local("kill")
        .args(["-s", signal, "--", pid])
        .stderr(Stdio::null())
        .status()
        .expect("kill runs");
}

pub(crate) fn new_key(path: &Path, passphrase: &str) {
    must(local("ssh-keygen").args(["-q", "-t", "ed25519", "-N", passphrase, "-f"]).arg(path));
}

pub(crate) fn fingerprint(public: &Path) -> String {
    let line = must(local("ssh-keygen").arg("-lf").arg(public));
    line.split_whitespace().nth(1).expect("a fingerprint").to_owned()
}
