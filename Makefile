# `make help` lists what there is. Everything works on a bare Debian with a Rust toolchain, make, a C compiler and network.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run demo test kills services services-stop lint docs ci bench bench-append bench-append-long bench-command bench-memory bench-query bench-visibility chaos chaos-short bench-rebuild load up down compose-check shell-check

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

# `make run PROFILE=dev` uses what `make test` has built.
PROFILE ?= quick
PROGRAMS = target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

# PostgreSQL first: when it has to be installed and cannot be, that is said before the long build, not after it.
run: ## build, find or install PostgreSQL, and run everything in one process (Ctrl-C stops it, the data stays)
	@bin=$$(scripts/postgres) && \
	cargo build --profile $(PROFILE) -p runnel -p projector && \
	RUNNEL_POSTGRES_BIN=$$bin exec $(PROGRAMS)/runnel up

up: ## build, and run the full form: PostgreSQL, Redis, Kafka, and each service by itself; again, it starts what died
	@scripts/full require && \
	cargo build --profile $(PROFILE) -p runnel -p command-api -p projector -p query-api && \
	scripts/full up $(PROGRAMS)

down: ## stop what `make up` started; the data stays (`scripts/full drop` removes it, too)
	@scripts/full down

demo: ## against a running `make run`: register a few hundred users and read them back
	@cargo build --profile $(PROFILE) -p runnel --quiet && $(PROGRAMS)/runnel demo

test: ## every test; starts the servers it needs and stops what it started
	@scripts/test

kills: ## the long forms: projector and relay killed 20 times under load, a broker down for a minute, a rebuild of a million events killed 5 times (10 minutes)
	RUNNEL_KILLS=20 cargo test -p projector --test process killed_under_load
	RUNNEL_KILLS=5 RUNNEL_REBUILD_EVENTS=1000000 cargo test -p projector --test rebuild killed_again
	RUNNEL_KILLS=20 cargo test -p testkit --test pipeline killed_in_turns
	RUNNEL_KILLS=20 RUNNEL_OUTAGE_SECONDS=60 cargo test -p testkit --test pipeline relay::

compose-check: ## docker-compose.yml against the Compose specification's schema and what its parts must agree on
	@scripts/compose-check

services: ## start PostgreSQL, Redis and Kafka for tests and write .runnel/test.env, so that `cargo test` works by hand
	@scripts/services start

services-stop: ## stop them and remove their data
	@scripts/services stop

chaos: ## kill, pause, flush and restart everything under load, four rounds of it, then judge what the clients were told
	@cargo build --profile quick -p command-api -p projector -p query-api -p runnel -p chaos && target/quick/chaos run $(CHAOS_ARGS)

# With the binaries that `cargo test --workspace` has built.
chaos-short: ## every kind of fault once, and a verdict (about 90 seconds)
	@cargo build --workspace --bins --quiet && target/debug/chaos run --rounds 1 --seconds-max 75 --sessions 6 $(CHAOS_ARGS)

# `make load FORM=full SCENARIO=session LOAD_ARGS="--rate 300 --duration 1m"`; `loadtest run --help` lists the arguments.
# The generator is built apart: together with it the services would be built with other features, and so once more.
FORM ?= embedded
SCENARIO ?= mixed
load: ## load a Runnel of its own (FORM=embedded or full, SCENARIO=commands, reads, mixed, session or a file), and report
	@scripts/postgres >/dev/null && { [ $(FORM) != full ] || scripts/full require; } && \
	cargo build --profile $(PROFILE) -p runnel -p command-api -p projector -p query-api && \
	cargo build --profile $(PROFILE) -p loadtest && \
	scripts/load $(FORM) $(PROGRAMS) $(SCENARIO) $(LOAD_ARGS)

lint: ## format check and clippy, as CI does
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

shell-check: ## shellcheck over every script
	@scripts/shell-check

docs: ## the API documentation, warnings refused
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --quiet

ci: ## the whole of continuous integration
	.ci/run

# What the programs start must be built as they are.
BENCH_BUILD = cargo build --profile quick -p bench -p command-api -p projector -p query-api -p runnel

bench: ## every benchmark in a short form, and one table with the yardsticks, ratios and marks (about 15 minutes)
	@$(BENCH_BUILD) && target/quick/bench all $(BENCH_ARGS)

bench-command: ## durable commands over HTTP beside stock cqrs-es behind the same handler and a Go stack, fsync on (6 minutes)
	@$(BENCH_BUILD) && target/quick/bench command $(BENCH_ARGS)

bench-memory: ## what a query hit and a command allocate, and the memory of query-api in a minute of load (2 minutes)
	@$(BENCH_BUILD) && target/quick/bench memory $(BENCH_ARGS)

bench-query: ## one user over HTTP: hits in the process and in Redis, reads of PostgreSQL, beside bare actix-web and a Go stack (10 minutes)
	@$(BENCH_BUILD) && target/quick/bench query $(BENCH_ARGS)

bench-append: ## appends a second beside stock cqrs-es and the bare insert, on a private PostgreSQL with fsync on (6 minutes)
	@cargo build --profile quick -p bench && target/quick/bench append $(BENCH_ARGS)

bench-append-long: ## ours alone to ten million events: does the rate hold? (up to 30 minutes, 15 GB of disk)
	@cargo build --profile quick -p bench && target/quick/bench append --long $(BENCH_ARGS)

bench-visibility: ## acknowledged to visible at half load, by Kafka and by PostgreSQL, with processes of their own (4 minutes)
	@$(BENCH_BUILD) && target/quick/bench visibility $(BENCH_ARGS)

bench-rebuild: ## a rebuild of a million events beside bare reads of the same, on a private PostgreSQL with fsync on (2 minutes)
	@cargo build --profile quick -p bench && target/quick/bench rebuild $(BENCH_ARGS)
