# Short names for what scripts/setup and `cargo xtask` do.
# Arguments for a verb: make demo ARGS="--rounds 1"

ARGS ?=
XTASK := scripts/xtask

.DEFAULT_GOAL := help
.PHONY: help setup build demo check doc unsafe test test-unit test-privileged test-e2e test-programs test-semantics test-conformance test-node test-speed image cluster cluster-down test-cluster lint kernels soak switches bench fuzz fmt

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r name text; do printf '%-26s%s\n' "$$name" "$$text"; done

setup: ## install whatever is missing for build, demo and test
	@scripts/setup

build: ## static release binaries with the eBPF programs inside, in target/release; ARGS="--arch arm64"
	@scripts/setup build $(if $(findstring arm64,$(ARGS)),arm64)
	@$(XTASK) build $(ARGS)

demo: ## as root: two pods, two Envoys, plain against accelerated
	@scripts/setup build e2e
	@$(XTASK) demo $(ARGS)

check: ## before each commit: lint, and the tests that need no root
	@scripts/setup build lint conf
	@$(XTASK) check $(ARGS)

test: ## as root: lint, unit, privileged, conformance, semantics, e2e and speed tests
	@scripts/setup
	@$(XTASK) test $(ARGS)

test-unit: ## tests that need neither root nor a BPF toolchain
	@$(XTASK) test-unit $(ARGS)

test-privileged: ## as root: the real programs in the running kernel
	@scripts/setup build e2e
	@$(XTASK) test-privileged $(ARGS)

test-e2e: ## as root: pods, Envoys and verified traffic
	@scripts/setup build e2e
	@$(XTASK) test-e2e $(ARGS)

test-programs: ## as root: nginx, Redis, gRPC and others, plain and accelerated
	@scripts/setup build e2e programs
	@$(XTASK) test-programs $(ARGS)

test-semantics: ## as root: what TCP promises, at every end of every hop, plain and accelerated; long
	@scripts/setup build
	@$(XTASK) test-semantics $(ARGS)

test-conformance: ## as root: the plugin under cnitool, libcni and a real containerd
	@scripts/setup build runtime
	@$(XTASK) test-conformance $(ARGS)

test-node: ## as root: the installer to its bars, with release binaries; ten minutes
	@scripts/setup build page
	@$(XTASK) test-node $(ARGS)

test-speed: ## as root: fail where it is not clearly faster than plain TCP
	@scripts/setup build e2e
	@$(XTASK) test-speed $(ARGS)

lint: ## formatting, clippy, chart and manifests, rules about the tree
	@scripts/setup build lint conf
	@$(XTASK) lint $(ARGS)

image: ## the OCI image in target/image, without a container engine
	@scripts/setup build
	@$(XTASK) image $(ARGS)

cluster: ## as root: Kubernetes and Istio in namespaces of their own, to try Sockway in
	@scripts/setup build cluster
	@$(XTASK) cluster $(ARGS)

cluster-down: ## as root: end it
	@$(XTASK) cluster-down

test-cluster: ## as root: Sockway in such a cluster, as users install and run it
	@scripts/setup build cluster
	@$(XTASK) test-cluster $(ARGS)

kernels: ## as root: the same checks on Linux 5.10, 6.1, 6.12 and 7.x under qemu; ARGS="--arch arm64"
	@scripts/setup build $(if $(findstring arm64,$(ARGS)),kernels-arm64,kernels)
	@$(XTASK) kernels $(ARGS)

soak: ## as root: verified traffic for long, of bounded length
	@scripts/setup build e2e
	@$(XTASK) soak $(ARGS)

switches: ## as root: off, on and uninstall under 15 000 connections, a hundred times
	@scripts/setup build e2e
	@$(XTASK) switches $(ARGS)

bench: ## as root: how fast it is, in half an hour, with a report in target/bench
	@scripts/setup build e2e bench
	@$(XTASK) bench $(ARGS)

fuzz: ## libFuzzer on everything that is read from others, a minute each
	@scripts/setup fuzz
	@$(XTASK) fuzz $(ARGS)

fmt: ## format every crate
	@scripts/setup build lint
	@$(XTASK) fmt $(ARGS)

doc: ## the public items of every crate, in target/doc
	@$(XTASK) doc $(ARGS)

unsafe: ## every unsafe block, and why it is sound
	@$(XTASK) unsafe $(ARGS)
