//! What Proxmox's tools do that nobody expects, each seen with the real ones; `trap_NN` in the name of a
//! test is the number here. Scripts and modules are those of this folder.
//!
//! | no. | trap | defended in | tested in |
//! |---|---|---|---|
//! | 1 | a node makes one dump at a time; the next ones wait for hours on its lock | `vzdump.sh` (`--lockwait 0`), `export.rs` (`node_admits`) | end to end |
//! | 2 | `vzdump` ends with 0 and no backup when the guest is on another node | `inventory.rs`, `log.rs`, `dump.rs` | `inventory.rs`, `log`, `export`, `dump`; end to end |
//! | 3 | a dump prunes the customer's other backups by the storage's retention | `vzdump.sh` (`--prune-backups keep-all=1`) | `export`; end to end |
//! | 4 | `--stdout` needs a dump folder of its own and logs to standard error | `vzdump.sh` (`--dumpdir`), `export.sh` | `export` |
//! | 5 | `qmrestore -` wants the header within seconds and lets bad input wait a minute | `import.rs` (`layout`), `import.sh` (the pipe) | `plan`, `import`; end to end |
//! | 6 | a failed `qmrestore` leaves a guest of `memory: 128`, so its number is taken | `import.sh` (`clear`) | `import`; end to end |
//! | 7 | `--force` deletes the old disks before the new data is proven | `import.sh` (never said), `plan/number.rs` | `import`; end to end |
//! | 8 | `vma verify` accepts archives that are cut | `unpack.rs` | `unpack` |
//! | 9 | percents pass 100 or are silent; containers tell none | `log.rs`, `load.rs` | `log`, `load.rs` |
//! | 10 | exit codes are the errno of the moment, and reasons come on either output | `failure.rs` | `failure`, `dump`, `export`, `import` |
//! | 11 | a killed dump leaves its lock on the guest | `vzdump.sh`, `export.rs` (`dumpable`) | `export`; end to end |
//! | 12 | under high availability a command ends before anything has happened | `power.rs` | `power.rs`; end to end |
//! | 13 | archives of one second have one name, and names tell the node's local time | `paths.rs` (a folder for each job), `export.rs` (`exported`) | `export`; end to end |
//! | 14 | type and packing of an archive are taken from its name alone | `plan.rs` (`archive_name`), `dump.rs`, `log.rs` | `plan`, `dump`, `log` |
//! | 15 | a restore keeps network addresses and UUID; a missing bridge stops the start | `plan/distinct.rs`, `plan/bridges.rs` | `plan` |
//! | 16 | storages of an archive may be missing at the target; disks with `backup=0` are left out | `plan/storages.rs`, `config.rs` | `plan`, `config` |
//! | 17 | templates and diskless guests are backed up; snapshots and pending changes are not | `unpack.rs`, `config.rs`, `log.rs` | `unpack`, `config`, `log`; end to end |
//! | 18 | a freeze may be skipped, fail, or block for many minutes | `log.rs`, `export.rs` (`warnings`, the limits of the head) | `log`, `export` |
//! | 19 | a hook that fails behind the data fails a complete backup | `log.rs`, `dump.rs`, `dump.sh`, `export/stream.rs` | `log`, `dump`, `export` |
//! | 20 | older nodes lack options and tell progress in other words | `check.rs`, `log.rs` | `check.rs`, `log` |
