# make demo    the whole job on embedded data: about a minute on two cores
# make test    all tests
# make bench   speed of the executors
# make check   what must hold before a change is merged, the tests apart
# make figures the README's measured results anew
#
# Needed: Go, a C compiler, and pip or npm (to fetch ONNX Runtime). Without a C
# compiler everything but ONNX Runtime works.

GO ?= go
BIN := bin/unprune

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Assembly generators are modules of their own, so that avo stays out of go.mod.
GENERATORS := graph/kernel/_asm/gemm graph/kernel/_asm/vec graph/kernel/_asm/sparse graph/kernel/_asm/scattered
GENERATED := $(wildcard graph/kernel/*_amd64.s graph/kernel/*_amd64.go) onnx/internal/pb/onnx.pb.go
PROTOC := libprotoc 3.21.12

# Packages whose goroutines share memory, and those that read foreign files.
# Tests that compare numbers over hundreds of shapes are left out:
# those that compare teams drive the same kernels.
NUMBERS := ^(TestConv|TestGemm|TestReduce|TestWinogradError)$$
RACE := ./graph/kernel ./graph/exec ./graph/ort ./graph/pass ./onnx/... ./sparsity ./evalmetrics ./unprune/data

# Go needs a home for its caches.
ifeq ($(HOME),)
export HOME := $(CURDIR)/bin/.home
endif

.PHONY: all
all: $(BIN)

.PHONY: $(BIN)
$(BIN):
	$(GO) build -o $@ ./cmd/unprune

# An ONNX Runtime that is there already is left alone.
.PHONY: runtime
runtime: $(BIN)
	$(BIN) runtime install

.PHONY: demo
demo: runtime
	$(BIN) demo --out demo-out

.PHONY: test
test: runtime
	$(GO) test ./...

# The official node cases of ONNX, for the conformance tests of both executors
# (ONNX_NODE_TESTS=$(CURDIR)/bin/node-tests make test). Needs Python.
NODE_CASES := onnx==1.23.2
bin/node-tests:
	python3 -m venv bin/.onnx
	bin/.onnx/bin/pip install --quiet $(NODE_CASES)
	bin/.onnx/bin/python graph/exectest/nodetests.py $@.new
	mv $@.new $@

.PHONY: bench
bench: runtime
	$(BIN) bench

.PHONY: figures
figures: runtime
	.ci/figures README.md

.PHONY: check
check: format vet staticcheck tidy generated nocgo purego cross race

.PHONY: format
format:
	@echo gofmt; unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); test -z "$$unformatted" || { echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; }

.PHONY: vet
vet:
	$(GO) vet ./...
	@for dir in $(GENERATORS); do echo "$(GO) -C $$dir vet ."; $(GO) -C $$dir vet . || exit 1; done

.PHONY: staticcheck
staticcheck:
	$(GO) run $(STATICCHECK) ./...

.PHONY: tidy
tidy:
	$(GO) mod tidy -diff

# Generating anew must change nothing. The protobuf messages are left out where
# protoc is missing or of another version, whose output differs.
.PHONY: generated
generated:
	.ci/generated "$(PROTOC)" $(GENERATED)

.PHONY: nocgo
nocgo:
	CGO_ENABLED=0 $(GO) build ./...

.PHONY: purego
purego: runtime
	$(GO) build -tags purego ./...
	$(GO) test -tags purego ./graph/kernel ./graph/exec

# vet compiles the tests too.
.PHONY: cross
cross:
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build ./...
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) vet ./...
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) build ./...
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) vet ./...

.PHONY: race
race: runtime
	$(GO) test -race -skip '$(NUMBERS)' $(RACE)

.PHONY: clean
clean:
	-chmod -R u+w bin
	rm -rf bin demo-out
