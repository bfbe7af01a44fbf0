# make demo    builds Pointsman and plans examples/; as root also programs a scratch network namespace and sends real requests
# make test    runs all tests; as root also those against the real kernel
# make bench   runs the benchmarks and writes the tables of docs/performance.md; needs root
# make flood   sends new flows over changes of every kind and counts those that fall between two; needs root
#              FLOWS=10000000 TRANSITIONS=20000 say how many at least
# make laws    checks the laws of the diff and the fates of packets with new random histories: CASES=20000 of each
# make churn   changes a cluster beside another program's commits for CHURN=3600 seconds: none of it may be told as drift; needs root
# make simulate  plays a whole node in simulated worlds: SEEDS=1000000 SECONDS=3600 FIRST=0 STEPS=100 say how many, how long, from which on
#              and how many steps each; KERNEL=200 lets a real kernel repeat so many of them, PROGRAM=200 lets the program itself live
#              through so many of them, on a real kernel and with the API server of the tests; both need root
# make image   builds the image archives without a container engine, on Debian and its relatives
# make dist    builds everything that a release has: images, packages, the chart, bills of materials
# make try-dist  tries what make dist built: man pages and completions, and the Debian package in a scratch root; needs root
# make book    builds the documentation as a book of HTML pages, and checks its links
# make kernels runs the tests with packets on other kernels in emulated machines, and writes the table of docs/kernels.md
# make mutants changes the program in one place at a time, and names the changes that no test notices; takes hours
#              FILE='src/diff/**' SHARD=0/20 run a part (tests/README.md)
# make check   checks formatting, lints, documentation, dependencies and deploy/
#
# demo and test install or report missing packages first (scripts/prerequisites.sh).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
prerequisites = nft=$$(scripts/prerequisites.sh); [ -z "$$nft" ] || export NFT="$$nft"

.PHONY: demo test bench flood laws churn simulate image dist try-dist book kernels mutants check fmt clippy doc deny check-deploy

demo:
	@$(prerequisites); exec scripts/demo.sh

test:
	@$(prerequisites); scripts/test.sh

bench:
	@scripts/bench.sh

FLOWS ?= 10000000
TRANSITIONS ?= 20000

flood:
	@$(prerequisites); cargo test --locked --test flood -- --flows $(FLOWS) --transitions $(TRANSITIONS)

CASES ?= 20000

laws:
	@PROPTEST_CASES=$(CASES) cargo test --locked --test laws --test packets --test affinity --test loop_under_faults

CHURN ?= 3600

churn:
	@$(prerequisites); POINTSMAN_REQUIRE_KERNEL=1 POINTSMAN_OWN_COMMITS_SECONDS=$(CHURN) \
	  cargo test --locked --test kernel own_commits_and_commits_to_other_tables_are_no_drift -- --nocapture

SEEDS ?= 1000000
SECONDS ?= 600
FIRST ?= 0
STEPS ?= 100
KERNEL ?=
PROGRAM ?=

# glibc keeps what is freed for the next use: a tenth of the time.
simulate: export GLIBC_TUNABLES = glibc.malloc.tcache_count=20000:glibc.malloc.tcache_max=8192
simulate:
	@$(if $(PROGRAM),$(prerequisites);) cargo test --locked --profile bench --test simulate -- --first $(FIRST) --steps $(STEPS) \
	  $(if $(KERNEL),--kernel $(KERNEL),$(if $(PROGRAM),--program $(PROGRAM),--seeds $(SEEDS) --seconds $(SECONDS) --threads $$(nproc) --all-faults))

image:
	@scripts/image.sh

dist:
	@scripts/dist.sh

try-dist:
	@scripts/dist/try.sh

book:
	@scripts/book.sh

kernels:
	@scripts/kernels.sh

# A file or folder of src, and a part of the changes there.
FILE ?=
SHARD ?=

mutants:
	@scripts/mutants.sh $(if $(FILE),--file '$(FILE)') $(if $(SHARD),--shard $(SHARD) --sharding round-robin)

check: fmt clippy doc deny check-deploy

fmt:
	cargo fmt --check

clippy:
	cargo clippy --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

deny:
	scripts/cargo-deny.sh check bans licenses sources

check-deploy:
	scripts/check-deploy.sh
