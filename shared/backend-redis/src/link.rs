//! The connection: one, shared by all calls, opened again when it is lost.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use drs_backend::BackendError;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisConnectionInfo, RedisError, RedisResult, ScriptInvocation, TlsCertificates,
    Value, cmd,
};
use tokio::time::Instant;

use crate::RedisConfig;
use crate::answer::Answer;
use crate::config::Address;
use crate::durability;
use crate::failure::{Failure, ends_connection};
use crate::script;
use crate::unreadable::Unreadable;

/// Longest wait for a connection, TLS and login included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for an answer; a server that flushes to its disk before it answers may take a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long no connection is tried after the first failure; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long at most.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// The way to the server.
pub(crate) struct Link {
    address: Address,
    login: RedisConnectionInfo,
    certificates: Option<TlsCertificates>,
    /// What all keys begin with, braces and colon included.
    prefix: String,
    /// Of the first connection that was let in: what [`durability`] found.
    warnings: OnceLock<Vec<String>>,
    state: Mutex<State>,
    /// Held by the task that opens a connection.
    opening: tokio::sync::Mutex<()>,
    what: Arc<str>,
    unreadable: Unreadable,
}

enum State {
    /// Calls go through.
    Up(Live),
    /// There is none; until a time calls fail at once, as the latest attempt did.
    Down { since: Failure, pause: Duration, until: Instant },
    /// None was opened so far.
    New,
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    lost: Arc<AtomicBool>,
}

impl Live {
    fn works(&self) -> bool {
        !self.lost.load(Ordering::Relaxed)
    }
}

impl Link {
    /// A link that connects when it is first used.
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, BackendError> {
        let address = Address::read(&config.url)?;
        let mut login = RedisConnectionInfo::default()
            .set_db(address.database.into())
            // The third version tells at once that a connection is gone, also when nothing is asked.
            .set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &address.user {
            login = login.set_username(user);
        }
        if let Some(password) = &config.password {
            login = login.set_password(password.reveal());
        }
        if address.tls {
            // Of the process; when it has one already, that stays.
            rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        }
        let what: Arc<str> = address.what().into();
        let certificates = match &config.ca_file {
            _ if !address.tls => None,
            None => Some(TlsCertificates { client_tls: None, root_cert: None }),
            Some(path) => Some(authorities(path, &what)?),
        };
        Ok(Self {
            address,
            login,
            certificates,
            prefix: format!("{{{}}}:", config.prefix),
            warnings: OnceLock::new(),
            state: Mutex::new(State::New),
            opening: tokio::sync::Mutex::default(),
            what,
            unreadable: Unreadable::default(),
        })
    }

    /// The server as errors name it.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What all keys begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Why the server may lose what it answered, once there was a connection.
    pub(crate) fn warnings(&self) -> &[String] {
        self.warnings.get().map_or(&[], Vec::as_slice)
    }

    /// The records that could not be read.
    pub(crate) fn unreadable(&self) -> &Unreadable {
        &self.unreadable
    }

    /// Calls a script; the server is given its text when it does not know it.
    pub(crate) async fn run(
        self: &Arc<Self>,
        script: &ScriptInvocation<'_>,
    ) -> Result<Answer, BackendError> {
        let mut live = self.live().await.map_err(|failure| failure.told(&self.what))?;
        let answer = script.invoke_async(&mut live.connection).await;
        Answer::new(self.judged(&live, answer)?, Arc::clone(self))
    }

    /// Sends a command.
    pub(crate) async fn command(self: &Arc<Self>, words: &[&str]) -> Result<Value, BackendError> {
        let mut live = self.live().await.map_err(|failure| failure.told(&self.what))?;
        let mut command = redis::Cmd::new();
        let answer = command.arg(words).query_async(&mut live.connection).await;
        self.judged(&live, answer)
    }

    fn judged(&self, live: &Live, answer: RedisResult<Value>) -> Result<Value, BackendError> {
        answer.map_err(|error| {
            if ends_connection(&error) {
                live.lost.store(true, Ordering::Relaxed);
            }
            Failure::from(error).told(&self.what)
        })
    }

    /// The connection; the first call that finds it lost opens the next, and others wait for that. It is
    /// opened by a task of its own: a caller that is not polled for a while keeps nobody waiting.
    async fn live(self: &Arc<Self>) -> Result<Live, Failure> {
        if let Some(known) = self.known() {
            return known;
        }
        let link = Arc::clone(self);
        let opened = tokio::spawn(async move { link.opened().await });
        opened.await.unwrap_or_else(|_| Err(Failure::NotYet("the process ends".to_owned())))
    }

    /// The connection that works, or why there is none, unless it is time to open another.
    fn known(&self) -> Option<Result<Live, Failure>> {
        match &*self.state() {
            State::Up(live) if live.works() => Some(Ok(live.clone())),
            State::Down { since, until, .. } if Instant::now() < *until => Some(Err(since.clone())),
            State::Up(_) | State::Down { .. } | State::New => None,
        }
    }

    async fn opened(&self) -> Result<Live, Failure> {
        let _alone = self.opening.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        let known_before = self.warnings.get().is_some();
        let opened = self.admitted().await;
        let mut state = self.state();
        *state = match &opened {
            Ok(live) => {
                if known_before {
                    tracing::info!(server = %self.what, "Redis is there again");
                    tracing::info!(target: "drs::metric", name = "drs_reconnects_total", backend = "redis", value = 1);
                }
                State::Up(live.clone())
            }
            Err(since) => {
                let pause = match *state {
                    State::Down { pause, .. } => (pause * 2).min(LAST_PAUSE),
                    State::Up(_) | State::New => FIRST_PAUSE,
                };
                State::Down { since: since.clone(), pause, until: Instant::now() + pause }
            }
        };
        opened
    }

    /// A connection that may be used. The first one shows whether the user has the rights that are needed, and
    /// whether the server keeps what it answers.
    async fn admitted(&self) -> Result<Live, Failure> {
        let mut live = self.open().await?;
        if self.warnings.get().is_none() {
            self.check_rights(&mut live).await?;
            let found = durability::warnings(&mut live.connection, &self.what).await?;
            self.warnings.get_or_init(|| found);
        }
        Ok(live)
    }

    /// A right that is missing would break a script in the middle.
    async fn check_rights(&self, live: &mut Live) -> Result<(), Failure> {
        let question = script::RIGHTS.key(self.prefix());
        let missing: Vec<String> = question.invoke_async(&mut live.connection).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let rights: Vec<String> = missing.iter().map(|right| format!("+{right}")).collect();
        let rights = rights.join(" ");
        let remedy = format!("Grant them with ACL SETUSER USER ~{}* {rights}", self.prefix);
        Err(Failure::refused(format!("its user lacks the rights {rights}"), remedy))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> Result<Live, Failure> {
        let Some(master) = &self.address.master else {
            let (host, port) = &self.address.servers[0];
            return Ok(self.connect(host, *port, &self.login).await?);
        };
        let (host, port) = self.find(master).await?;
        let mut live = self.connect(&host, port, &self.login).await?;
        let role: Vec<Value> = cmd("ROLE").query_async(&mut live.connection).await?;
        match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(live),
            _ => Err(Failure::NotYet(format!("{host}:{port} is not the master yet"))),
        }
    }

    /// Where the master is, by the first Sentinel that knows.
    async fn find(&self, master: &str) -> Result<(String, u16), Failure> {
        let mut last = Failure::NotYet(format!("no Sentinel knows a master named {master}"));
        let nobody = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        for (host, port) in &self.address.servers {
            let asked = match self.connect(host, *port, &nobody).await {
                Ok(mut sentinel) => {
                    let mut question = cmd("SENTINEL");
                    question.arg("get-master-addr-by-name").arg(master);
                    question.query_async(&mut sentinel.connection).await
                }
                Err(error) => Err(error),
            };
            match asked {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    async fn connect(
        &self,
        host: &str,
        port: u16,
        login: &RedisConnectionInfo,
    ) -> Result<Live, RedisError> {
        let host = host.to_owned();
        let address = match self.address.tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        };
        let info = address
            .into_connection_info()?
            .set_redis_settings(login.clone())
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone())?,
            None => Client::open(info)?,
        };
        let lost = Arc::new(AtomicBool::new(false));
        let noted = lost.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT))
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    noted.store(true, Ordering::Relaxed);
                }
                Ok::<(), redis::aio::SendError>(())
            });
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Live { connection, lost })
    }
}

fn authorities(path: &Path, what: &str) -> Result<TlsCertificates, BackendError> {
    let root_cert = std::fs::read(path).map_err(|error| {
        let reason = format!("the authorities in {} cannot be read: {error}", path.display());
        Failure::refused(reason, "Name a file with certificates (PEM).").told(what)
    })?;
    Ok(TlsCertificates { client_tls: None, root_cert: Some(root_cert) })
}
