//! Connecting host by host: each has its own time, so that one that is silent leaves the next its own.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::Connect;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

/// For each host, from the first packet to its welcome.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// For the connection to one of the addresses that a host's name stands for.
pub(crate) const ADDRESS_WITHIN: Duration = Duration::from_secs(2);

/// The hosts of a URL, in its order.
pub(crate) struct HostByHost {
    /// A configuration for each.
    pub(crate) hosts: Vec<Config>,
    pub(crate) tls: MakeRustlsConnect,
}

type Connected = (Client, JoinHandle<()>);

impl Connect for HostByHost {
    fn connect(
        &self,
        _all: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<Connected, Error>> + Send + '_>> {
        Box::pin(async {
            let mut refusal = None;
            for host in &self.hosts {
                match timeout(CONNECT_WITHIN, host.connect(self.tls.clone())).await {
                    Ok(Ok((client, connection))) => {
                        let task = tokio::spawn(async move {
                            if let Err(error) = connection.await {
                                tracing::debug!(%error, "a connection ended");
                            }
                        });
                        return Ok((client, task));
                    }
                    Ok(Err(error)) => refusal = Some(error),
                    Err(_) => {}
                }
            }
            match refusal {
                Some(error) => Err(error),
                // The pool, whose time is up as well, tells that nobody answered.
                None => pending().await,
            }
        })
    }
}
