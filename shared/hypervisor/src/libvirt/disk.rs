//! One disk over NBD, read or written.

use std::time::Duration;

use drs_model::{Disk, Extent, Grip, VmRef};
use drs_transport::{Argv, BoxStream, Remote, Spawned};
use tokio::time::{Instant, sleep, timeout};

use super::LibvirtDriver;
use super::pass::Stillness;
use crate::DriverError;
use crate::nbd::{NbdError, Reader, Writer};

/// How long a `qemu-nbd` may take to listen, and to end.
const SERVER_LIMIT: Duration = Duration::from_secs(60);

/// What a `qemu-nbd` is to serve.
pub(super) struct Served<'a> {
    /// Options beside the image's own.
    pub(super) options: &'a [&'a str],
    /// The folder for its socket.
    pub(super) run: &'a str,
    pub(super) disk: &'a str,
    pub(super) format: &'a str,
    pub(super) file: &'a str,
}

/// Starts a `qemu-nbd` that lives as long as the returned server, and connects to it.
pub(super) async fn serve(
    driver: &LibvirtDriver,
    grip: &Grip,
    served: &Served<'_>,
) -> Result<(Server, BoxStream), DriverError> {
    let socket = format!("{}/drs-{}.{}.sock", served.run, grip.job, served.disk);
    let argv = Argv::new("qemu-nbd").args(served.options.iter().copied()).args([
        "-f",
        served.format,
        "-x",
        served.disk,
        "-k",
        &socket,
        "--",
        served.file,
    ]);
    let spawned = driver.guard.serve(grip, &argv).await?;
    let mut server = Server { spawned, host: driver.host.name.to_string(), socket };
    let stream = server.connect(driver.remote.as_ref()).await?;
    Ok((server, stream))
}

/// A `qemu-nbd` that lives as long as this, unless it ends by itself.
pub(super) struct Server {
    spawned: Spawned,
    host: String,
    socket: String,
}

impl Server {
    /// Connects as soon as it listens.
    async fn connect(&mut self, remote: &dyn Remote) -> Result<BoxStream, DriverError> {
        let deadline = Instant::now() + SERVER_LIMIT;
        loop {
            if let Ok((code, stderr)) = self.spawned.exit.try_recv() {
                return Err(self.failed(format!("it ended with {code}: {}", stderr.trim())));
            }
            match remote.connect_unix(&self.socket).await {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() >= deadline => return Err(error.into()),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Waits for it to have closed the image.
    async fn ended(self) -> Result<(), DriverError> {
        let Spawned { stream, exit } = self.spawned;
        let failed = |reason: String| DriverError::Failed {
            host: self.host.clone(),
            what: "qemu-nbd".into(),
            reason,
        };
        let ended = timeout(SERVER_LIMIT, exit).await;
        drop(stream);
        match ended {
            Ok(Ok((0, _))) => Ok(()),
            Ok(Ok((code, stderr))) => {
                Err(failed(format!("it ended with {code}: {}", stderr.trim())))
            }
            Ok(Err(_)) => Err(failed("its exit status was lost".into())),
            Err(_) => Err(failed(format!("it did not end within {} s", SERVER_LIMIT.as_secs()))),
        }
    }

    fn failed(&self, reason: String) -> DriverError {
        DriverError::Failed { host: self.host.clone(), what: "qemu-nbd".into(), reason }
    }
}

/// A disk that is read.
pub(super) struct DiskPass {
    reader: Reader,
    vm: VmRef,
    disk: String,
    /// For a VM that is off: the server of this disk, and what tells that the VM stayed off.
    off: Option<(Server, Stillness)>,
}

impl DiskPass {
    pub(super) async fn open(
        stream: BoxStream,
        vm: &VmRef,
        disk: &Disk,
        off: Option<(Server, Stillness)>,
    ) -> Result<Self, DriverError> {
        let reader = Reader::open(stream, &disk.name)
            .await
            .map_err(|error| broken(vm, &disk.name, &error))?;
        if reader.size_bytes() != disk.size_bytes {
            return Err(DriverError::Busy {
                vm: vm.clone(),
                reason: format!(
                    "the size of disk {} changed from {} to {} bytes",
                    disk.name,
                    disk.size_bytes,
                    reader.size_bytes()
                ),
            });
        }
        Ok(Self { reader, vm: vm.clone(), disk: disk.name.clone(), off })
    }

    /// The next run of data, `None` behind the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Extent>, DriverError> {
        let next = self.reader.next().await;
        let next = next.map_err(|error| broken(&self.vm, &self.disk, &error))?;
        if let (None, Some((_, stillness))) = (&next, &self.off) {
            stillness.check(&self.vm).await?;
        }
        Ok(next)
    }
}

/// A staging disk that is written.
pub(super) struct DiskSink {
    writer: Writer,
    server: Server,
    vm: VmRef,
    disk: String,
}

impl DiskSink {
    pub(super) async fn open(
        stream: BoxStream,
        server: Server,
        vm: &VmRef,
        disk: &str,
        size_bytes: u64,
    ) -> Result<Self, DriverError> {
        let writer = Writer::open(stream, disk).await.map_err(|error| broken(vm, disk, &error))?;
        if writer.size_bytes() != size_bytes {
            let other = NbdError::Refused(format!("the disk has {} bytes", writer.size_bytes()));
            return Err(broken(vm, disk, &other));
        }
        Ok(Self { writer, server, vm: vm.clone(), disk: disk.to_owned() })
    }

    pub(super) async fn write(&mut self, extent: &Extent) -> Result<(), DriverError> {
        self.writer.write(extent).await.map_err(|error| broken(&self.vm, &self.disk, &error))
    }

    pub(super) async fn finish(self) -> Result<(), DriverError> {
        let Self { writer, server, vm, disk } = self;
        writer.finish().await.map_err(|error| broken(&vm, &disk, &error))?;
        server.ended().await
    }
}

fn broken(vm: &VmRef, disk: &str, error: &NbdError) -> DriverError {
    match error.is_full() {
        true => DriverError::HostFull {
            host: vm.host.to_string(),
            what: format!("{error} (disk {disk} of {vm})"),
        },
        false => DriverError::Stream { disk: format!("disk {disk}"), reason: error.to_string() },
    }
}
