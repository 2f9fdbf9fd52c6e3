# Every target works from a clean clone; the work is done by scripts/.
.PHONY: setup test lint bench bench-setup

setup:
	@scripts/setup

test: setup
	@scripts/test

lint: setup
	@scripts/check

bench-setup: setup

bench: bench-setup
	@scripts/uv run python benchmarks/stream.py --json
