# The two commands of the README are `make demo` and `make test`; each installs what it misses.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SWIFT ?= swift
PYTHON := .venv/bin/python
# An index that does not answer is asked again.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --retries 10 --timeout 60
BINARY := .build/release/usher
# Two pytest workers: each has a proxy and a backend of its own, and a third would only wait for a CPU.
PYTEST_WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=
DEPLOY_ARGS ?=
REQUIREMENTS := Tests/Conformance/requirements.txt config/examples/tasks-api/requirements.txt \
	config/examples/auth-stand-in/requirements.txt

comma := ,
# What is checked under sanitizers is built apart from the rest (Package.swift).
SANITIZERS ?= fuzzer
CHECKS := .build/checks-$(subst $(comma),-,$(SANITIZERS))
FUZZ_SECONDS ?= 3600
FUZZ_ARGS ?=
SEEDS ?= 100000
SOAK_SECONDS ?= 1800
LEAKS_SCALE ?= 1
SANITIZE ?= address thread
SANITIZE_TESTS ?= test_fuzz_sockets.py test_concurrency.py test_hostile_peers.py test_reload.py test_lifecycle.py test_tls.py \
	test_http2.py test_http2_abuse.py test_http2_upstream.py test_websocket.py test_keys.py test_upstreams.py \
	test_shared.py test_introspection.py test_revocation.py test_tracing.py test_rate_limits.py test_log_destinations.py

.PHONY: help deps packages resolve build test unit tidy conformance stalled checks fuzz fuzz-briefly simulate simulate-coverage soak leaks sanitize deploy-test deploy-deps dist bench bench-budgets link-order demo format clean compare-framing

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: packages .venv/.installed .venv/.sslyze ## install what is missing: Debian packages, and a Python environment in .venv

packages:
	@scripts/install-packages

# What Swift takes from elsewhere is asked for again where it does not come; that it is missing, the build says.
resolve: packages
	@for attempt in 1 2 3; do $(SWIFT) package resolve >/dev/null 2>&1 && break || sleep 5; done

.venv/.installed: $(REQUIREMENTS)
	@echo "== python: .venv"
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || python3 -m venv --clear .venv
	@$(PYTHON) $(PIP_INSTALL) --requirement Tests/Conformance/requirements.txt
	@touch $@

.venv/.sslyze: Tests/Conformance/requirements-sslyze.txt .venv/.installed
	@{ .venv/sslyze/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv/sslyze; } && \
		.venv/sslyze/bin/python $(PIP_INSTALL) --requirement $< && touch $@ || \
		echo "== python: no sslyze; the tests of the TLS grade are skipped"

build: resolve ## the release binary, .build/release/usher
	@echo "== build: $(BINARY)"
	@$(SWIFT) build --configuration release --product usher

unit: resolve ## unit tests (swift-testing)
	@echo "== unit: swift test"
	@$(SWIFT) test

tidy: deps ## layers, forbidden words, sizes, format
	@echo "== tidy: Tests/Tidy"
	@$(PYTHON) -m pytest -q Tests/Tidy

conformance: deps build ## black-box tests (pytest); PYTEST_ARGS="test_paths.py -k P2" for some of them
	@echo "== conformance: Tests/Conformance"
	@cd Tests/Conformance && USHER_BINARY="$${USHER_BINARY:-$(CURDIR)/$(BINARY)}" \
		$(CURDIR)/$(PYTHON) -m pytest -q -n $(PYTEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

deploy-deps: deps .venv/.deploy
	@scripts/install-packages --deploy || echo "== deploy: without these, tests are skipped"

.venv/.deploy: Tests/Deploy/requirements.txt .venv/.installed
	@$(PYTHON) $(PIP_INSTALL) --requirement $<
	@touch $@

# DEPLOY_SECONDS: what has not begun by then is skipped. DEPLOY_FULL=1 compiles the images from source too, and
# DEPLOY_WITHOUT_SKIPS=1 makes a failure of whatever cannot be run here.
deploy-test: deploy-deps build ## tests of deploy/: images, manifests, units, run in containers where that can be done
	@echo "== deploy: Tests/Deploy"
	@cd Tests/Deploy && USHER_BINARY="$${USHER_BINARY:-$(CURDIR)/$(BINARY)}" \
		$(CURDIR)/$(PYTHON) -m pytest -q $(DEPLOY_ARGS)

checks: resolve
	@echo "== checks: fuzz and simulate, with $(SANITIZERS)"
	@USHER_CHECKS=$(SANITIZERS) $(SWIFT) build --configuration release --scratch-path $(CHECKS) --product fuzz
	@USHER_CHECKS=$(SANITIZERS) $(SWIFT) build --configuration release --scratch-path $(CHECKS) --product simulate

fuzz: checks ## an hour of libFuzzer on everything that reads the bytes of others; FUZZ_SECONDS=60, FUZZ_ARGS="json toml"
	@echo "== fuzz: $(FUZZ_SECONDS) s a target"
	@python3 Tests/Fuzz/fuzz.py --seconds $(FUZZ_SECONDS) $(CHECKS)/release/fuzz $(FUZZ_ARGS)

simulate: checks ## the whole exchange in a made-up kernel and time; SEEDS=100000, and SEEDS="1 FIRST" for one again
	@echo "== simulate: $(SEEDS) seeds"
	@Tests/Simulation/simulate.py $(CHECKS)/release/simulate $(SEEDS)

simulate-coverage: SEEDS := 6000
simulate-coverage: resolve ## which lines of the program the simulation runs, by folder; SEEDS=6000
	@echo "== simulate-coverage: $(SEEDS) seeds"
	@USHER_CHECKS=fuzzer $(SWIFT) build --configuration release --scratch-path .build/coverage --product simulate \
		-Xswiftc -profile-generate -Xswiftc -profile-coverage-mapping
	@Tests/Simulation/coverage.py .build/coverage/release/simulate $(SEEDS)

stalled: deps build ## black-box tests whose processes stand still in turn, for up to a second; PYTEST_ARGS="test_keys.py"
	@echo "== stalled: Tests/Conformance"
	@cd Tests/Conformance && USHER_BINARY="$${USHER_BINARY:-$(CURDIR)/$(BINARY)}" \
		../stalled.py $(CURDIR)/$(PYTHON) -m pytest -q -n $(PYTEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

soak: deps build ## half an hour of everything at once, with flat memory; SOAK_SECONDS=180
	@echo "== soak: $(SOAK_SECONDS) s"
	@cd Tests/Conformance && USHER_SOAK_SECONDS=$(SOAK_SECONDS) USHER_BINARY="$${USHER_BINARY:-$(CURDIR)/$(BINARY)}" \
		$(CURDIR)/$(PYTHON) -m pytest -q -s test_soak.py

leaks: deps build ## a million requests, 100,000 connections, 1,000 reloads, and nothing left of them; LEAKS_SCALE=0.1
	@echo "== leaks: $(LEAKS_SCALE)"
	@cd Tests/Conformance && USHER_LEAKS_SCALE=$(LEAKS_SCALE) USHER_BINARY="$${USHER_BINARY:-$(CURDIR)/$(BINARY)}" \
		$(CURDIR)/$(PYTHON) -m pytest -q -s test_leaks.py

# The unit tests, and black-box tests that open and close the most, under each sanitizer; built apart.
sanitize: export LSAN_OPTIONS := suppressions=$(CURDIR)/Tests/leaks.suppressions:print_suppressions=0
sanitize: export TSAN_OPTIONS := suppressions=$(CURDIR)/Tests/thread.suppressions:print_suppressions=0
sanitize: deps ## unit and black-box tests under AddressSanitizer and ThreadSanitizer; SANITIZE=thread for one of them
	@for sanitizer in $(SANITIZE); do \
		echo "== sanitize: $$sanitizer"; \
		$(SWIFT) test --sanitize $$sanitizer --scratch-path .build/$$sanitizer; \
		$(SWIFT) build --sanitize $$sanitizer --scratch-path .build/$$sanitizer --product usher; \
		(cd Tests/Conformance && USHER_SANITIZED=$$sanitizer USHER_BINARY=$(CURDIR)/.build/$$sanitizer/debug/usher \
			$(CURDIR)/$(PYTHON) -m pytest -q -n $(PYTEST_WORKERS) --dist loadfile $(SANITIZE_TESTS)); \
	done

fuzz-briefly: # as a part of `make test`, which says the same each time: what else there is to find, `make fuzz` finds
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=10 FUZZ_ARGS="--seed 1"

test: ## everything: tidy, unit, conformance, fuzzing, simulation, deploy
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory tidy
	@$(MAKE) --no-print-directory unit
	@USHER_SOAK_SECONDS=$${USHER_SOAK_SECONDS:-180} $(MAKE) --no-print-directory conformance
	@$(MAKE) --no-print-directory fuzz-briefly
	@$(MAKE) --no-print-directory simulate SEEDS="100000 1000000"
	@DEPLOY_SECONDS=$${DEPLOY_SECONDS:-900} $(MAKE) --no-print-directory deploy-test
	@echo "== test: everything passed"

dist: packages ## a release in dist/: static binary, tarball, bill of materials, images' archives, checksums
	@scripts/dist

bench: deps build ## CPU a request against nginx, HAProxy and $ENVOY: one page; BENCH_ARGS="--only get" for a part
	@scripts/install-packages --bench
	@$(PYTHON) Benchmarks/bench.py --usher $(BINARY) $(BENCH_ARGS)

bench-budgets: deps build ## allocations, instructions and system calls a request; WRITE=1 takes them as the budgets
	@scripts/install-packages --bench
	@$(PYTHON) Benchmarks/budgets.py --usher $(BINARY) $(if $(WRITE),--write)

link-order: deps build ## take anew which functions stand side by side in the binary (Sources/link-order.txt)
	@scripts/install-packages --bench
	@$(PYTHON) Benchmarks/link_order.py --usher $(BINARY)

demo: deps build ## the proxy in front of a sample backend on loopback, until Ctrl-C
	@USHER_BINARY="$${USHER_BINARY:-$(CURDIR)/$(BINARY)}" $(PYTHON) scripts/demo.py

format: ## format the Swift sources in place
	@$(SWIFT) format --in-place --recursive Sources Tests Package.swift

clean: ## remove what was built and installed here
	@rm -rf .build .venv .pytest_cache Tests/Conformance/.pytest_cache Tests/Tidy/.pytest_cache .work dist

compare-framing: deps build ## the framing matrix put to usher, nginx and HAProxy; writes docs/framing-table.md
	@cd Tests/Conformance && USHER_BINARY="$${USHER_BINARY:-$(CURDIR)/$(BINARY)}" $(CURDIR)/$(PYTHON) compare_framing.py > $(CURDIR)/docs/framing-table.md
