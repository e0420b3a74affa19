use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    // What stands between single quotes is one word.
    let parts = line.split('\'').enumerate();
    let words = parts.flat_map(|(n, part)| match n % 2 {
        0 => part.split_whitespace().collect(),
        _ => vec![part],
    });
    Cli::try_parse_from(std::iter::once("drs").chain(words))
}

fn refused(line: &str) -> String {
    parse(line).expect_err(line).render().to_string()
}

/// Every command line that the product promises.
const LINES: &[&str] = &[
    "init --vault /srv/vault",
    "serve",
    "host add dc1 --address root@10.0.0.1:22 --site dc --key id --images /srv --slots 4",
    "host add lab --driver simulated --address vms=4,disk_mib=64 --site lab",
    "host list",
    "host add pve1 --driver proxmox --address 10.0.0.2 --site dc --images local-lvm --dump-dir /srv/drs --bandwidth 50M",
    "host edit dc1 --bandwidth none",
    "host edit dc1 --address root@10.0.0.9 --key id --images /srv --slots 1",
    "site list",
    "site edit dc --bandwidth 1G",
    "host check dc1",
    "host remove dc1",
    "vm list dc1",
    "vm show dc1/web1",
    "pair add web --source dc1/web1 --target rc1 --network br0=br1 --network br2=br3 --storage vda=/srv --new-macs",
    "pair list",
    "pair edit web --target rc2/web2 --network br0= --new-macs=false",
    "pair remove web",
    "backup dc1/web1 --detach --key nightly",
    "backup web --dry-run",
    "backup pve1/112 --staged --limit 50M",
    "restore latest --pair web --start",
    "restore 0199a5c1 --to rc1/web2 --network a=b --storage vda=/srv --new-macs --dry-run",
    "restore latest:dc1/web1 --to rc1 --as web2 --detach",
    "restore latest --pair web --replace stop-and-keep --staged --limit 64K",
    "restore latest --pair web --replace keep",
    "restore latest:pve1/112 --to pve2/212 --storage scsi0=local-lvm --unique",
    "replicate web",
    "replicate web --start --replace destroy-after-proof --staged --limit 1G --detach --key k",
    "replicate web --dry-run",
    "point list --vm dc1/web1",
    "point show 0199a5c1",
    "point verify 0199a5c1 --detach",
    "point remove 0199a5c1 --yes --last",
    "job list --state running --state needs_operator --vm dc1/web1",
    "job show 0199a5c1",
    "job log 0199a5c1 --follow",
    "job watch 0199a5c1",
    "job cancel 0199a5c1",
    "schedule add nightly --vm dc1/web1 --work backup --cron @daily --zone Europe/Berlin --staged --limit 50M",
    "schedule list",
    "schedule show nightly",
    "schedule pause nightly",
    "schedule resume nightly",
    "schedule run nightly --detach --key k",
    "schedule remove nightly",
    "schedule preview nightly --count 9",
    "schedule preview --cron @daily --zone UTC",
    "dead list --limit 5",
    "dead show 01a201c5",
    "dead replay 01a201c5",
    "dead drop 01a201c5 --dry-run",
    "dead drop 01a201c5 --yes",
    "power start dc1/web1",
    "power shutdown dc1/web1",
    "power stop dc1/web1 --json --data-dir /srv/drs",
    "archive list a.vma.zst",
    "archive list -",
    "archive verify - --json",
    "archive extract a.vma dir",
    "archive create a.vma --config qemu-server.conf --config qemu-server.fw --disk drive-scsi0=d=1.raw",
    "archive create - --config qemu-server.conf",
    "completions bash",
];

#[test]
fn the_promised_command_lines_are_understood() {
    Cli::command().debug_assert();
    for line in LINES {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

/// Every command that can be seen, with the words that name it.
fn commands() -> Vec<(String, clap::Command)> {
    fn visit(command: &clap::Command, path: &str, into: &mut Vec<(String, clap::Command)>) {
        let path = format!("{path} {}", command.get_name()).trim().to_owned();
        let shown = command.get_subcommands().filter(|inner| !inner.is_hide_set());
        shown.for_each(|inner| visit(inner, &path, into));
        into.push((path, command.clone()));
    }
    let mut all = Vec::new();
    visit(&Cli::command(), "", &mut all);
    all
}

/// What stands below the options of a command.
fn below(command: &clap::Command) -> String {
    let texts = [command.get_after_help(), command.get_after_long_help()];
    texts.into_iter().flatten().map(|text| format!("{text}\n")).collect()
}

#[test]
fn every_command_has_an_example_in_its_help() {
    for (path, command) in commands() {
        assert!(command.get_about().is_some(), "{path}: no help");
        assert!(command.has_subcommands() || below(&command).contains(&path), "{path}: no example");
    }
}

#[test]
fn an_example_can_be_pasted_from_a_narrow_terminal() {
    let mut pasted = 0;
    for (path, command) in commands() {
        let text = below(&command);
        for line in text.lines() {
            assert!(line.chars().count() <= 78, "{path}: wrapped at 80 columns: {line}");
        }
        for line in text.replace("\\\n", " ").lines().filter(|line| line.starts_with("  ")) {
            let line = line.split(['#', '>']).next().unwrap_or_default();
            let Some((_, words)) = line.split_once("drs ") else { continue };
            parse(words).unwrap_or_else(|error| panic!("{path}: {line}: {error}"));
            pasted += 1;
        }
    }
    assert!(pasted > 50, "{pasted} examples found");
}

#[test]
fn what_a_command_promises_is_in_its_long_help() {
    for (path, promise) in [
        ("drs backup", "counts only when every byte is in the vault"),
        ("drs restore", "Nothing is ever overwritten"),
        ("drs replicate", "off unless --start is given"),
        ("drs replicate", "With --staged the point is made first"),
        ("drs backup", "to try again, take another key"),
        ("drs restore", "on Proxmox VE, this VMID"),
        ("drs pair add", "vmbr0.20=vmbr1.30"),
    ] {
        let (_, mut command) =
            commands().into_iter().find(|(named, _)| named == path).expect("a command");
        let help = command.render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains(promise), "{path}: {promise:?} is missing in\n{help}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_the_rule() {
    let long_name = format!("backup dc1/{}", "x".repeat(81));
    let cases = [
        ("backup dc1/a;touch", "';' is not allowed"),
        ("backup dc1/../../etc", "must begin with a letter or a digit"),
        ("backup dc1/-rf", "must begin with a letter or a digit"),
        (&long_name, "81 bytes, 80 are allowed"),
        ("vm show web1", "HOST/VM"),
        ("restore latest", "--pair"),
        ("restore latest --pair web --to rc1", "cannot be used with"),
        ("restore latest --pair web --network a=b", "cannot be used with"),
        ("restore abc --to rc1", "36 hexadecimal digits"),
        ("restore latestdc1 --to rc1", "latest:HOST/VM"),
        ("pair add p --source a/b --target c --storage vda=-x", "begins with /"),
        ("pair add p --source a/b --target c --storage vda=/a/../b", "no .."),
        ("pair add p --source a/b --target c --network br0", "OLD=NEW"),
        ("host add h --address a --site s --slots 65", "65 is not in 1..=64"),
        ("host add h --address a --site s --accept-key MD5:aa", "SHA256:"),
        ("host add h --address a --site s --driver xen", "libvirt, proxmox, simulated"),
        ("job list --state asleep", "needs_operator"),
        ("host edit dc1", "--bandwidth <RATE>"),
        ("host edit dc1 --dump-dir srv", "begins with /"),
        ("host add h --address a --site s --images 1st", "begins with a letter"),
        ("site edit dc", "--bandwidth"),
        ("site edit dc --bandwidth fast", "500K, 50M or 2G"),
        ("backup a/b --limit 1K", "at least 64K"),
        ("restore latest --pair web --replace refresh-copy", "stop-and-keep, destroy-after-proof"),
        ("replicate a/b", "is not a valid pair name"),
        ("archive create a.vma", "--config"),
        ("archive create a.vma --config c --disk d.raw", "NAME=FILE"),
    ];
    for (line, rule) in cases {
        let told = refused(line);
        assert!(told.contains(rule), "{line}: {told}");
    }
}

#[test]
fn a_refusal_names_the_command_whose_help_helps() {
    let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
    assert_eq!(command_of(&words("--data-dir /x pair add p")), "drs pair add");
    assert_eq!(command_of(&words("backup")), "drs backup");
    assert_eq!(command_of(&[]), "drs");
}

#[test]
fn the_help_tells_the_first_steps_and_every_exit_code() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains("drs init"));
    for exit in Exit::ALL {
        assert!(help.contains(exit.meaning()), "{}", exit.meaning());
    }
}

#[test]
fn what_follows_the_host_is_the_remote_shells_own() {
    let line =
        "rsh --socket /run/s pve1 rsync --server --sender -vlogDtprze.iLsfxC --json --help . /path";
    let cli = parse(line).expect("rsync's own words");
    assert!(!cli.globals.json);
    let Some(Command::Rsh(RshArgs { socket, words })) = cli.command else { panic!("not rsh") };
    assert_eq!(socket, PathBuf::from("/run/s"));
    assert_eq!(words.join(" "), line.strip_prefix("rsh --socket /run/s ").expect("words"));
    refused("rsh pve1 rsync");
    refused("rsh --socket /run/s");
}
