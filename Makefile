# seismolog: every verb that a developer or the CI uses. `make help` lists them.

PYTHON ?= python3
# What `make run` reads: your own logs, or else the samples that come with the project.
LOGS ?=
# Where `make run` leaves the store and the report.
OUT ?= out
# Where `make install` puts the program, and the folder that gets a link to it.
PREFIX ?= /opt/seismolog
LINKS ?= /usr/local/bin
# Seconds for each fuzz target: short in `make test`, long by hand (make fuzz FUZZ_SECONDS=3600).
FUZZ_SECONDS ?= 60
# Options for the benchmark suite, such as --scale 0.1 (make bench BENCH="--scale 0.1").
BENCH ?=

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
CARGO := cargo
# The samples that come with the project.
CAPTURED := tests/data/captured-2026/syslog
EVENING := tests/data/evening-2002

PYTHON_CODE := python tests bench .ci
RUST_SOURCES := $(shell find rust -name '*.rs' -not -path '*/target/*' -not -path '*/fuzz/*' -not -path '*/tests/*' -not -path '*/benches/*' 2>/dev/null) \
	Cargo.toml Cargo.lock pyproject.toml rust/core/Cargo.toml rust/python/Cargo.toml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build install uninstall run test quick lint fmt rust-test python-test influxd fuzz fuzz-brief bench docs docs-check lock clean distclean

help: ## list the verbs
	@awk 'BEGIN { FS = ":.*## "; print "make <verb>, where verb is one of" } \
		/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'make run LOGS="/var/log/named.log* /var/log/mail.log*"     reads your own logs'

## ---- set-up: each step leaves a stamp, so that nothing is done twice ----------------------------------------------

$(BIN)/python:
	@sh .ci/prerequisites.sh build "$(PYTHON)"
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/runtime: requirements/runtime.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/test: requirements/test.txt $(STAMPS)/runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	@touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(STAMPS)/extension: $(RUST_SOURCES) $(STAMPS)/runtime
	@sh .ci/prerequisites.sh build "$(BIN)/python"
	PIP_QUIET=1 VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/maturin develop --release --locked
	@$(BIN)/python -m compileall -q python/seismolog # else, where no bytecode is written, every start compiles
	@touch $@

build: $(STAMPS)/extension ## build everything; leaves .venv/bin/seismolog

# A service runs as a user of its own, who may not look into a checkout in somebody's home: hence a place of its own, with a
# link where everybody finds it. Every file there may be read by all, whatever the umask.
install: build ## install for services and all users, as root: PREFIX=/opt/seismolog, and a link in LINKS=/usr/local/bin
	@rm -rf dist
	PIP_QUIET=1 VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/maturin build --release --locked --quiet --out dist
	umask 022 && $(PYTHON) -m venv "$(PREFIX)" \
		&& "$(PREFIX)/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt \
		&& "$(PREFIX)/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall dist/*.whl \
		&& "$(PREFIX)/bin/python" -m compileall -q "$(PREFIX)/lib" \
		&& mkdir -p "$(LINKS)" && ln -sfn "$(PREFIX)/bin/seismolog" "$(LINKS)/seismolog"
	@"$(LINKS)/seismolog" --version

uninstall: ## remove what `make install` has put there; logs, configuration and store stay
	rm -f "$(LINKS)/seismolog"
	@[ ! -e "$(PREFIX)" ] || [ -e "$(PREFIX)/bin/seismolog" ] || { echo "$(PREFIX) is no installation of seismolog" >&2; exit 1; }
	rm -rf "$(PREFIX)"

## ---- use -----------------------------------------------------------------------------------------------------------

ifeq ($(strip $(LOGS)),)
run: build ## analyze the samples, or your own logs: make run LOGS="…"
	@mkdir -p $(OUT)
	@echo "== A few minutes of named, Postfix and Dovecot, captured in the lab ($(CAPTURED))"
	$(BIN)/seismolog analyze $(CAPTURED) --year 2026 --store $(OUT)/captured-store --output $(OUT)/captured.html
	@echo
	@echo "== The evening of 15 July 2002: an outbreak of Frethem.K, simulated ($(EVENING))"
	$(BIN)/seismolog analyze $(EVENING)/*.gz --config $(EVENING)/site.toml --year 2002 --store $(OUT)/evening-store --output $(OUT)/report.html
	@echo
	@echo "Open $(OUT)/report.html in a browser. Your own logs: make run LOGS=\"/var/log/syslog* /var/log/mail.log*\""
else
run: build
	@mkdir -p $(OUT)
	$(BIN)/seismolog analyze $(LOGS) --store $(OUT)/store --output $(OUT)/report.html
	@echo "Open $(OUT)/report.html in a browser."
endif

## ---- checks --------------------------------------------------------------------------------------------------------

test: lint rust-test python-test fuzz-brief ## everything that CI runs: lint, both test suites, a short fuzz

lint: build $(STAMPS)/test ## formatting, clippy, ruff, mypy, generated files; a warning is an error
	@sh .ci/prerequisites.sh test "$(BIN)/python"
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	$(BIN)/ruff check $(PYTHON_CODE)
	$(BIN)/ruff format --check $(PYTHON_CODE)
	$(BIN)/mypy
	@$(MAKE) --no-print-directory docs-check

# The boundary crate is a Python extension and is tested from Python.
rust-test:
	$(CARGO) test --workspace --exclude seismolog-python --locked

# Under CI the real InfluxDB is built first (once: it stays in a cache folder); elsewhere its tests say how to get it.
python-test: build $(STAMPS)/test
	@[ "$${CI:-}" != true ] || $(MAKE) --no-print-directory influxd
	$(BIN)/pytest -n 2 --dist loadgroup

influxd: ## build InfluxDB 2 for the tests, once, into a cache folder (needs Go; three to five minutes)
	@$(PYTHON) tests/services/influxd/build.py

quick: build $(STAMPS)/test ## the Python tests without the slow ones and the daemons
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow and not service and not browser"

# Under CI the fuzzer must be there; elsewhere its absence is said, with the way to get it.
fuzz-brief:
	@if $(CARGO) fuzz --version >/dev/null 2>&1 && $(CARGO) +nightly --version >/dev/null 2>&1; then \
		$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=15; \
	elif [ "$${CI:-}" = true ]; then \
		echo "cargo-fuzz or the nightly toolchain is missing" >&2; exit 1; \
	else \
		echo "fuzzing left out; to have it: rustup toolchain install nightly && cargo install --locked cargo-fuzz"; \
	fi

fuzz: ## fuzz each target for FUZZ_SECONDS (needs nightly Rust and cargo-fuzz)
	cd rust/core && for target in $$($(CARGO) +nightly fuzz list); do \
		echo "== fuzz $$target for $(FUZZ_SECONDS) s"; \
		mkdir -p fuzz/corpus/$$target; \
		seeds=; [ ! -d fuzz/seeds/$$target ] || seeds=fuzz/seeds/$$target; \
		$(CARGO) +nightly fuzz run $$target fuzz/corpus/$$target $$seeds -- \
			-max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 -verbosity=0 -print_final_stats=1 || exit 1; \
	done

bench: build $(STAMPS)/dev ## run the benchmark suite and its peers; writes docs/benchmarks.md
	$(BIN)/python -m bench.run $(BENCH)

docs: build ## write the generated parts of the docs again
	$(BIN)/python .ci/docs.py --write

docs-check: build ## fail when a generated file no longer equals what the code says
	$(BIN)/python .ci/docs.py --check

fmt: $(STAMPS)/test ## format all code
	$(CARGO) fmt --all
	$(BIN)/ruff format $(PYTHON_CODE)
	$(BIN)/ruff check --fix $(PYTHON_CODE)

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"

lock: $(STAMPS)/dev ## choose the dependencies' versions anew (requirements/*.txt)
	$(LOCK) --upgrade pyproject.toml --group all -o requirements/dev.txt
	$(LOCK) --upgrade -c requirements/dev.txt pyproject.toml --group test -o requirements/test.txt
	$(LOCK) --upgrade -c requirements/dev.txt pyproject.toml --group build -o requirements/runtime.txt

clean: ## remove what was built, keep the environment
	rm -rf target build dist $(OUT) .mypy_cache .ruff_cache .pytest_cache .hypothesis rust/core/fuzz/target
	rm -f python/seismolog/_core*.so $(STAMPS)/extension

distclean: clean ## remove the environment too
	rm -rf $(VENV)
