//! Validated names: whatever reaches a host, a path or a log line has passed through here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a piece of text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: {rule}")]
pub struct InvalidName {
    /// What was to be named, for example `VM name`.
    pub what: &'static str,
    /// The refused text, cut to 100 characters.
    pub text: String,
    /// The rule it breaks, in words.
    pub rule: String,
}

/// The rules of one kind of name.
struct Rules {
    what: &'static str,
    bytes_max: usize,
    /// Characters allowed beside letters and digits.
    also: &'static str,
    /// Whether letters and digits beyond ASCII are allowed.
    unicode: bool,
}

impl Rules {
    fn check(&self, text: &str) -> Result<(), InvalidName> {
        let refuse = |rule: String| {
            Err(InvalidName { what: self.what, text: text.chars().take(100).collect(), rule })
        };
        if text.is_empty() {
            return refuse("it is empty".into());
        }
        if text.len() > self.bytes_max {
            return refuse(format!("it has {} bytes, {} are allowed", text.len(), self.bytes_max));
        }
        let alphanumeric =
            |c: char| if self.unicode { c.is_alphanumeric() } else { c.is_ascii_alphanumeric() };
        if !text.chars().next().is_some_and(alphanumeric) {
            return refuse("it must begin with a letter or a digit".into());
        }
        if let Some(c) = text.chars().find(|&c| !alphanumeric(c) && !self.also.contains(c)) {
            return refuse(format!(
                "the character {c:?} is not allowed (letters, digits and {:?} are)",
                self.also
            ));
        }
        if text.ends_with(' ') || text.contains("..") {
            return refuse("it must not end with a space or contain \"..\"".into());
        }
        Ok(())
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $rules:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $rules.check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                $rules.check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A hypervisor machine as the operator calls it: 1 to 63 ASCII letters, digits, `-`, `_`, `.`.
    HostName,
    Rules { what: "host name", bytes_max: 63, also: "-_.", unicode: false }
);
name!(
    /// A place whose hosts fail as one: 1 to 63 ASCII letters, digits, `-`, `_`, `.`.
    SiteName,
    Rules { what: "site name", bytes_max: 63, also: "-_.", unicode: false }
);
name!(
    /// A replication pair as the operator calls it: 1 to 63 ASCII letters, digits, `-`, `_`, `.`.
    PairName,
    Rules { what: "pair name", bytes_max: 63, also: "-_.", unicode: false }
);
name!(
    /// A schedule as the operator calls it: 1 to 63 ASCII letters, digits, `-`, `_`, `.`.
    ScheduleName,
    Rules { what: "schedule name", bytes_max: 63, also: "-_.", unicode: false }
);
name!(
    /// The workers that may take a job, by a name they share: 1 to 63 ASCII letters, digits, `-`, `_`.
    /// Default `main`.
    Lane,
    Rules { what: "lane", bytes_max: 63, also: "-_", unicode: false }
);

impl Default for Lane {
    fn default() -> Self {
        Self("main".to_owned())
    }
}

name!(
    /// A VM's name on its host: 1 to 80 bytes, letters and digits of any script, space and
    /// `-_.+@:()`. No `/`, no quotes, no control character, no leading `-` or `.`.
    VmName,
    Rules { what: "VM name", bytes_max: VmName::BYTES_MAX, also: " -_.+@:()", unicode: true }
);

impl VmName {
    /// Longest name, in bytes.
    pub const BYTES_MAX: usize = 80;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_people_use_are_taken() {
        for name in ["web1", "Windows Server 2019", "büro-pc", "db_01.prod", "vm(copy)", "100"] {
            assert_eq!(name.parse::<VmName>().map(|n| n.to_string()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn hostile_names_are_refused_with_the_rule_they_break() {
        for name in [
            "",
            "a;touch /tmp/x",
            "../../etc",
            "-rf",
            ".hidden",
            "a/b",
            "a\nb",
            "a'b",
            "a..b",
            "a ",
        ] {
            let error = name.parse::<VmName>().expect_err(name);
            assert!(!error.rule.is_empty());
        }
        assert!("x".repeat(81).parse::<VmName>().is_err());
        assert!("dc 1".parse::<HostName>().is_err());
    }

    #[test]
    fn a_name_read_from_json_passes_the_same_rules() {
        assert!(serde_json::from_str::<VmName>("\"a;b\"").is_err());
        assert!(serde_json::from_str::<VmName>("\"web1\"").is_ok());
    }
}
