//! What of a line may differ between two runs of the same command, taken out.

/// Lines whose rest after these words tells of a time or an amount.
const CUT: &[&str] = &[
    "INFO: Backup started at ",
    "INFO: Backup finished at ",
    "INFO: Failed at ",
    "INFO: started backup task ",
    "INFO: backup is sparse: ",
    "INFO: archive file size: ",
    "INFO: Total bytes written: ",
    "INFO: Finished Backup of VM ",
    "Total bytes read: ",
    "CTIME: ",
    "CFG: size: ",
    "total bytes read ",
    "space reduction ",
    "Filesystem UUID: ",
    "vmgenid: ",
];

/// The lines of a text, comparable. The line about the dump directory's file system is the machine's.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let kept = |line: &&str| !is_interim(line) && !line.starts_with("INFO: filesystem type on ");
    text.lines().filter(kept).map(line).collect()
}

/// A progress line before the last depends on the machine's speed.
fn is_interim(line: &str) -> bool {
    let percent = line.strip_prefix("INFO:").and_then(|rest| rest.split_once("% ("));
    percent.is_some_and(|(percent, _)| percent.trim().parse::<u32>().is_ok_and(|p| p < 100))
}

fn line(line: &str) -> String {
    if let Some(start) = CUT.iter().find(|start| line.starts_with(**start)) {
        return (*start).to_owned();
    }
    if let Some(rest) = line.strip_prefix("INFO: starting new backup job: ") {
        let mut parts: Vec<&str> = rest.split(" --").collect();
        parts[1..].sort_unstable();
        return format!("job: {}", parts.join(" --"));
    }
    let cut_after = |mark: &str| line.split_once(mark).map(|(before, _)| format!("{before}{mark}"));
    if line.starts_with("INFO: 100% (") {
        return cut_after(") in ").expect("a progress line");
    }
    if line.starts_with("INFO: transferred ") {
        return cut_after(" in ").expect("a line about the transfer");
    }
    if line.starts_with("progress ") {
        return cut_after("duration ").expect("a progress line");
    }
    if line.starts_with("UPID:") || line.starts_with("\"UPID:") {
        let parts: Vec<&str> = line.split(':').collect();
        return format!("UPID of {} {} {}", parts[1], parts[5], parts[6]);
    }
    masked(line)
}

/// Times in names and process numbers in names of temporary files.
fn masked(line: &str) -> String {
    let mut text = line.to_owned();
    for mark in ["vzdumptmp", "-qemu-112-", "-qemu-117-", "-qemu-130-", "-lxc-200-", "-lxc-201-"] {
        let parts: Vec<String> = text
            .split(mark)
            .enumerate()
            .map(|(index, part)| match index {
                0 => part.to_owned(),
                _ => {
                    let stamp = |c: char| c.is_ascii_digit() || c == '_' || c == '-';
                    format!("#{}", part.trim_start_matches(stamp))
                }
            })
            .collect();
        text = parts.join(mark);
    }
    text
}
