# EdgeMetal: `make help` lists the targets. Needs Go, make, gcc and git; everything else is built from Go modules.
SHELL := /usr/bin/env bash -o errexit -o nounset -o pipefail
.DEFAULT_GOAL := help

VERSION ?= v0.1.0
IMAGE ?= ghcr.io/edgemetal/cluster-api-edgemetal-controller
AGENT_IMAGE ?= ghcr.io/edgemetal/edge-agent
PLATFORMS ?= linux/amd64,linux/arm64
# Time limit of each test binary under test/.
TEST_TIMEOUT ?= 30m

CACHE := $(CURDIR)/.cache/tools
# Root of the provider repository that `make release` writes.
OUT ?= out
RELEASE = $(OUT)/infrastructure-edgemetal/$(VERSION)
TOOL := go tool -modfile=go.tools.mod
LDFLAGS := -s -w -X main.version=$(VERSION)
LAB := go -C test run ./lab/cmd/lab
GOLANGCI_VERSION := $(shell awk '$$1 == "github.com/golangci/golangci-lint/v2" {print $$2}' test/tools/golangci/go.mod 2>/dev/null)
GOLANGCI := $(CACHE)/golangci-lint-$(GOLANGCI_VERSION)
# What `make generate` writes.
GENERATED := api/v1alpha1/zz_generated.deepcopy.go config/crd/bases config/rbac/role.yaml docs/reference/api.md
# go.tools.mod is not among them: it has no packages of its own to tidy by.
MODULES := . test

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' Makefile

##@ Build

.PHONY: build
build: ## Build bin/manager and bin/edge-agent.
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/manager ./cmd/edge-agent

.PHONY: container-images
container-images: ## Build the container images of manager and node agent for PLATFORMS (needs docker buildx).
	docker buildx build --platform $(PLATFORMS) --build-arg VERSION=$(VERSION) --target manager --tag $(IMAGE):$(VERSION) .
	docker buildx build --platform $(PLATFORMS) --build-arg VERSION=$(VERSION) --target edge-agent --tag $(AGENT_IMAGE):$(VERSION) .

.PHONY: release
release: ## Write OUT/infrastructure-edgemetal/VERSION: a provider repository for clusterctl.
	@[[ '$(VERSION)' =~ ^v[0-9]+\.[0-9]+\.[0-9]+ ]] || { echo 'VERSION must look like v0.1.0, not $(VERSION)' >&2; exit 1; }
	rm -rf $(RELEASE) && mkdir -p $(RELEASE)
	$(TOOL) kustomize build config/default | sed 's|image: $(IMAGE):dev$$|image: $(IMAGE):$(VERSION)|' > $(RELEASE)/infrastructure-components.yaml
	@grep -q 'image: $(IMAGE):$(VERSION)$$' $(RELEASE)/infrastructure-components.yaml || { echo 'config/manager: image $(IMAGE):dev not found' >&2; exit 1; }
	cp metadata.yaml templates/cluster-template*.yaml templates/clusterclass-*.yaml $(RELEASE)/
	@ls -l $(RELEASE)

.PHONY: generate
generate: ## Generate deep copies, CRDs, RBAC and the API reference.
	$(TOOL) controller-gen object paths=./api/...
	$(TOOL) controller-gen crd paths=./api/... output:crd:artifacts:config=config/crd/bases
	$(TOOL) controller-gen rbac:roleName=capem-system-manager paths=./controllers/... paths=./cmd/... paths=./internal/... output:rbac:dir=config/rbac
	$(TOOL) crd-ref-docs --source-path=api --config=docs/reference/crd-ref-docs.yaml --renderer=markdown --log-level=ERROR --output-path=docs/reference/api.md

##@ Check

.PHONY: test
test: ## Run all tests: unit tests with the race detector, then the lab, integration and end-to-end tests.
	go test -race ./...
	$(MAKE) tools release
	go -C test test -timeout $(TEST_TIMEOUT) ./...

# Parts of `make test-vm`: boot (the first specs of hosts), hosts, faults, cluster, several of them separated by commas, or all.
VM ?= all
VM_TIMEOUT ?= 150m

.PHONY: test-vm
test-vm: tools release ## Boot QEMU machines and check them from inside (Debian, root); VM=boot, hosts, faults, cluster or all.
	EDGEMETAL_VM=$(VM) go -C test test -count 1 -v -timeout 30m -run '^TestBoot$$' ./lab/iron/qemu
	EDGEMETAL_VM=$(VM) go -C test test -count 1 -v -timeout $(VM_TIMEOUT) ./vm -ginkgo.v

.PHONY: verify
verify: generate ## Check that generated files, modules and Go code are up to date.
	git diff --exit-code -- $(GENERATED)
	@new=$$(git ls-files --others --exclude-standard -- $(GENERATED)); [[ -z $$new ]] || { echo "generated but not committed: $$new" >&2; exit 1; }
	@failed=0; for m in $(MODULES); do echo "$$m: go mod tidy, go vet, go fix"; \
		for check in 'mod tidy -diff' 'vet ./...' 'fix -diff ./...'; do go -C $$m $$check || failed=1; done; done; exit $$failed
	$(MAKE) release

.PHONY: lint
lint: $(GOLANGCI) ## Run golangci-lint on every module.
	@failed=0; for m in $(MODULES); do echo "$$m: golangci-lint"; \
		(cd $$m && $(GOLANGCI) run --config $(CURDIR)/.golangci.yml ./...) || failed=1; done; exit $$failed

# Machines of `make bench`; see `go -C test run ./bench -h` for more in BENCH_FLAGS.
N ?= 300

.PHONY: bench
bench: release ## Measure requests, CPU and memory for N machines in the lab: a table, and out/bench.json.
	go -C test run ./bench -n $(N) $(BENCH_FLAGS)

.PHONY: bench-sweep
bench-sweep: ## The same for 100, 300 and 1,000 machines.
	$(MAKE) bench N=100,300,1000

##@ Try

# Hosts of `make quickstart`: simulated, or qemu for machines that really boot (Debian, root, half an hour the first time).
HOSTS ?= simulated

.PHONY: quickstart
quickstart: release ## Bring up an encrypted cluster in the local lab; QUICKSTART_FLAGS=--leak: with a fault; HOSTS=qemu: on virtual hosts.
	$(LAB) quickstart --hosts $(HOSTS) $(QUICKSTART_FLAGS)

.PHONY: quickstart-down
quickstart-down: ## Stop the local lab.
	$(LAB) down

##@ Tools

.PHONY: image
image: ## Build the disk images of virtual hosts (needs root on Debian) into .cache/images.
	$(LAB) image $(IMAGE_FLAGS)

.PHONY: tools
tools: ## Build what the lab and the tests run (etcd, kube-apiserver, Cluster API, ...) into .cache/tools.
	$(LAB) tools

$(GOLANGCI):
	go -C test/tools/golangci build -trimpath -ldflags '-s -w' -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: clean
clean: ## Remove everything that was built.
	rm -rf bin out .cache
