//! RabbitMQ, one node without plugins.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::{Deref, Range};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::command::{must, program};
use crate::port;
use crate::server::{Program, Ready, Server};
use crate::{PASSWORD, USER};

/// The programs behind the wrappers in `/usr/sbin`, which would change to another account.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// A private RabbitMQ node. [`USER`] is administrator and may do anything in `/`.
pub struct RabbitMq {
    server: Server,
    node: Node,
    /// Made and not handed out yet, by number.
    vhosts: Mutex<Range<u32>>,
}

impl RabbitMq {
    /// A new, empty node.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// With further lines of `rabbitmq.conf`, which overrule the defaults.
    pub fn start_with(conf: &str) -> Self {
        let started = Configuration { conf: conf.to_owned(), node: Mutex::default() };
        let server = Server::start(&started);
        let node = started.node.into_inner().ok().flatten().expect("a started server was prepared");
        Self { server, node, vhosts: Mutex::new(0..0) }
    }

    /// The node that the tests of this process share; each takes a [`RabbitMq::fresh_vhost`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RabbitMq> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// `amqp://drs:secret@127.0.0.1:PORT/%2f`
    pub fn url(&self) -> String {
        self.url_of("%2f")
    }

    /// An empty virtual host in which [`USER`] may do anything: its URL.
    pub fn fresh_vhost(&self) -> String {
        let mut vhosts = self.vhosts.lock().unwrap_or_else(PoisonError::into_inner);
        let number = vhosts.next().unwrap_or_else(|| {
            *vhosts = self.add_vhosts(vhosts.end);
            vhosts.next().expect("a batch is not empty")
        });
        self.url_of(&format!("fresh-{number}"))
    }

    /// Makes a batch of virtual hosts: 16 take 0.8 s, one alone half of that.
    fn add_vhosts(&self, first: u32) -> Range<u32> {
        let numbers = first..first + 16;
        let add = format!(
            "[begin Name = list_to_binary(\"fresh-\" ++ integer_to_list(Number)), \
             ok = rabbit_vhost:add(Name, <<\"{USER}\">>), \
             ok = rabbit_auth_backend_internal:set_permissions(\
             <<\"{USER}\">>, Name, <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"{USER}\">>) \
             end || Number <- lists:seq({first}, {})].",
            numbers.end - 1
        );
        self.ctl(&["eval", &add]);
        numbers
    }

    /// Runs `rabbitmqctl` and gives what it printed. Panics when it fails. Takes about a second.
    pub fn ctl(&self, args: &[&str]) -> String {
        must(self.node.program("rabbitmqctl").arg("-q").args(args))
    }

    fn url_of(&self, vhost: &str) -> String {
        format!("amqp://{USER}:{PASSWORD}@127.0.0.1:{}/{vhost}", self.port())
    }
}

impl Deref for RabbitMq {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

struct Configuration {
    conf: String,
    /// Of the latest attempt.
    node: Mutex<Option<Node>>,
}

impl Program for Configuration {
    const NAME: &'static str = "RabbitMQ";

    fn prepare(&self, dir: &Path) -> Ready {
        let node = Node::new(dir);
        node.write(&self.conf);
        *self.node.lock().expect("nobody panics with the lock") = Some(node.clone());
        let port = node.port;
        Ready {
            port,
            command: Box::new(move || node.program("rabbitmq-server")),
            serves: Box::new(move || serves(port).unwrap_or(false)),
        }
    }
}

/// Where a node lives and listens.
#[derive(Clone)]
struct Node {
    dir: PathBuf,
    port: u16,
    /// For other nodes and `rabbitmqctl`.
    distribution: u16,
    /// Of the name server of its own: the machine's would outlive the node.
    names: u16,
}

impl Node {
    fn new(dir: &Path) -> Self {
        let [port, distribution, names] = port::free();
        Self { dir: dir.to_owned(), port, distribution, names }
    }

    fn write(&self, conf: &str) {
        let write = |name: &str, text: &str| {
            fs::write(self.dir.join(name), text).expect("a file in the server's directory");
        };
        for name in ["mnesia", "log", "generated", "schema"] {
            fs::create_dir(self.dir.join(name)).expect("a directory in the server's own");
        }
        // The write-ahead log of quorum queues would grow to 512 MB, in memory and on disk.
        let defaults = format!(
            "default_user = {USER}\ndefault_pass = {PASSWORD}\n\
             raft.wal_max_size_bytes = 33554432\nlog.file.level = info\n"
        );
        write("rabbitmq.conf", &format!("{defaults}{conf}\n"));
        write("enabled_plugins", "[].\n");
        write(".erlang.cookie", "cookieofaprivatenode");
        fs::set_permissions(self.dir.join(".erlang.cookie"), fs::Permissions::from_mode(0o400))
            .expect("permissions of the cookie");
    }

    /// A program of RabbitMQ that knows this node and nothing of the machine's own.
    fn program(&self, name: &str) -> Command {
        let mut command = program(&format!("{PROGRAMS}/{name}"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("RABBITMQ") {
                command.env_remove(variable);
            }
        }
        for (variable, file) in [
            ("HOME", ""),
            ("RABBITMQ_MNESIA_BASE", "mnesia"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_LOGS", "log/rabbit.log"),
            ("RABBITMQ_PID_FILE", "pid"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced"),
            ("RABBITMQ_GENERATED_CONFIG_DIR", "generated"),
            ("RABBITMQ_SCHEMA_DIR", "schema"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
        ] {
            command.env(variable, self.dir.join(file));
        }
        command
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_NODENAME", format!("drs{}@localhost", self.port))
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("ERL_EPMD_PORT", self.names.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                // Waits busily while it loads: a start takes half the time where waking a thread is dear.
                "+S 2:2 +sbwt very_long +sbwtdio very_long \
                 -kernel inet_dist_use_interface {127,0,0,1}",
            )
            .current_dir(&self.dir);
        command
    }
}

/// True when it greets a client: a listening port alone says nothing.
fn serves(port: u16) -> std::io::Result<bool> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(Duration::from_secs(2)))?;
    connection.write_all(b"AMQP\0\0\x09\x01")?;
    let mut greeting = [0; 1];
    connection.read_exact(&mut greeting)?;
    Ok(greeting == [1])
}
