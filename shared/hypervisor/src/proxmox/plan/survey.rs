//! What a plan must know of the cluster beside what the API tells.

use std::collections::{BTreeMap, BTreeSet};

use drs_model::VmRef;

use crate::DriverError;
use crate::proxmox::ProxmoxDriver;
use crate::proxmox::guest::Vmid;
use crate::proxmox::import::{PVE_DIR, unordered};
use crate::proxmox::paths::STATE_DIR;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// Every number that a guest of the cluster has, with its node.
    pub(super) taken: BTreeMap<Vmid, String>,
    /// The numbers whose guests this node's jobs make or made.
    pub(super) records: BTreeMap<Vmid, Record>,
    /// The numbers of which a storage has a volume, with one of those: guests may have lost their
    /// configuration.
    pub(super) volumes: BTreeMap<Vmid, String>,
    /// What tells the guest of the wanted number from one that has it later.
    pub(super) mark: Option<String>,
    /// The guests that have a network address of the source.
    pub(super) twins: BTreeSet<Vmid>,
}

/// Who makes or made a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// What tells the guest that was made; empty while it is not made.
    pub(super) mark: String,
}

impl ProxmoxDriver {
    pub(super) async fn survey(
        &self,
        wanted: &VmRef,
        macs: &[&str],
    ) -> Result<Survey, DriverError> {
        let argv = unordered("survey")
            .args([PVE_DIR, STATE_DIR, wanted.name.as_str()])
            .args(macs.iter().copied().filter(|mac| !mac.is_empty()));
        let text = self.ask(Some(wanted), "looking at the guests", &argv).await?;
        Ok(Survey::parse(&text))
    }
}

impl Survey {
    fn parse(text: &str) -> Self {
        let mut survey = Self::default();
        for line in text.lines() {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            match kind {
                "record" => survey.records.extend(record(rest)),
                "volume" => survey.volumes.extend(volume(rest)),
                "mark" => survey.mark = Some(rest.trim().to_owned()),
                "guest" => survey.taken.extend(guest(rest)),
                "twin" => survey.twins.extend(guest(rest).map(|(vmid, _)| vmid)),
                _ => {}
            }
        }
        survey
    }
}

/// `112 JOB STAGE MARK`
fn record(line: &str) -> Option<(Vmid, Record)> {
    let mut words = line.split_whitespace();
    let vmid = Vmid::parse(words.next()?)?;
    let made = matches!(words.nth(1), Some("made" | "destroying"));
    let mark = words.next().filter(|_| made).unwrap_or_default().to_owned();
    Some((vmid, Record { mark }))
}

/// `112 STORAGE:VOLUME`
fn volume(line: &str) -> Option<(Vmid, String)> {
    let (vmid, volume) = line.split_once(' ')?;
    Some((Vmid::parse(vmid)?, volume.to_owned()))
}

/// `/etc/pve/nodes/NODE/FOLDER/112.conf`
fn guest(path: &str) -> Option<(Vmid, String)> {
    let mut parts = path.rsplit('/');
    let vmid = Vmid::parse(parts.next()?.strip_suffix(".conf")?)?;
    Some((vmid, parts.nth(1)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_is_read() {
        let id = |number| Vmid::new(number).expect("a number");
        let text = "record 118 0192-job made a-mark\nrecord 119 0192-job reserved \nrecord x y z\n\
            mark 0b6f\nguest /etc/pve/nodes/pve1/qemu-server/112.conf\n\
            guest /etc/pve/nodes/pve2/lxc/200.conf\nguest /etc/pve/nodes/*/*/*.conf\n\
            volume 113 local:113/vm-113-disk-0.raw\nvolume 0 lun:0\n\
            twin /etc/pve/nodes/pve1/qemu-server/112.conf\n";
        let survey = Survey::parse(text);
        assert_eq!(
            survey.taken,
            BTreeMap::from([(id(112), "pve1".into()), (id(200), "pve2".into())])
        );
        let mark = |number| survey.records.get(&id(number)).map(|record| record.mark.as_str());
        assert_eq!((mark(118), mark(119)), (Some("a-mark"), Some("")));
        assert_eq!(survey.records.len(), 2);
        let volumes = BTreeMap::from([(id(113), "local:113/vm-113-disk-0.raw".to_owned())]);
        assert_eq!(survey.volumes, volumes);
        assert_eq!(survey.mark.as_deref(), Some("0b6f"));
        assert_eq!(survey.twins, BTreeSet::from([id(112)]));
    }
}
