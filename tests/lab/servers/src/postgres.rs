//! PostgreSQL, quick rather than safe against power cuts.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Signal, geteuid};

use crate::command::{must, program};
use crate::port;
use crate::server::{Program, Ready, Server};
use crate::{PASSWORD, USER};

/// Where Debian keeps each installed version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The account that runs the server when the tests are root's: PostgreSQL refuses root.
const ACCOUNT: &str = "postgres";

/// A private PostgreSQL with one database, `drs`. [`USER`] is superuser.
pub struct Postgres {
    server: Server,
    databases: AtomicU32,
}

impl Postgres {
    /// A new server with an empty database.
    pub fn start() -> Self {
        let postgres = Self { server: Server::start(&Cluster), databases: AtomicU32::new(0) };
        postgres.sql_in("postgres", &format!("CREATE DATABASE {USER}"));
        postgres
    }

    /// The server that the tests of this process share; each takes a [`Postgres::fresh_database`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// `postgres://drs:secret@127.0.0.1:PORT/drs`
    pub fn url(&self) -> String {
        self.url_of(USER)
    }

    /// Makes an empty database and gives its URL.
    pub fn fresh_database(&self) -> String {
        let name = format!("fresh_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql_in("postgres", &format!("CREATE DATABASE {name}"));
        self.url_of(&name)
    }

    /// Runs SQL in the database `drs` and gives the rows, one a line, columns parted by `|`.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in(USER, sql)
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port())
    }

    fn sql_in(&self, database: &str, sql: &str) -> String {
        must(
            program(&binary("psql"))
                .arg("-h")
                .arg(self.dir())
                .args(["-p", &self.port().to_string(), "-U", USER, "-d", database])
                .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]),
        )
    }
}

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

struct Cluster;

impl Program for Cluster {
    const NAME: &'static str = "PostgreSQL";

    // SIGTERM would wait for every client to leave.
    const STOP: Signal = Signal::INT;

    fn prepare(&self, dir: &Path) -> Ready {
        let password = dir.join("password");
        fs::write(&password, PASSWORD).expect("a file in the server's directory");
        give_away(dir);
        give_away(&password);
        let data = dir.join("data");
        must(
            as_account(&binary("initdb"))
                .current_dir(dir)
                .args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--username", USER])
                .args(["--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile"])
                .arg(&password)
                .arg("--pgdata")
                .arg(&data),
        );
        let [port] = port::free();
        let sockets = dir.to_owned();
        Ready {
            port,
            command: Box::new(move || server(&data, &sockets, port)),
            serves: Box::new(move || serves(port)),
        }
    }
}

fn server(data: &Path, sockets: &Path, port: u16) -> Command {
    let mut command = as_account(&binary("postgres"));
    command.arg("-D").arg(data).args(["-p", &port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "fsync=off",
        "shared_buffers=32MB",
        "max_connections=200",
        &format!("unix_socket_directories={}", sockets.display()),
    ] {
        command.args(["-c", setting]);
    }
    command
}

fn serves(port: u16) -> bool {
    program(&binary("pg_isready"))
        .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
        .status()
        .is_ok_and(|status| status.success())
}

/// A program of the newest installed version.
fn binary(name: &str) -> String {
    let version = |path: &PathBuf| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let newest = fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/postgres").exists())
        .max_by_key(version)
        .unwrap_or_else(|| panic!("no PostgreSQL in {VERSIONS}: run tests/lab/setup servers"));
    newest.join("bin").join(name).display().to_string()
}

fn as_account(path: &str) -> Command {
    if !geteuid().is_root() {
        return program(path);
    }
    let mut command = program("setpriv");
    command.args(["--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups", "--", path]);
    command
}

/// Makes a path the account's, where the server runs as another account than the tests.
fn give_away(path: &Path) {
    if !geteuid().is_root() {
        return;
    }
    let id = |flag: &str| -> u32 {
        let printed = must(program("id").args([flag, ACCOUNT]));
        printed.trim().parse().expect("id prints a number")
    };
    chown(path, Some(id("-u")), Some(id("-g"))).expect("root gives files away");
}
