//! The layer table: an unlisted crate or edge, or a foreign library outside its owner, fails.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Each crate of ours and the crates of ours it may name, from the bottom up.
const LAYERS: &[(&str, &[&str])] = &[
    ("drs-model", &[]),
    ("drs-protocol", &["drs-model"]),
    ("drs-runtime", &["drs-model"]),
    ("drs-transport", &["drs-model"]),
    ("drs-vault", &["drs-model"]),
    ("drs-vma", &[]),
    ("drs-lab-proxmox", &["drs-vma"]),
    ("drs-lab-servers", &[]),
    ("drs-backend", &["drs-model", "drs-protocol"]),
    ("drs-backend-postgres", &["drs-backend", "drs-model"]),
    ("drs-backend-redis", &["drs-backend", "drs-model", "drs-protocol"]),
    ("drs-backend-sqlite", &["drs-backend", "drs-model", "drs-protocol"]),
    ("drs-backend-amqp", &["drs-backend", "drs-model", "drs-protocol"]),
    ("drs-simulation", &["drs-backend", "drs-model", "drs-protocol"]),
    // The simulated host runs the guard's pure rules, hence the edge to the protocol.
    ("drs-hypervisor", &["drs-model", "drs-protocol", "drs-transport", "drs-vma"]),
    ("drs-scheduler", &["drs-backend", "drs-model", "drs-protocol", "drs-runtime"]),
    (
        "drs-worker",
        &[
            "drs-backend",
            "drs-hypervisor",
            "drs-model",
            "drs-protocol",
            "drs-runtime",
            "drs-transport",
            "drs-vault",
        ],
    ),
];

/// The crates at the top, which may name every crate of ours.
const TOP: &[&str] = &["drs", "drs-tests"];

/// Foreign libraries and who owns them: one crate, or two with a reason of their own each. Tests
/// may use them too.
const OWNERS: &[(&str, &[&str])] = &[
    ("anyhow", &["drs"]),
    ("axum", &["drs-runtime"]),
    ("blake3", &["drs-vault", "drs-vma"]),
    ("clap", &["drs"]),
    ("clap_complete", &["drs"]),
    ("deadpool-postgres", &["drs-backend-postgres"]),
    ("flate2", &["drs-vma"]),
    ("indicatif", &["drs"]),
    ("jiff", &["drs-model"]),
    ("lapin", &["drs-backend-amqp"]),
    ("lzallright", &["drs-vma"]),
    ("md-5", &["drs-vma"]),
    ("opentelemetry", &["drs-runtime"]),
    ("opentelemetry-otlp", &["drs-runtime"]),
    ("opentelemetry_sdk", &["drs-runtime"]),
    ("prometheus-client", &["drs-runtime"]),
    ("quick-xml", &["drs-hypervisor"]),
    ("redis", &["drs-backend-redis"]),
    ("rusqlite", &["drs-backend-sqlite"]),
    ("russh", &["drs-transport"]),
    ("simd-adler32", &["drs-vma"]),
    ("tokio-postgres", &["drs-backend-postgres"]),
    ("tokio-postgres-rustls", &["drs-backend-postgres"]),
    ("toml", &["drs-runtime"]),
    ("tracing-opentelemetry", &["drs-runtime"]),
    ("tracing-subscriber", &["drs-runtime"]),
    ("zstd", &["drs-vault", "drs-vma"]),
];

/// Libraries that read clocks, files, sockets or chance: never in the pure crates.
const IMPURE: &[&str] = &["tokio", "rustix", "rand", "tempfile", "async-trait", "tracing"];
const PURE: &[&str] = &["drs-model", "drs-protocol"];

fn metadata() -> Metadata {
    MetadataCommand::new().no_deps().exec().expect("cargo metadata runs")
}

/// The libraries that a crate's own code names.
fn named(package: &Package) -> impl Iterator<Item = &str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind == DependencyKind::Normal)
        .map(|dependency| dependency.name.as_str())
}

#[test]
fn every_crate_stands_in_the_layer_table_and_names_only_what_it_may() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|p| p.name.as_str()).collect();
    let layers: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    for package in &metadata.packages {
        let name = package.name.as_str();
        if TOP.contains(&name) {
            continue;
        }
        let allowed = layers.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        for other in named(package).filter(|other| ours.contains(other)) {
            assert!(allowed.contains(&other), "{name} must not depend on {other}");
        }
    }
    for (name, _) in LAYERS {
        assert!(ours.contains(name), "{name} is in the table but not in the house");
    }
}

#[test]
fn a_foreign_library_is_named_by_its_owners_alone() {
    for package in &metadata().packages {
        let name = package.name.as_str();
        for (library, owners) in OWNERS {
            let uses = named(package).any(|dependency| dependency == *library);
            assert!(
                !uses || owners.contains(&name) || name == "drs-tests",
                "{name} must not name {library}: it belongs to {owners:?}"
            );
        }
    }
}

#[test]
fn the_model_and_the_protocol_are_pure() {
    for package in metadata().packages.iter().filter(|p| PURE.contains(&p.name.as_str())) {
        for library in named(package) {
            assert!(!IMPURE.contains(&library), "{} must not name {library}", package.name);
        }
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in &metadata().packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} does not take the workspace's lints",
            package.name
        );
    }
}
