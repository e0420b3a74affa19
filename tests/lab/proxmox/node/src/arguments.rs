//! A command's arguments, read the way the real commands read theirs.

use crate::failure::{Done, Failure};

/// What an option takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, `0` or `1`.
    Flag,
    /// One value.
    Value,
}

/// The options a command knows.
pub(crate) type Known = [(&'static str, Takes)];

/// What was given, in the order given.
#[derive(Debug, Default, Clone)]
pub(crate) struct Arguments {
    /// Words that are no options.
    pub(crate) words: Vec<String>,
    /// Options and their values.
    pub(crate) options: Vec<(String, String)>,
}

impl Arguments {
    /// Reads `--name value`, `--name=value` and `-name value`; a lone `-` is a word.
    pub(crate) fn read(args: &[String], known: &Known, usage: &str) -> Done<Self> {
        let mut read = Self::default();
        let mut rest = args.iter().peekable();
        while let Some(arg) = rest.next() {
            let Some(option) = arg.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
                read.words.push(arg.clone());
                continue;
            };
            let option = option.strip_prefix('-').unwrap_or(option);
            let (name, inline) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, None),
            };
            let Some((_, takes)) = known.iter().find(|(known, _)| matches(known, name)) else {
                let text = format!("Unknown option: {name}\n400 unable to parse option\n{usage}");
                return Err(Failure::new(text));
            };
            let value = match (inline, takes) {
                (Some(value), _) => value,
                (None, Takes::Value) => rest.next().cloned().ok_or_else(|| {
                    Failure::new(format!(
                        "Option {name} requires an argument\n400 unable to parse option\n{usage}"
                    ))
                })?,
                (None, Takes::Flag) => rest
                    .next_if(|next| {
                        matches!(next.as_str(), "0" | "1" | "yes" | "no" | "on" | "off")
                    })
                    .map_or_else(|| "1".to_owned(), Clone::clone),
            };
            read.options.push((name.to_owned(), value));
        }
        Ok(read)
    }

    /// The last value given to an option.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Every value given to an option.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// An option is given and on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| matches!(value, "1" | "yes" | "on"))
    }

    /// A number given to an option.
    pub(crate) fn number(&self, name: &str, usage: &str) -> Done<Option<u64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let wrong = || {
            let message = format!("type check ('integer') failed - got '{value}'");
            Failure::parameter(name, &message, false, usage)
        };
        value.parse().map(Some).map_err(|_| wrong())
    }
}

/// Numbered options are known by their stem: `net#` knows `net0`.
fn matches(known: &str, name: &str) -> bool {
    match known.strip_suffix('#') {
        None => known == name,
        Some(stem) => name
            .strip_prefix(stem)
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())),
    }
}

/// A guest's number: 100 to 999999999.
pub(crate) fn vmid(text: &str, usage: &str) -> Done<u32> {
    match text.parse::<u32>() {
        Ok(number) if (100..1_000_000_000).contains(&number) => Ok(number),
        _ => {
            let message = "invalid format - value does not look like a valid VM ID\n";
            Err(Failure::parameter("vmid", message.trim_end(), true, usage))
        }
    }
}

/// A word quoted for a shell only where it needs it, as the real commands print their options.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_every_spelling() {
        let known = [("compress", Takes::Value), ("all", Takes::Flag), ("net#", Takes::Value)];
        let args: Vec<String> =
            ["-", "--compress=zstd", "-all", "112", "--net0", "x"].map(str::to_owned).to_vec();
        let read = Arguments::read(&args, &known, "usage").expect("they are right");
        assert_eq!(read.words, ["-", "112"]);
        assert_eq!(read.value("compress"), Some("zstd"));
        assert!(read.is_on("all"));
        assert_eq!(read.value("net0"), Some("x"));
        assert!(Arguments::read(&["--net".to_owned()], &known, "usage").is_err());
    }
}
