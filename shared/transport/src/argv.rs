//! A command as a program and its arguments, and the one place where it is quoted.

use std::fmt;

/// A program and its arguments. Never a shell line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv(Vec<String>);

impl Argv {
    /// A command without arguments yet.
    pub fn new(program: impl Into<String>) -> Self {
        Self(vec![program.into()])
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.0.push(arg.into());
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.extend(args.into_iter().map(Into::into));
        self
    }

    /// Program and arguments.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// The command as a line for a POSIX shell: every part in single quotes unless it consists of
    /// characters that no shell treats specially.
    #[must_use]
    pub fn quoted(&self) -> String {
        self.0.iter().map(|part| quote(part)).collect::<Vec<_>>().join(" ")
    }
}

/// What a command is called where its arguments must not be told: the program without its folder, or
/// the name of one of our own scripts, `drs-NAME`, which stands behind `sh -c SCRIPT`.
pub(crate) fn name_of(parts: &[String]) -> &str {
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    match parts {
        [sh, c, _, name, ..]
            if sh == "sh" && c == "-c" && name.starts_with("drs-") && plain(name) =>
        {
            name
        }
        [program, ..] => program.rsplit('/').next().unwrap_or_default(),
        [] => "",
    }
}

impl fmt::Display for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted())
    }
}

fn quote(part: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !part.is_empty() && part.chars().all(plain) {
        return part.to_owned();
    }
    format!("'{}'", part.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_no_argument() {
        let parts = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (command, name) in [
            ("/usr/sbin/vzdump 112 --stdout", "vzdump"),
            ("sh -c exec drs-virsh list", "drs-virsh"),
            ("sh -c exec hush", "sh"),
            ("sh -c exec drs-/root/.ssh/id", "sh"),
            ("qm list", "qm"),
        ] {
            assert_eq!(name_of(&parts(command)), name, "{command}");
        }
        assert_eq!(name_of(&[]), "");
    }
}
