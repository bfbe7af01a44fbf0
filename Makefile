# make demo    builds and runs the main job on examples/; as root also in a scratch network namespace, with real requests
# make test    runs every test; as root also those against the real kernel
# make bench   measures what docs/performance.md shows and writes its tables, as root
# make check   formatting, lints, documentation, dependencies, deploy/
#
# demo and test first make sure that what they need is installed (scripts/prerequisites.sh).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
prerequisites = nft=$$(scripts/prerequisites.sh); [ -z "$$nft" ] || export NFT="$$nft"

.PHONY: demo test bench check fmt clippy doc deny check-deploy

demo:
	@$(prerequisites); exec scripts/demo.sh

test:
	@$(prerequisites); cargo test --locked

bench:
	@scripts/bench.sh

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
