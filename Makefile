# Every target works from a clean clone; the work is done by scripts/.
.PHONY: setup demo test lint bench bench-setup

setup:
	@scripts/setup

# The whole system on this machine; arguments by ARGS, as in: make demo ARGS="--devices 5"
demo: setup
	@scripts/uv run fieldloom demo $(ARGS)

test: setup
	@scripts/test

lint: setup
	@scripts/check

bench-setup: setup

bench: bench-setup
	@scripts/uv run python benchmarks/stream.py --json
