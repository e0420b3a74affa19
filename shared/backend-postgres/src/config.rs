//! Which server, and how to get in.

use std::path::PathBuf;

use drs_backend::BackendError;
use drs_model::Secret;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::connect::ADDRESS_WITHIN;

/// What every connection asks of the server, before what the URL asks: no statement of ours takes 10 s unless
/// something is wrong.
const OPTIONS: &str = "-c statement_timeout=10s";

const FORM: &str = "Write it as postgres://USER@HOST/DATABASE?sslmode=MODE.";

/// Which server, and how to get in.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// `postgres://USER@HOST:PORT/DATABASE?sslmode=MODE`, without a password. Several hosts may stand there,
    /// parted by commas; `target_session_attrs=read-write` then takes the one that can be written. A socket
    /// is named by its folder: `postgres:///DATABASE?host=/run/postgresql&user=USER`. Each host has 5 s to answer.
    /// They are tried in their order; `load_balance_hosts=random` mixes the addresses of one name alone.
    /// `hostaddr`, when given, has an address for each host; a port stands behind its host.
    ///
    /// | `sslmode` | meaning |
    /// |---|---|
    /// | `disable` | in the clear |
    /// | `prefer` | encrypted when the server can; the default |
    /// | `require`, `verify-full` | encrypted or not at all |
    ///
    /// Whenever a connection is encrypted the server's certificate is verified with its name, which is
    /// stricter than the meaning that `psql` gives to the first words.
    pub url: String,
    /// The user's password; `None` when the server asks for none.
    pub password: Option<Secret>,
    /// PEM file with the authorities whose certificates are trusted. Those of the machine when `None`.
    pub ca_file: Option<PathBuf>,
    /// Most connections of this process, at least 1. Default [`PostgresConfig::CONNECTIONS_MAX`].
    pub connections_max: usize,
}

impl PostgresConfig {
    /// Default of [`PostgresConfig::connections_max`].
    pub const CONNECTIONS_MAX: usize = 8;

    /// A server with every default.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        let connections_max = Self::CONNECTIONS_MAX;
        Self { url: url.into(), password: None, ca_file: None, connections_max }
    }

    /// The configuration as the driver takes it.
    pub(crate) fn parsed(&self) -> Result<Config, BackendError> {
        let Some((_, rest)) = self.url.split_once("://").filter(|(scheme, _)| is_postgres(scheme))
        else {
            return Err(invalid("its URL does not begin with postgres://", FORM));
        };
        // Before anything else reads it: a message about its parts could show a part of the password.
        if holds_password(rest) {
            return Err(invalid(
                "its URL holds a password",
                "Take the password out of the URL and configure it apart.",
            ));
        }
        let url = self.url.replace("sslmode=verify-full", "sslmode=require");
        let mut config: Config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| invalid(crate::failure::chain(&error), FORM))?;
        fits(&config)?;
        if let Some(password) = &self.password {
            config.password(password.reveal());
        }
        if config.get_application_name().is_none() {
            config.application_name("drs");
        }
        let options = [Some(OPTIONS), config.get_options()].map(Option::unwrap_or_default);
        config.options(options.join(" ").trim_end());
        config.connect_timeout(ADDRESS_WITHIN);
        Ok(config)
    }

    /// A configuration for each host that is named.
    pub(crate) fn host_by_host(&self) -> Result<Vec<Config>, BackendError> {
        let each = urls(&self.url).into_iter().map(|url| Self { url, ..self.clone() }.parsed());
        each.collect()
    }
}

/// A URL for each host between the user and the database.
fn urls(url: &str) -> Vec<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    if !hosts.contains(',') {
        return vec![url.to_owned()];
    }
    let each = hosts.split(',').enumerate();
    each.map(|(i, host)| format!("{scheme}://{user}{host}{}", with_address(path, i))).collect()
}

/// The path and the parameters of a URL, with the address of one of the hosts.
fn with_address(path: &str, host: usize) -> String {
    let words = path.split_inclusive(['?', '&']).map(|word| {
        let Some(addresses) = word.strip_prefix("hostaddr=") else { return word.to_owned() };
        let end = if word.ends_with('&') { "&" } else { "" };
        let address = addresses.trim_end_matches('&').split(',').nth(host).unwrap_or_default();
        format!("hostaddr={address}{end}")
    });
    words.collect()
}

/// As the driver wants it before it connects.
fn fits(config: &Config) -> Result<(), BackendError> {
    let (hosts, addresses) = (config.get_hosts().len(), config.get_hostaddrs().len());
    let (servers, ports) = (hosts.max(addresses), config.get_ports().len());
    if (hosts > 0 && addresses > 0 && hosts != addresses) || (ports > 1 && ports != servers) {
        let reason = format!("its URL has {hosts} hosts, {addresses} addresses and {ports} ports");
        return Err(invalid(
            reason,
            "Write each port behind its host, as in postgres://USER@a:5432,b:5433/DATABASE, and in `hostaddr` \
             an address for each host or none.",
        ));
    }
    Ok(())
}

fn is_postgres(scheme: &str) -> bool {
    matches!(scheme, "postgres" | "postgresql")
}

fn holds_password(rest: &str) -> bool {
    let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || rest.contains("password=")
}

fn invalid(reason: impl Into<String>, remedy: &str) -> BackendError {
    BackendError::Refused {
        what: "PostgreSQL".into(),
        reason: reason.into(),
        remedy: remedy.into(),
    }
}

/// The server as operators know it: `PostgreSQL at HOST:PORT/DATABASE`.
pub(crate) fn named(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(i, host)| {
            let port = ports.get(i).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(folder) => format!("{}:{port}", folder.display()),
            }
        })
        .collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("PostgreSQL at {}/{database}", hosts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<Config, BackendError> {
        PostgresConfig::new(url).parsed()
    }

    #[test]
    fn a_server_is_named_by_host_port_and_database() {
        for (url, name) in [
            ("postgres://drs@db.example/main", "PostgreSQL at db.example:5432/main"),
            ("postgresql://drs@a:1,b:2/main", "PostgreSQL at a:1,b:2/main"),
            ("postgres://drs@db:1?sslmode=verify-full", "PostgreSQL at db:1/drs"),
            ("postgres:///main?host=/run/pg&user=drs", "PostgreSQL at /run/pg:5432/main"),
        ] {
            let named = parsed(url).map(|config| named(&config));
            assert_eq!(named.ok().as_deref(), Some(name), "{url}");
        }
    }

    #[test]
    fn several_hosts_are_parted() {
        let url = "postgres://drs@a:1,b,[::1]:2/main?target_session_attrs=read-write";
        let parted = |host| format!("postgres://drs@{host}/main?target_session_attrs=read-write");
        assert_eq!(urls(url), ["a:1", "b", "[::1]:2"].map(parted));
        for one in [
            "postgres:///main?host=/run/pg,/b&user=drs",
            "postgres://db?user=a,b",
            "postgres:///main?hostaddr=::1,::2",
        ] {
            assert_eq!(urls(one), [one]);
        }
    }

    #[test]
    fn each_host_has_its_own_address() {
        for url in [
            "postgres://drs@a:1,b:2/main?hostaddr=10.0.0.1,10.0.0.2&sslmode=require",
            "postgres://drs@a:1,b:2?sslmode=require&hostaddr=10.0.0.1,10.0.0.2",
        ] {
            let parted = PostgresConfig::new(url).host_by_host().expect(url);
            let parts = parted.iter().map(|one| (one.get_ports()[0], one.get_hostaddrs()[0]));
            let parts: Vec<String> = parts.map(|(port, ip)| format!("{ip} {port}")).collect();
            assert_eq!(parts, ["10.0.0.1 1", "10.0.0.2 2"], "{url}");
        }
    }

    #[test]
    fn hosts_addresses_and_ports_that_do_not_fit_are_refused() {
        for (url, reason) in [
            ("postgres://drs@a,b/main?port=1,2", "2 hosts, 0 addresses and 4 ports"),
            ("postgres://drs@a/main?port=1", "1 hosts, 0 addresses and 2 ports"),
            ("postgres://drs@a,b/main?hostaddr=::1", "2 hosts, 1 addresses and 2 ports"),
        ] {
            let error = parsed(url).expect_err(url);
            assert!(error.to_string().contains(reason), "{url}: {error}");
            assert!(error.fault().remedy.contains("behind its host"), "{url}");
        }
    }

    #[test]
    fn a_url_with_a_password_is_refused_and_not_repeated() {
        for url in [
            "postgres://drs:hunter2@db/main",
            "postgres://drs:hunter2/?#@db/main",
            "postgres://drs:@hunter2@db/main",
            "postgres://drs@db/main?password=hunter2",
        ] {
            let error = parsed(url).expect_err(url);
            assert_eq!(
                error.to_string(),
                "PostgreSQL cannot be used: its URL holds a password",
                "{url}"
            );
            assert!(error.fault().remedy.contains("configure it apart"), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_the_form() {
        for (url, reason) in [
            ("", "does not begin with postgres://"),
            ("host=db user=drs", "does not begin with postgres://"),
            ("mysql://drs@db/main", "does not begin with postgres://"),
            ("postgres://drs@db:port/main", "port"),
            ("postgres://drs@db/main?sslmode=verify-ca", "sslmode"),
            ("postgres://drs@db/main?colour=red", "colour"),
        ] {
            let error = parsed(url).expect_err(url);
            assert!(error.to_string().contains(reason), "{url}: {error}");
            assert_eq!(error.fault().remedy, FORM, "{url}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let password = Some(Secret::new("hunter2"));
        let config = PostgresConfig { password, ..PostgresConfig::new("postgres://drs@db/main") };
        assert!(!format!("{config:?} {:?}", config.parsed()).contains("hunter2"));
    }
}
