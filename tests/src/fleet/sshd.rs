//! A private sshd on a free port.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::Login;
use crate::product::wait_for;

/// A private sshd; it ends with this value. Commands that it started go on, as after any loss of a connection.
pub struct Sshd {
    dir: TempDir,
    port: u16,
    server: Child,
}

impl Sshd {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// sshd or ssh-keygen cannot be run.
    pub fn start() -> Result<Self> {
        let dir = TempDir::with_prefix("drs-sshd-")?;
        for key in ["hostkey", "id"] {
            new_key(&dir.path().join(key))?;
        }
        std::fs::copy(dir.path().join("id.pub"), dir.path().join("authorized_keys"))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        drop(listener);
        let config = dir.path().join("sshd_config");
        let d = dir.path().display();
        std::fs::write(
            &config,
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {d}/hostkey\nPidFile {d}/sshd.pid\n\
                 AuthorizedKeysFile {d}/authorized_keys\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nPermitRootLogin prohibit-password\nUseDNS no\n\
                 MaxSessions 10\nMaxStartups 100\nSetEnv SHLVL=5 DRS_STATE_DIR={d}/state\n"
            ),
        )?;
        std::fs::create_dir_all("/run/sshd")?;
        let log = File::create(dir.path().join("sshd.log"))?;
        let mut server = Command::new("/usr/sbin/sshd");
        server.args(["-D", "-e", "-f"]).arg(&config).stdout(Stdio::null()).stderr(log);
        let server = server.spawn().context("sshd starts")?;
        wait_for("sshd listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        Ok(Self { dir, port, server })
    }

    /// How one logs in.
    ///
    /// # Errors
    /// The host's key cannot be read.
    pub fn login(&self) -> Result<Login> {
        let key = self.dir.path().join("hostkey.pub");
        let output = Command::new("ssh-keygen").arg("-lf").arg(key).output()?;
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Login {
            address: format!("{}@127.0.0.1:{}", user(), self.port),
            key_file: self.dir.path().join("id"),
            pinned: line.split_whitespace().nth(1).context("a fingerprint")?.to_owned(),
            check: None,
        })
    }

    /// A file in its directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the guard's journal holds of a VM: milliseconds since 1970, job, and whether it began.
    #[must_use]
    pub fn journal(&self, vm: &str) -> Vec<(u64, String, bool)> {
        let path = self.path("state/journal").join(vm);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let read = |line: &str| {
            let mut words = line.split(' ');
            let (ms, job) = (words.next()?.parse().ok()?, words.next()?.to_owned());
            Some((ms, job, words.next_back()? == "begin"))
        };
        text.lines().filter_map(read).collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// Who runs this process, and so may log in to its own sshd.
fn user() -> String {
    std::env::var("USER").unwrap_or_else(|_| "root".to_owned())
}

fn new_key(path: &Path) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    let status = command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status()?;
    ensure!(status.success(), "no key at {}", path.display());
    Ok(())
}
