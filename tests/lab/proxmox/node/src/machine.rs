//! A VM's machine: QEMU under software emulation, its disks, its serial console in a file.
//!
//! With the setting `emulator: none` a started VM is only a pid file, for tests that need no guest.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::Config;
use crate::failure::{Done, Failure};
use crate::node::{self, Node};
use crate::storage;

const RUN: &str = "/run/qemu-server";
/// A start or a stop of QEMU itself takes less.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Machine<'a> {
    node: &'a Node,
    id: u32,
}

impl<'a> Machine<'a> {
    pub(crate) fn of(node: &'a Node, id: u32) -> Self {
        Self { node, id }
    }

    fn run_file(&self, end: &str) -> std::path::PathBuf {
        self.node.file(format!("{RUN}/{}.{end}", self.id))
    }

    fn is_pretended(&self) -> bool {
        self.node.setting("emulator").as_deref() == Some("none")
    }

    /// The process of a machine that is on.
    pub(crate) fn pid(&self) -> Option<u32> {
        let pid: u32 = fs::read_to_string(self.run_file("pid")).ok()?.trim().parse().ok()?;
        crate::task::start_time(pid).map(|_| pid)
    }

    /// `running`, `paused` or `stopped`.
    pub(crate) fn status(&self) -> &'static str {
        if self.pid().is_none() {
            return "stopped";
        }
        let paused = if self.is_pretended() {
            self.run_file("paused").exists()
        } else {
            self.qmp("query-status", &json!({})).is_ok_and(|status| status["status"] == "paused")
        };
        if paused { "paused" } else { "running" }
    }

    /// Seconds since it was switched on.
    pub(crate) fn uptime(&self) -> u64 {
        let changed = fs::metadata(self.run_file("pid")).and_then(|meta| meta.modified()).ok();
        changed.and_then(|at| at.elapsed().ok()).map_or(0, |time| time.as_secs())
    }

    /// Every bridge that a network card names must be there.
    pub(crate) fn check_bridges(&self, config: &Config) -> Done {
        let bridges = self.node.bridges();
        for (key, value) in &config.values {
            let bridge = value.split(',').find_map(|part| part.strip_prefix("bridge="));
            let Some(bridge) = bridge.filter(|_| key.starts_with("net")) else { continue };
            if !bridges.iter().any(|known| known == bridge) {
                return Err(Failure::new(format!("bridge '{bridge}' does not exist")));
            }
        }
        Ok(())
    }

    pub(crate) fn start(&self, config: &Config) -> Done {
        if self.pid().is_some() {
            return Err(Failure::new(format!("VM {} already running", self.id)));
        }
        self.check_bridges(config)?;
        let pid_file = self.node.new_file(format!("{RUN}/{}.pid", self.id))?;
        if self.is_pretended() {
            return Ok(fs::write(pid_file, "1\n")?);
        }
        let args = self.command_line(config)?;
        node::program("qemu-system-x86_64", &args)
            .map(|_| ())
            .map_err(|failure| failure.within("start failed: QEMU exited with code 1"))
    }

    fn command_line(&self, config: &Config) -> Done<Vec<String>> {
        let file = |end: &str| self.run_file(end).display().to_string();
        let mut args: Vec<String> = [
            "-name",
            config.get("name").unwrap_or("vm"),
            "-machine",
            "pc,accel=tcg",
            "-cpu",
            "qemu64",
            "-m",
            config.get("memory").unwrap_or("512"),
            "-nodefaults",
            "-display",
            "none",
            "-daemonize",
            "-device",
            "virtio-scsi-pci,id=scsihw0",
            "-serial",
            "chardev:serial0",
        ]
        .map(str::to_owned)
        .to_vec();
        let uuid = config.get("smbios1").and_then(|text| text.strip_prefix("uuid="));
        args.extend(uuid.into_iter().flat_map(|uuid| ["-uuid".to_owned(), uuid.to_owned()]));
        args.extend(["-pidfile".to_owned(), file("pid")]);
        args.extend(["-qmp".to_owned(), format!("unix:{},server=on,wait=off", file("qmp"))]);
        args.push("-chardev".to_owned());
        args.push(format!(
            "socket,id=serial0,path={},server=on,wait=off,logfile={},logappend=off",
            file("serial0"),
            file("console")
        ));
        let first = config.boot_disk().map(|(key, _)| key);
        for (key, volume) in config.disks() {
            let path = self.node.file(storage::path(self.node, &volume.id)?);
            let format = storage::format_of(&volume.id);
            args.push("-blockdev".to_owned());
            args.push(
                json!({"driver": format, "node-name": format!("drive-{key}"),
                    "file": {"driver": "file", "filename": path}})
                .to_string(),
            );
            args.push("-device".to_owned());
            let boot = if first.as_ref() == Some(&key) { ",bootindex=100" } else { "" };
            args.push(format!("{},drive=drive-{key},id={key}{boot}", device_of(&key)));
        }
        Ok(args)
    }

    /// Cuts the power.
    pub(crate) fn stop(&self) -> Done {
        if self.pid().is_none() {
            return Ok(());
        }
        if self.is_pretended() {
            return self.forget();
        }
        // The answer may be lost: QEMU ends.
        self.qmp("quit", &json!({})).ok();
        self.await_off(PATIENCE)
    }

    /// Presses the power button and waits for the guest to end. The boot sectors that the guests are do not
    /// listen to it: the lab ends them in the stead of their systems, unless the node's guests are `deaf`.
    pub(crate) fn shut_down(&self, patience: Duration) -> Done {
        let deaf = self.node.setting("guests").as_deref() == Some("deaf");
        if deaf || patience.is_zero() {
            return self.await_off(patience);
        }
        self.stop()
    }

    fn await_off(&self, patience: Duration) -> Done {
        let until = Instant::now() + patience;
        while self.pid().is_some() {
            if Instant::now() >= until {
                return Err(Failure::new("VM quit/powerdown failed - got timeout"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.forget()
    }

    fn forget(&self) -> Done {
        for end in ["pid", "qmp", "serial0", "paused", "backup-job"] {
            fs::remove_file(self.run_file(end)).ok();
        }
        Ok(())
    }

    /// Stops the guest's processors. What it wrote is in its disks when this returns.
    pub(crate) fn pause(&self) -> Done {
        if self.is_pretended() {
            return Ok(fs::write(self.run_file("paused"), "")?);
        }
        self.qmp("stop", &json!({})).map(|_| ())
    }

    pub(crate) fn resume(&self) -> Done {
        if self.is_pretended() {
            return Ok(fs::remove_file(self.run_file("paused"))?);
        }
        self.qmp("cont", &json!({})).map(|_| ())
    }

    /// QEMU has a backup job: it outlives a worker that is killed.
    pub(crate) fn set_backup_job(&self, there: bool) -> Done {
        let file = self.run_file("backup-job");
        if there {
            return Ok(fs::write(file, "")?);
        }
        fs::remove_file(file).ok();
        Ok(())
    }

    pub(crate) fn has_backup_job(&self) -> bool {
        self.pid().is_some() && self.run_file("backup-job").exists()
    }

    fn qmp(&self, command: &str, arguments: &Value) -> Done<Value> {
        let stream = UnixStream::connect(self.run_file("qmp"))
            .map_err(|_| Failure::new(format!("VM {} not running", self.id)))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        for (command, arguments) in [("qmp_capabilities", &json!({})), (command, arguments)] {
            let request = json!({"execute": command, "arguments": arguments});
            writeln!(&stream, "{request}")?;
            let answer = loop {
                let line = lines.next().ok_or_else(|| Failure::new("QMP connection closed"))??;
                let value: Value = serde_json::from_str(&line).unwrap_or_default();
                if value.get("return").is_some() || value.get("error").is_some() {
                    break value;
                }
            };
            if let Some(error) = answer.get("error") {
                let text = format!("VM {} qmp command '{command}' failed - {error}", self.id);
                return Err(Failure::new(text));
            }
            if command != "qmp_capabilities" {
                return Ok(answer["return"].clone());
            }
        }
        Ok(Value::Null)
    }
}

/// The QEMU device behind a drive's key.
fn device_of(key: &str) -> &'static str {
    match key.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "scsi" => "scsi-hd,bus=scsihw0.0",
        "ide" | "sata" => "ide-hd",
        _ => "virtio-blk-pci",
    }
}
