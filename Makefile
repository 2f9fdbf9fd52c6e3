# Every target works from a clean clone; the work is done by scripts/.
.PHONY: setup demo test lint chaos bench bench-setup

setup:
	@scripts/setup

demo: setup
	@scripts/uv run fieldloom demo

test: setup
	@scripts/test

lint: setup
	@scripts/check

chaos: setup
	@scripts/uv run pytest -m chaos

bench-setup: setup

bench: bench-setup
	@scripts/uv run python benchmarks/stream.py --json
