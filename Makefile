# Newcomers need only `make demo` and `make test`. Each target installs missing packages on Debian and Ubuntu, as root or
# through sudo. On other systems a target prints the missing packages and stops.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo test ci fmt lint doc policy packaging dist deb bench million conformance wide hostile conversations tenants chaos failover faults calm grafana pictures setup

help: ## list of targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## guided tour of Gatekeeper in front of a throwaway cluster (DEMO=--once: ends after the tour; DEMO=--iam: tokens of a metadata server)
	@echo "demo: installs what is missing (a PostgreSQL server, libclang), builds Gatekeeper (the first time: 6 to 10 minutes on"
	@echo "demo: two cores), then starts a throwaway cluster on loopback and takes a tour of about 15 s through Gatekeeper."
	@.ci/setup test
	$(CARGO) run --locked -- demo $(DEMO)

# Runs under nextest if installed, otherwise under Cargo's runner: a build of nextest takes longer than all tests. The status
# page is tested if a browser is installed; `make ci` installs Chromium.
test: ## all tests, against real PostgreSQL servers on loopback
	@.ci/setup test pg18 prometheus
	$(CARGO) test --locked --doc
	@GATEKEEPER_TEST_PG18=$$(.ci/postgresql-18) && export GATEKEEPER_TEST_PG18 GATEKEEPER_TEST_PROMETHEUS=required && \
	GATEKEEPER_TEST_BROWSER=$$(.ci/browser) && export GATEKEEPER_TEST_BROWSER && \
	if $(CARGO) nextest --version >/dev/null 2>&1; then \
		set -x; $(CARGO) nextest run --locked $(TESTS); \
	else \
		set -x; $(CARGO) test --locked --lib --bins --tests -- $(TESTS); \
	fi

ci: ## all checks that must pass before a change lands
	@.ci/setup python policy browser
	$(CARGO) fmt --all --check
	$(MAKE) policy packaging lint doc test conformance hostile
	$(MAKE) conversations tenants CONVERSATIONS=500 TENANTS_SECONDS=40 FUZZ_SEED=1

fmt: ## format
	$(CARGO) fmt --all

lint: ## clippy, warnings denied; also of the program without its feature `demo`
	@.ci/setup build
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib --bins -- -D warnings

doc: ## the crate's documentation, broken links denied
	@.ci/setup build
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib --document-private-items

# Advisories are not checked, since their database is on a Git host: run `cargo deny check advisories` if reachable.
policy: ## licences, banned crates and sources of all dependencies
	@.ci/setup policy
	$(CARGO) fetch --locked
	$(CARGO) deny --offline --locked --log-level warn check --hide-inclusion-graph bans licenses sources

packaging: ## Dockerfile, unit, Debian package, Kubernetes manifests, chart and Cloud Run, by their linters and against each other
	@.ci/setup packaging
	@tools=$$(.ci/packaging-tools) && set -x && \
	"$$tools/python" tests/packaging/check && "$$tools/python" tests/packaging/check --prove

# Cargo's `split-debuginfo` leaves the line tables, most of the debug information, in the program; `strip` discards them.
dist: ## the program to deploy, stripped, in target/dist, and a file with the debug information
	@.ci/setup build
	$(CARGO) build --locked --profile dist --bin gatekeeper
	.ci/split-debug $(or $(CARGO_TARGET_DIR),target)/dist/gatekeeper

# Install cargo-deb first: `cargo install --locked cargo-deb`.
deb: dist ## a Debian package in target/debian
	$(CARGO) deb --locked --profile dist --no-build --no-strip

bench: ## processor time, system calls, allocations and memory beside a bare relay and PgBouncer (BENCH='cpu --quick' for a part)
	@.ci/setup bench
	bench/run $(BENCH)

million: ## a million audited statements over rotated files, then `gatekeeper audit verify`: no record may be missing
	@.ci/setup bench
	bench/run audit-complete

conformance: ## PostgreSQL's and its drivers' own suites, direct and through Gatekeeper (SUITES='regress isolation' for a part)
	@.ci/setup python
	$(CARGO) build --locked
	tests/conformance/run $(SUITES)

# Suites that take too long for `make ci`. The isolation tester needs the server's process IDs of sessions, which clients do
# not get in transaction mode. The suite of asyncpg keeps more connections open than `pooled` has backends.
WIDE = regress psycopg2 asyncpg pgbench django sqlalchemy node-postgres postgres-js node-streams jdbc lib-pq pgx
ONES = node-postgres node-streams jdbc jdbc-threads pgx

wide: ## an hour: all suites in pooled sessions, and with audit and traces; some over a pool with a single backend
	@.ci/setup python
	$(CARGO) build --locked
	tests/conformance/run --through pooled,pooled-audited isolation $(filter-out asyncpg,$(WIDE))
	tests/conformance/run --through audited,split-audited $(WIDE)
	tests/conformance/run --through transaction-1,pooled-1 $(ONES)

hostile: ## hostile texts for the classifier of the release build
	@.ci/setup build
	$(CARGO) build --locked --release
	tests/hostile/check
	tests/hostile/check --prove

grafana: ## writes the generated files in grafana/: dashboards, the table of metrics
	@.ci/setup build
	grafana/generate
	GATEKEEPER_TEST_UPDATE=1 $(CARGO) test --locked --test contract the_table_of_all_metrics_equals_the_catalog

pictures: ## draws the dashboards and the status page after incidents, with Chromium
	@.ci/setup test prometheus pictures browser
	GATEKEEPER_TEST_PROMETHEUS=required GATEKEEPER_TEST_PICTURES=$(CURDIR)/grafana/pictures \
		$(CARGO) test --locked --test integration every_panel_and_alert
	GATEKEEPER_TEST_BROWSER=$$(.ci/browser) GATEKEEPER_TEST_PICTURES=$(CURDIR)/grafana \
		$(CARGO) test --locked --test integration the_page_requires_the_key

chaos: ## sessions through a split listener while servers fail, for 10 minutes (other values: CHAOS_SECONDS=60 CHAOS_SEED=7)
	@.ci/setup test
	CHAOS_SECONDS=$(CHAOS_SECONDS) CHAOS_SEED=$(CHAOS_SEED) \
		$(CARGO) test --locked --test integration -- --ignored --exact --nocapture chaos::for_long

failover: ## the writer crashes and is replaced while clients write: responses must be correct, for 10 minutes (other value: FAILOVER_SECONDS=60)
	@.ci/setup test
	FAILOVER_SECONDS=$(FAILOVER_SECONDS) \
		$(CARGO) test --locked --test integration -- --ignored --exact --nocapture failover::for_long

faults: ## induces twelve faults: seconds until the status page, an alert and the log say so, for the table in grafana/README.md
	@.ci/setup test prometheus
	GATEKEEPER_TEST_PROMETHEUS=required \
		$(CARGO) test --locked --test integration -- --ignored --exact --nocapture prometheus::faults::each_fault_is_told

calm: ## usual load with reloads, rotations and a restart: no alert may fire, for an hour (other value: CALM_SECONDS=180)
	@.ci/setup test prometheus
	GATEKEEPER_TEST_PROMETHEUS=required CALM_SECONDS=$(CALM_SECONDS) \
		$(CARGO) test --locked --test integration -- --ignored --exact --nocapture prometheus::calm::no_alert_fires_on_a_usual_day

conversations: ## random conversations, direct and through each mode: responses must be equal (other values: CONVERSATIONS=500 FUZZ_SEED=7)
	@.ci/setup python
	$(CARGO) build --locked
	tests/fuzz/run conversations --count $(or $(CONVERSATIONS),10000) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

tenants: ## tenants of a login over a single backend must not see each other's state, for 10 minutes (other values: TENANTS_SECONDS=60 FUZZ_SEED=7)
	@.ci/setup python
	$(CARGO) build --locked
	tests/fuzz/run tenants --seconds $(or $(TENANTS_SECONDS),600) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

setup: ## installs the packages for all other targets
	@.ci/setup
