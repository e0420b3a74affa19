//! Archives of our own making, as the transcripts name them.

use drs_vma::{Config, Device, Header, Writer};

/// A configuration with one disk and these further lines.
pub(crate) fn conf(lines: &str) -> String {
    format!("memory: 64\nname: own\nscsi0: local:900/vm-900-disk-0.raw,size=8M\n{lines}")
}

/// An archive of one disk that is half data.
pub(crate) fn one_disk(conf: &str, size: u64) -> Vec<u8> {
    let header = Header {
        uuid: [7; 16],
        created_at: 1_706_700_600,
        configs: vec![Config {
            name: "qemu-server.conf".to_owned(),
            data: conf.as_bytes().to_vec(),
        }],
        devices: vec![Device { id: 1, name: "drive-scsi0".to_owned(), size_bytes: size }],
    };
    let mut writer = Writer::new(Vec::new(), &header).expect("a header");
    let data = vec![3; usize::try_from(size).expect("small")];
    let half = usize::try_from(size / 2 / 65_536 * 65_536).expect("small");
    writer.write(1, 0, if half == 0 { &data } else { &data[..half] }).expect("written");
    writer.finish().expect("finished").0
}
