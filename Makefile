# DR Switch. Each target is one command; what it needs it sets up itself (Debian or Ubuntu, a Rust toolchain).

HYPERVISOR ?= libvirt
KEEP ?=
SECTIONS ?=

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: demo
demo: ## Back up a running VM, lose its host, restore it elsewhere (KEEP=1 leaves it on; HYPERVISOR=simulated needs only cargo)
	@tests/lab/demo-$(HYPERVISOR) $(if $(KEEP),keep)

.PHONY: demo-proxmox
demo-proxmox: ## A Proxmox pair backed up, lost and restored: by hand, then by drs (needs root)
	@tests/lab/demo-proxmox

.PHONY: demo-down
demo-down: ## End the demo that KEEP=1 left on
	@tests/lab/demo-down

.PHONY: test
test: ## Run all tests, on two real libvirt hosts and Proxmox nodes, under software emulation
	@tests/lab/test

.PHONY: test-deep
test-deep: ## Simulate 5,000 histories full of faults (make test: 300), kill 200 processes (30): about ten minutes each
	DRS_SIMULATION_SEEDS=5000 cargo test -p drs-simulation -- --nocapture
	DRS_KILLS=200 cargo test -p drs-tests --test cluster kills_at_random -- --nocapture

.PHONY: check
check: ## Format, lints, documentation, architecture, licences: all that must hold before a change is good
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
	cargo test -p drs-tests --test architecture
	@command -v cargo-deny >/dev/null || echo "check: installing cargo-deny, once, takes about 4 minutes"
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check --allow unused-wrapper licenses bans sources

.PHONY: bench
bench: ## Measure speed, times and memory beside the bare tools (SECTIONS="archive proxmox" for some only)
	@tests/lab/bench $(SECTIONS)

.PHONY: bench-peers
bench-peers: ## Beside Celery on the same servers, about 25 minutes (SECTIONS="noop crash timeout" for some only)
	@tests/lab/bench-peers $(SECTIONS)

.PHONY: fuzz
fuzz: ## Feed the reader of VMA archives anything, for 10 minutes (needs a nightly toolchain; installs cargo-fuzz once)
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	mkdir -p shared/vma/fuzz/corpus/archive
	cd shared/vma && cargo +nightly fuzz run -s none archive fuzz/corpus/archive fuzz/seeds/archive -- \
	    -max_total_time=600 -rss_limit_mb=512 -max_len=160000 -print_final_stats=1
