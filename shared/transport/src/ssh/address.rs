//! An SSH address as the operator writes it: `user@address:port`.

use std::fmt;

use crate::TransportError;

/// Login name, address and port of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Login name; `root` when none was written.
    pub(super) user: String,
    /// Name or IP address, without brackets.
    pub(super) address: String,
    /// TCP port; 22 when none was written.
    pub(super) port: u16,
}

impl Address {
    /// Reads `[user@]address[:port]`; an IPv6 address with a port stands in brackets.
    pub(super) fn parse(text: &str) -> Result<Self, TransportError> {
        let refuse = |reason: &str| TransportError::Address {
            address: text.chars().take(200).collect(),
            reason: reason.to_owned(),
        };
        let (user, rest) = text.rsplit_once('@').unwrap_or(("root", text));
        if !is_login(user) {
            return Err(refuse("the login name may consist of letters, digits and `-_.`"));
        }
        let (address, port) = split_port(rest).map_err(refuse)?;
        if address.is_empty() {
            return Err(refuse("the address is missing"));
        }
        if !address.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:%".contains(c)) {
            return Err(refuse("the address is neither a name nor an IP address"));
        }
        let port = match port {
            None => 22,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(refuse("the port is no number from 1 to 65535")),
                Ok(port) => port,
            },
        };
        Ok(Self { user: user.to_owned(), address: address.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address.contains(':') {
            write!(f, "{}@[{}]:{}", self.user, self.address, self.port)
        } else {
            write!(f, "{}@{}:{}", self.user, self.address, self.port)
        }
    }
}

fn is_login(user: &str) -> bool {
    !user.is_empty()
        && !user.starts_with('-')
        && user.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn split_port(rest: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(bracketed) = rest.strip_prefix('[') {
        let (address, after) = bracketed.split_once(']').ok_or("the bracket is not closed")?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((address, Some(port))),
            None if after.is_empty() => Ok((address, None)),
            None => Err("something else than a port follows the bracket"),
        };
    }
    match rest.split_once(':') {
        Some((_, port)) if port.contains(':') => Ok((rest, None)),
        Some((address, port)) => Ok((address, Some(port))),
        None => Ok((rest, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in() {
        for (text, full) in [
            ("dc1.example.org", "root@dc1.example.org:22"),
            ("10.0.0.5:2222", "root@10.0.0.5:2222"),
            ("backup@10.0.0.5", "backup@10.0.0.5:22"),
            ("backup@[fd00::5]:2222", "backup@[fd00::5]:2222"),
            ("[fd00::5]", "root@[fd00::5]:22"),
            ("fd00::5", "root@[fd00::5]:22"),
        ] {
            assert_eq!(Address::parse(text).expect(text).to_string(), full);
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        for text in [
            "",
            "root@",
            "@host",
            "-oProxyCommand=x@host",
            "host:0",
            "host:ssh",
            "host:70000",
            "[fd00::5",
            "[fd00::5]x",
            "a host",
            "host;reboot",
        ] {
            let refused = Address::parse(text);
            assert!(matches!(refused, Err(TransportError::Address { .. })), "{text}: {refused:?}");
        }
    }
}
