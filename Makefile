# Every target makes what it needs: on a machine with Python, make and a compiler, `make demo` and `make test` are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo $(VENV)/uv/bin/uv)
IMAGES ?=
PORT ?= 8000
# Where it is set, as it is in many containers, each server that a test starts would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test faults fuzz check bench test-train docs manifest locks clean

demo: $(VENV)/cpu.stamp
	$(BIN)/sightline demo --port $(PORT) $(if $(IMAGES),--images "$(IMAGES)")

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not train and not faults and not fuzz"

faults: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m faults

fuzz: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m fuzz

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev.stamp
	$(BIN)/python -m bench

test-train: .venv-train/stamp
	.venv-train/bin/python -m pytest -m train

docs: .venv-docs/stamp
	.venv-docs/bin/mkdocs build --strict

# The chart with its default values, for those who have no Helm. The sum tells a test that nobody changed one of both.
CHART := $(sort $(wildcard docker/helm/*.* docker/helm/templates/*))
MANIFEST := docker/kubernetes/sightline.yaml

manifest:
	helm template sightline docker/helm | cat -s > $(MANIFEST).body
	{ echo '# kubectl create secret generic sightline --from-literal=api-key="$$(openssl rand -hex 32)"'; \
	  echo '# kubectl apply -f $(MANIFEST)'; \
	  echo '#'; \
	  echo '# Made of docker/helm by `make manifest`: change the chart, not this. SHA-256 of both:'; \
	  echo "# $$(cat $(CHART) $(MANIFEST).body | sha256sum | cut -c 1-64)"; \
	  cat $(MANIFEST).body; } > $(MANIFEST)
	rm $(MANIFEST).body

.venv-docs/stamp: requirements/docs.txt
	$(call make_venv,.venv-docs)
	$(UV) pip install -q --python .venv-docs/bin/python --require-hashes -r requirements/docs.txt
	touch $@

$(VENV)/cpu.stamp: requirements/cpu.txt pyproject.toml
	$(call make_venv,$(VENV))
	$(UV) pip install -q --python $(BIN)/python --require-hashes -r requirements/cpu.txt
	$(UV) pip install -q --python $(BIN)/python --no-deps -e .
	touch $@

$(VENV)/dev.stamp: $(VENV)/cpu.stamp requirements/dev.txt requirements/alone.txt
	$(UV) pip install -q --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(UV) pip install -q --python $(BIN)/python --require-hashes --no-deps -r requirements/alone.txt
	touch $@

.venv-train/stamp: requirements/train.txt pyproject.toml
	$(call make_venv,.venv-train)
	$(UV) pip install -q --python .venv-train/bin/python --require-hashes -r requirements/train.txt
	$(UV) pip install -q --python .venv-train/bin/python --no-deps -e .
	touch $@

# uv, where the machine has none, comes from pip into a folder of its own.
define make_venv
	@test -x "$(UV)" || { $(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/pip install -q uv; }
	test -x $(1)/bin/python || $(UV) venv -q --allow-existing --python $(PYTHON) $(1)
endef

# Versions and hashes, no addresses. dev holds cpu, train holds dev, so that one resolution fits all. Of what is in alone only
# a module is tested with; what it depends on (torch) is left out.
locks:
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra cpu -o requirements/cpu.txt
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra cpu --extra otel -c requirements/cpu.txt -o requirements/otel.txt
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra cpu --extra otel --extra dev -c requirements/cpu.txt -o requirements/dev.txt
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra cpu --extra otel --extra dev --extra train -c requirements/dev.txt -o requirements/train.txt
	$(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra gpu --extra otel -o requirements/gpu.txt
	echo mkdocs-material | $(UV) pip compile -q --universal --generate-hashes --no-emit-index-url --no-header - -o requirements/docs.txt
	echo clip-retrieval | $(UV) pip compile -q --universal --no-deps --generate-hashes --no-emit-index-url --no-header --no-annotate - -o requirements/alone.txt

clean:
	rm -rf $(VENV) .venv-train .venv-docs site
