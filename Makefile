PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench clean

# Installed once, and again when what it depends on changes.
$(VENV)/.installed: pyproject.toml constraints.txt hatch_build.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[all,dev]'
	touch $@

# Exit status 1 is a finding (a cell failed, no target is feasible): the report shows it.
demo: $(VENV)/.installed  ## three workloads on every local target, a decision, an HTML report
	$(BIN)/harness run -w llm-chat -w speech-to-text -w fraud-detection || [ $$? -eq 1 ]
	$(BIN)/harness map demo || [ $$? -eq 1 ]
	$(BIN)/harness report demo

test: $(VENV)/.installed  ## all tests, two files at a time: most wait for cells to end
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed  ## style, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed  ## every figure in docs/benchmarks.md
	for name in native_parity native_tools overhead schedule_lag loadgen_parity interval_coverage \
	    real_clock_coverage early_stopping compare_power time_to_decide energy_window energy_coverage \
	    decode_speed continuous_batching fraud_latency quality_gates client_ceiling client_accuracy client_bound \
	    server_cost agent_tasks mapper_speed choice_calibration portfolio report_cost; do \
	    $(BIN)/python -m tests.benchmarks.$$name || exit 1; done

clean:  ## remove what the other commands made
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
