# make run    the demonstration (VIDEO=PATH shows your own file)
# make test   every check and every test
# make check  format, lint, types, the direction of imports, and a look for known vulnerabilities, which only warns
# make audit  fails where a package here has a known vulnerability; not where the advisories cannot be reached
# make bench  the benchmarks, with the limit beside each figure; BENCH=--write puts their tables into benchmarks/reports/
# make install / make uninstall  as a systemd service (systemd/install.sh says what may be set: PREFIX, DESTDIR …)
# make bench-contention  the same for a processor that others take (IMAGES=FOLDER of photographs, a folder a class;
#             CLIP=a clip in which little moves)
# make soak   cameras that fail and long runs, each figure beside its limit (SOAK="--minutes 2" for less)
# make generated  EXAMPLES of each kind of file and message, right and wrong: taken, or refused with a cause
# make bench-video  what a mean budget is worth on labelled clips made of IMAGES

# make gpu-pack  into build/gpu/ all that a GPU machine without a network needs (CLIP125=a video of 12.5 frames a second);
#             there, in a copy of this folder: bash build/gpu/run
# make bench-gpu  the benchmark of a GPU box, where the GPU is in this one; docs/how-to/gpu.md

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
VIDEO  ?=

.PHONY: run soak generated install uninstall test check style types advisories audit clean
.PHONY: bench bench-contention bench-video bench-gpu gpu-pack
.DEFAULT_GOAL := run

run: $(VENV)/.installed
	$(BIN)/adainfd demo $(VIDEO)

# Three workers keep two processors busy: many tests wait for processes, sockets and cameras.
# Each worker keeps to its share of the tests, so that little is prepared twice, until it takes over some of another's.
# To these every box is one without a GPU; the tests that need one follow where there is one.
test: check
	$(BIN)/pytest -n 3 --dist worksteal
	[ ! -e /dev/nvidiactl ] || $(BIN)/pytest -m gpu

# The types take a processor, the advisories wait for an index: at once, each shown as a whole.
check: $(VENV)/.installed
	@$(MAKE) --jobs=2 --output-sync=target --no-print-directory types advisories style

style: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(VENV)/.installed
	$(BIN)/mypy

advisories: $(VENV)/.installed
	$(BIN)/python .ci/audit

audit: $(VENV)/.installed
	$(BIN)/python .ci/audit --strict

# Photographs, a folder a class, that the contention benchmark makes its clip from; and a clip of a still scene.
IMAGES ?= ../shared/data/imagenet_500
CLIP ?= ../shared/data/videos/bottle-detection.mp4

bench-contention: $(VENV)/.installed
	$(BIN)/python benchmarks/contention.py --images $(IMAGES) $(BENCH)
	$(BIN)/python benchmarks/still_scene.py --clip $(CLIP) $(BENCH)

bench-video: $(VENV)/.installed
	$(BIN)/python benchmarks/video_accuracy.py --images $(IMAGES) $(BENCH)

bench: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check 'openvino>=2025' || true
	status=0; for name in engines branches pipeline cameras startup publishing observers; do \
		$(BIN)/python benchmarks/$$name.py $(BENCH) || status=1; done; exit $$status

CLIP125 ?= ../shared/data/videos/car-detection.mp4

bench-gpu: $(VENV)/.installed
	$(BIN)/python benchmarks/gpu.py --clip $(CLIP125) $(BENCH)

gpu-pack: $(VENV)/.installed
	$(BIN)/python benchmarks/gpu_pack.py --clip $(CLIP125)

soak: $(VENV)/.installed
	.ci/packages
	status=0; $(BIN)/python benchmarks/soak.py $(SOAK) || status=1; \
		$(BIN)/python benchmarks/publishing.py || status=1; \
		$(BIN)/python benchmarks/attacks.py || status=1; exit $$status

EXAMPLES ?= 10000

generated: $(VENV)/.installed
	ADAINF_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -q -m generated tests/adainfd

install uninstall:
	systemd/install.sh $@

clean:
	rm -rf $(VENV)

# About 6 GB with the CUDA build of torch that PyPI gives on x86-64; README says how to get the smaller CPU build.
# pip compiles with one processor, which takes longer than unpacking. Some files of packages are for other Pythons.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --no-compile --editable '.[demo,dev]'
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@
