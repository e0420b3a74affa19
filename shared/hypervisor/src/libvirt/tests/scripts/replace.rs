//! Exchanging two VMs and destroying the old one, whatever libvirt answers.

use std::ffi::OsStr;

use super::*;
use crate::libvirt::replace::replace;

const NEW: &str = "11111111-0000-4000-8000-000000000001";
const NAMES: [&str; 3] = ["web1", "web1-new-1", "web1-old-1"];

/// A host whose VMs are those of the file `vms`, all off; the job made the new one.
fn host(old: &str, new: &str) -> StubHost {
    let host = StubHost::new();
    host.file(
        "vms",
        &format!("{UUID} {old}\n{NEW} {new}\n22222222-0000-4000-8000-000000000002 other\n"),
    );
    host.answers("list", "cat \"$STUB/vms\"");
    host.answers("domstate", "echo 'shut off'");
    host.answers("domrename", "sed -i \"s/^$2 .*/$2 $3/\" \"$STUB/vms\"");
    host.answers(
        "metadata",
        &format!(
            "[ \"$2\" != {NEW} ] || {{ echo '<import job=\"{JOB}\"/>'; exit 0; }}\n\
             echo 'error: Requested metadata element is not present' >&2; exit 1"
        ),
    );
    host
}

fn exchange_call(command: &str) -> Argv {
    let [name, made_as, aside] = NAMES;
    replace(command).args([JOB, "1.1", name, made_as, aside, UUID])
}

/// The names of the old and the new VM.
fn names(host: &StubHost) -> (String, String) {
    let vms = fs::read_to_string(host.path("vms")).expect("the VMs");
    let name = |uuid: &str| vms.lines().find_map(|line| line.strip_prefix(uuid)?.strip_prefix(' '));
    (name(UUID).unwrap_or_default().to_owned(), name(NEW).unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_exchange_goes_on_where_it_was_cut_short() {
    let [name, made_as, aside] = NAMES;
    for (old, new) in [(name, made_as), (aside, made_as), (aside, name)] {
        for (command, end) in [("exchange", (aside, name)), ("exchange_back", (name, made_as))] {
            let host = host(old, new);
            for _ in 0..2 {
                let ran = host.run(&exchange_call(command)).await;
                assert_eq!(ran, (0, String::new()), "{command} of {old}, {new}");
                let (old, new) = names(&host);
                assert_eq!((old.as_str(), new.as_str()), end, "{command}");
            }
        }
    }
}

#[tokio::test]
async fn what_must_not_be_renamed_is_not() {
    let [name, made_as, aside] = NAMES;
    let others = [
        (name, made_as, "domstate", "echo running", 20),
        (name, made_as, "domstate", HANGS, 21),
        (name, made_as, "list", HANGS, 21),
        (name, made_as, "metadata", HANGS, 21),
        // Somebody has put another VM there, or removed ours.
        ("elsewhere", made_as, "noop", "", 1),
        (name, "elsewhere", "noop", "", 1),
    ];
    for (old, new, command, answer, code) in others {
        let host = host(old, new);
        host.answers(command, answer);
        let (ended, text) = host.run(&exchange_call("exchange")).await;
        assert_eq!(ended, code, "{old}, {new}, {command}: {text}");
        assert!(!host.called("domrename"), "{old}, {new}, {command}");
    }
    let host = host(name, made_as);
    let vms = fs::read_to_string(host.path("vms")).expect("the VMs");
    host.file("vms", &vms.replace("other", aside));
    let (code, text) = host.run(&exchange_call("exchange")).await;
    assert_eq!(code, 17, "{text}");
    assert!(!host.called("domrename"));
}

async fn image(args: &[&OsStr]) {
    let mut create = Command::new("qemu-img");
    let made = create.args(["create", "-q", "-f", "qcow2"]).args(args).status().await;
    assert!(made.expect("qemu-img").success());
}

fn destroy_call(files: &[&Path]) -> Argv {
    let files = files.iter().map(|file| file.to_str().expect("text"));
    replace("destroy").args([JOB, "1.1", NAMES[2], UUID]).args(files)
}

#[tokio::test]
async fn a_displaced_vm_takes_only_disks_along_that_no_other_vm_uses() {
    let [name, _, aside] = NAMES;
    let host = host(aside, name);
    let [own, shared, base, overlay] =
        ["own disk.qcow2", "shared.qcow2", "base.qcow2", "overlay.qcow2"]
            .map(|file| host.path("images").join(file));
    for file in [&own, &shared, &base] {
        image(&[file.as_os_str(), "1M".as_ref()]).await;
    }
    let backing = ["-F", "qcow2", "-b"].map(OsStr::new);
    image(&[&backing[..], &[base.as_os_str(), overlay.as_os_str()]].concat()).await;
    let list = |files: &[&PathBuf]| {
        files.iter().map(|file| format!("echo ' vda   {}';", file.display())).collect::<String>()
    };
    host.answers(
        "domblklist",
        &format!(
            "if [ \"$2\" = {UUID} ]; then {} else {} fi",
            list(&[&own, &shared, &base]),
            list(&[&shared, &overlay])
        ),
    );
    let (code, text) = host.run(&destroy_call(&[&own, &shared, &base])).await;
    let kept = format!("{}\n{}\n", shared.display(), base.display());
    assert_eq!((code, text), (0, kept));
    assert!(!own.exists() && shared.exists() && base.exists());
    assert!(host.called(&format!("undefine {UUID}")) && !host.called(&format!("undefine {NEW}")));
    // It is gone: there is nothing to do.
    host.answers("list", &format!("echo '{NEW} {name}'"));
    assert_eq!(host.run(&destroy_call(&[&shared])).await, (0, String::new()));
    assert!(shared.exists());
}

#[tokio::test]
async fn a_displaced_vm_stays_when_it_runs_or_libvirt_does_not_answer() {
    let [name, _, aside] = NAMES;
    for (command, answer, code) in [
        ("list", HANGS, 21),
        ("domstate", HANGS, 21),
        ("domstate", "echo running", 20),
        ("domblklist", HANGS, 21),
        ("domblklist", "[ \"$3\" != --inactive ] || exit 1", 21),
    ] {
        let host = host(aside, name);
        let disk = host.file("images/own.qcow2", "");
        host.answers(command, answer);
        let (ended, text) = host.run(&destroy_call(&[&disk])).await;
        assert_eq!(ended, code, "{command}: {text}");
        assert!(disk.exists() && !host.called("undefine"), "{command}");
    }
    // It has the name that it had: it was not put aside.
    let host = host(name, "web1-new-1");
    let disk = host.file("images/own.qcow2", "");
    assert_eq!(host.run(&destroy_call(&[&disk])).await.0, 1);
    assert!(disk.exists() && !host.called("undefine"));
}
