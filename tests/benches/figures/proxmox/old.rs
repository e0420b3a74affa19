//! The old procedure: `vzdump`, a copy to this machine, a copy to the other node, `qmrestore` and
//! `qm start`, each after the other has ended.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::nodes::{COUNTERPART, Pair, SOURCE};
use super::{Phases, timed};

/// Where the old procedure keeps archives on the nodes.
const DUMPS: &str = "/var/tmp/old";

/// What the line of one VM carries at most. vzdump writes on its own node and is not held up by it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) mib_per_second: u32,
}

impl Limit {
    /// As drs takes it.
    pub(super) fn rate(self) -> String {
        format!("{}M", self.mib_per_second)
    }

    /// As rsync takes it: in KiB per second.
    fn kib(self) -> String {
        (self.mib_per_second * 1024).to_string()
    }
}

/// Runs the whole procedure and takes back what it made.
pub(super) fn run(pair: &Pair, limit: Option<Limit>) -> Result<Phases> {
    let here = TempDir::with_prefix("drs-bench-")?;
    let here = format!("{}/", here.path().to_str().context("a path in UTF-8")?);
    let shell = shell(pair);
    for node in [&pair.dc, &pair.drc] {
        ssh(pair, node, &["mkdir", "-p", DUMPS])?;
    }
    let dump = ["vzdump", SOURCE, "--mode", "snapshot", "--compress", "zstd", "--dumpdir", DUMPS];
    let backup = timed(|| ssh(pair, &pair.dc, &dump))?;
    let archives = format!("{}:{DUMPS}/", target(pair, &pair.dc));
    let counterparts = format!("{}:{DUMPS}/", target(pair, &pair.drc));
    let mut copy = vec!["-a".to_owned(), format!("--rsh={}", shell.join(" "))];
    copy.extend(limit.map(|limit| format!("--bwlimit={}", limit.kib())));
    let transfer = timed(|| {
        finish(Command::new("rsync").args(&copy).args([&archives, &here]))?;
        finish(Command::new("rsync").args(&copy).args([&here, &counterparts]))
    })?;
    let restore = timed(|| {
        // The one archive there is; the node's shell finds its name.
        ssh(pair, &pair.drc, &["qmrestore", &format!("{DUMPS}/*.zst"), COUNTERPART])?;
        ssh(pair, &pair.drc, &["qm", "start", COUNTERPART])
    })?;
    for node in [&pair.dc, &pair.drc] {
        ssh(pair, node, &["rm", "-r", DUMPS])?;
    }
    pair.remove_counterpart();
    Ok(Phases { backup, transfer, restore, total: backup + transfer + restore })
}

fn ssh(pair: &Pair, node: &str, argv: &[&str]) -> Result<()> {
    let shell = shell(pair);
    let (program, options) = shell.split_first().context("a command")?;
    finish(Command::new(program).args(options).arg(target(pair, node)).args(argv))
}

/// As both ssh and rsync call it.
fn shell(pair: &Pair) -> [String; 7] {
    let key = pair.nodes.value("KEY_FILE").to_owned();
    let known = format!("UserKnownHostsFile={}/known_hosts", pair.nodes.value("LAB_DIR"));
    let fixed = |text: &str| text.to_owned();
    [
        "ssh",
        "-F/dev/null",
        "-i",
        &key,
        "-oIdentitiesOnly=yes",
        "-oLogLevel=ERROR",
        &format!("-o{known}"),
    ]
    .map(fixed)
}

/// `root@ADDRESS`, without the port, which is ssh's own.
fn target(pair: &Pair, node: &str) -> String {
    let address = pair.nodes.of_node("ADDR", node);
    address.rsplit_once(':').map_or(address, |(login, _)| login).to_owned()
}

fn finish(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {stderr}");
    Ok(())
}
