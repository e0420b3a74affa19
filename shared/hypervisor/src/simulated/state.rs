//! The state of a simulated host: one small file per VM, changed under that VM's own file lock, so
//! that many processes work on many VMs without waiting for each other.

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use drs_model::{Grip, Host, HostName, JobId, VmName};
use drs_transport::TransportError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::settings::Settings;
use crate::DriverError;
pub(super) use record::{Detached, HoldRecord, HostState, Imported, Machine, OpenExport, VmState};

/// The simulated host never loses power.
pub(super) const BOOT: u64 = 1;
/// How long a VM's lock is waited for. It is held for less than a millisecond, or for as long as a
/// short command runs.
const LOCK_WAIT: Duration = Duration::from_secs(120);
const LOCK_POLL: Duration = Duration::from_millis(1);

/// A VM's state with its lock.
pub(super) struct Locked {
    /// Unlocks when it is closed.
    _file: File,
    saved: VmState,
    pub(super) state: VmState,
}

/// The files of one host.
#[derive(Debug)]
pub(super) struct HostDir {
    pub(super) host: Host,
    pub(super) settings: Settings,
    root: PathBuf,
    born_ms: u64,
}

impl HostDir {
    pub(super) fn open(
        host: Host,
        settings: Settings,
        root: &Path,
    ) -> Result<Self, TransportError> {
        let mut dir = Self { host, settings, root: root.to_owned(), born_ms: 0 };
        for folder in [dir.folder("vms"), dir.folder("images"), dir.folder("journal")] {
            fs::create_dir_all(&folder).map_err(|error| dir.broken(&folder, &error))?;
        }
        dir.born_ms = dir.with_host(|state| state.born_ms)?;
        Ok(dir)
    }

    /// Changes the host's own state under its lock.
    pub(super) fn with_host<T>(
        &self,
        change: impl FnOnce(&mut HostState) -> T,
    ) -> Result<T, TransportError> {
        let lock = self.folder("lock");
        let file = open_lock(&lock).map_err(|error| self.broken(&lock, &error))?;
        file.lock().map_err(|error| self.broken(&lock, &error))?;
        let path = self.folder("json");
        let saved: Option<HostState> = self.read(&path)?;
        let fresh = HostState { born_ms: now_ms(), check_failures: BTreeMap::new() };
        let mut state = saved.clone().unwrap_or(fresh);
        let answer = change(&mut state);
        if saved.as_ref() != Some(&state) {
            self.write(&path, &state)?;
        }
        Ok(answer)
    }

    /// Changes a VM's state under its lock, after the guard has noticed what ended meanwhile. What
    /// was changed is kept also when `change` fails.
    pub(super) async fn with_vm<T, E: From<TransportError>>(
        &self,
        vm: &VmName,
        change: impl FnOnce(&mut VmState) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut locked = self.lock(vm).await?;
        let answer = change(&mut locked.state);
        self.save(vm, &mut locked)?;
        answer
    }

    /// Changes the state of a VM for the job that has the grip; the grip's VM may be another one.
    pub(super) async fn with_vm_of<T>(
        &self,
        grip: &Grip,
        vm: &VmName,
        change: impl FnOnce(&mut VmState) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        let own = &grip.vm.name;
        let mut held = self.lock(own).await?;
        let admitted = self.admit(grip, &mut held.state);
        let answer = match (admitted, vm == own) {
            (Err(stale), _) => Err(stale.into()),
            (Ok(()), true) => change(&mut held.state),
            (Ok(()), false) => self.with_vm(vm, change).await,
        };
        self.save(own, &mut held)?;
        answer
    }

    /// Takes a VM's lock and reads its state.
    pub(super) async fn lock(&self, vm: &VmName) -> Result<Locked, TransportError> {
        let give_up = tokio::time::Instant::now() + LOCK_WAIT;
        loop {
            if let Some(locked) = self.try_lock(vm)? {
                return Ok(locked);
            }
            if tokio::time::Instant::now() > give_up {
                return Err(self.unreachable(format!("the state of VM {vm} stays locked")));
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    /// As [`HostDir::lock`], or `None` when somebody else has it.
    pub(super) fn try_lock(&self, vm: &VmName) -> Result<Option<Locked>, TransportError> {
        self.reachable()?;
        let path = self.vm_file(vm, "lock");
        let file = open_lock(&path).map_err(|error| self.broken(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(self.broken(&path, &error)),
        }
        let saved = self.peek(vm)?;
        let mut locked = Locked { _file: file, state: saved.clone(), saved };
        self.settle(vm, &mut locked.state)?;
        Ok(Some(locked))
    }

    /// Writes what was changed.
    pub(super) fn save(&self, vm: &VmName, locked: &mut Locked) -> Result<(), TransportError> {
        if locked.state != locked.saved {
            self.write(&self.vm_file(vm, "json"), &locked.state)?;
            locked.saved = locked.state.clone();
        }
        Ok(())
    }

    /// A VM's state as it was last saved, without its lock.
    pub(super) fn peek(&self, vm: &VmName) -> Result<VmState, TransportError> {
        self.reachable()?;
        let fresh = || VmState {
            machine: self.is_native(vm).then(|| Machine::native(self.born_ms)),
            ..VmState::default()
        };
        Ok(self.read(&self.vm_file(vm, "json"))?.unwrap_or_else(fresh))
    }

    /// Every name of which the host remembers something or has a VM.
    pub(super) fn known(&self) -> Result<BTreeSet<VmName>, TransportError> {
        let mut names = self.recorded()?;
        names.extend((1..=self.settings.vms).filter_map(native_name));
        Ok(names)
    }

    /// Every name of which the host remembers something.
    pub(super) fn recorded(&self) -> Result<BTreeSet<VmName>, TransportError> {
        self.reachable()?;
        let folder = self.folder("vms");
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&folder).map_err(|error| self.broken(&folder, &error))? {
            let entry = entry.map_err(|error| self.broken(&folder, &error))?;
            let file = entry.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(".json"));
            names.extend(name.and_then(|name| name.parse::<VmName>().ok()));
        }
        Ok(names)
    }

    /// Appends a line to the journal of a VM: `epoch_ms job step fence begin|end`.
    pub(super) fn journal(&self, vm: &VmName, line: &str) -> Result<(), TransportError> {
        let path = self.journal_file(vm);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
            .map_err(|error| self.broken(&path, &error))
    }

    pub(super) fn journal_file(&self, vm: &VmName) -> PathBuf {
        self.folder("journal").join(vm.as_str())
    }

    /// Refuses when the host is described as unreachable.
    pub(super) fn reachable(&self) -> Result<(), TransportError> {
        if self.settings.unreachable {
            return Err(self.unreachable("its description says unreachable=true".to_owned()));
        }
        Ok(())
    }

    pub(super) fn vm_file(&self, vm: &VmName, ending: &str) -> PathBuf {
        self.folder("vms").join(format!("{vm}.{ending}"))
    }

    /// A disk of an import. It carries the job's id, so that an import knows its own.
    pub(super) fn image(&self, vm: &VmName, disk: usize, job: JobId) -> PathBuf {
        self.folder("images").join(format!("{vm}.{disk}.{job}.img"))
    }

    pub(super) fn images(&self) -> PathBuf {
        self.folder("images")
    }

    pub(super) fn host_name(&self) -> &HostName {
        &self.host.name
    }

    pub(super) fn broken(&self, path: &Path, error: &dyn std::fmt::Display) -> TransportError {
        self.unreachable(format!("{}: {error}", path.display()))
    }

    fn unreachable(&self, reason: String) -> TransportError {
        TransportError::Unreachable {
            host: self.host.name.clone(),
            address: "simulated".to_owned(),
            reason,
        }
    }

    fn folder(&self, ending: &str) -> PathBuf {
        self.root.join(format!("{}.{ending}", self.host.name))
    }

    fn is_native(&self, vm: &VmName) -> bool {
        let number = vm.as_str().strip_prefix("vm-").and_then(|digits| digits.parse().ok());
        number.is_some_and(|number: u32| {
            (1..=self.settings.vms).contains(&number) && native_name(number).as_ref() == Some(vm)
        })
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, TransportError> {
        match fs::read(path) {
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).map_err(|error| self.broken(path, &error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.broken(path, &error)),
        }
    }

    /// Replaces a file atomically. It survives the death of any process, not that of the machine.
    fn write(&self, path: &Path, value: &impl Serialize) -> Result<(), TransportError> {
        let text = serde_json::to_vec(value).map_err(|error| self.broken(path, &error))?;
        let fresh = path.with_added_extension("new");
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, path))
            .map_err(|error| self.broken(path, &error))
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

fn native_name(number: u32) -> Option<VmName> {
    format!("vm-{number:03}").parse().ok()
}

/// Milliseconds since 1970 on the wall clock, which all processes share.
pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
