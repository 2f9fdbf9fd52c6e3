# Every target works from a clean clone; the work is done by scripts/.
.PHONY: setup demo test lint bench bench-setup chaos fuzz screenshots

setup:
	@scripts/setup

# The whole system on this machine; arguments by ARGS, as in: make demo ARGS="--devices 5"
demo: setup
	@scripts/uv run fieldloom demo $(ARGS)

test: setup
	@scripts/test

lint: setup
	@scripts/check

# The long runs: kills over hours; an argument by ARGS, as in: make chaos ARGS="-k zero_loss"
chaos: setup
	@scripts/uv run pytest -m chaos $(ARGS)

# Each parser at a boundary, guided by coverage; arguments by ARGS, as in: make fuzz ARGS="--seconds 600 batches"
fuzz: setup
	@scripts/uv run python tests/fuzz/run.py $(ARGS)

# The pictures of the README, of a running system.
screenshots: setup
	@scripts/uv run pytest tests/console/screenshots.py

bench-setup: setup
	@scripts/uv run python benchmarks/ingest.py --setup
	@scripts/uv run python benchmarks/timeseries.py --setup
	@scripts/uv run python benchmarks/cluster.py --setup

bench: bench-setup
	@for path in stream batches ingest spine transformers timeseries rules workflows firmware cluster; do scripts/uv run python "benchmarks/$$path.py" --json || exit 1; done
