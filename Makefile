# Two targets do everything: `make run` serves, `make test` checks. Nothing is installed by hand.

GO ?= go
# Modules of their own, so that test clients and peers are no dependencies of the gateway.
NESTED := $(patsubst %/go.mod,%,$(wildcard bench/*/go.mod))

.PHONY: run build cross test quick lint unit race faults test-tls portable nested generate fuzz bench bench-peers clean

run: ## serve GOSOC clients on 127.0.0.1:7000, with development routes
	$(GO) run ./cmd/sluice serve --dev

build: ## the binaries, in bin/
	$(GO) build -trimpath -o bin/ ./cmd/...

# SYSTEMS has commas, which is how tools/lint wants it.
cross: ## compiles the programs for every system, which make lint reads and vets
	@for s in $$(echo $(SYSTEMS) | tr , ' '); do echo "build $$s" && \
	  CGO_ENABLED=0 GOOS=$${s%/*} GOARCH=$${s#*/} $(GO) build -o /dev/null ./... || exit 1; done

test: lint race unit nested-e2e portable beside ## everything CI runs

# The load generator's own tests measure, and take their time; so do these of the engine.
# The longest is begun first, and without the race detector there is room for more beside it.
QUICK = $$($(GO) list ./engine ./... | grep -v '/bench$$\|/sluice-bench$$' | awk '!seen[$$0]++')
SLOW := AllocatesNothing|Parked|HoldIsBounded|StartWithoutFiles|SlowConsumerPolicies|Overload|StopLeavesNothing|ManyPosters|SimulationR|SimulationHot|GoneBeforeTold|OfABusyLoop|KeepComing
SLOW := $(SLOW)|AbandonedPublishes|HandshakesLeft|ProxiedRefusals|AskReceived|TLSFloods|AttachHasLimits|OverCurl|AgainstModel
SLOW := $(SLOW)|SimulationCrowd|SimulationFew|TLSSlowConsumer|ForgottenHistory|CloseBehindPaused|EveryField|DelayedFlood
SLOW := $(SLOW)|MemoryStages|StopWithinContext|StopTells|RefusedConnections|ExpiredLogin|MemoryIsMeasured|TLSHandshakes|InACluster
quick: format ## the inner loop, a minute: unit tests without the slow ones, and without the race detector
	$(GO) vet ./...
	$(GOTEST) -p 5 -short -skip '$(SLOW)' $(QUICK)

.PHONY: format
format:
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); \
	  if [ -n "$$unformatted" ]; then echo "not gofmt'd:"; echo "$$unformatted"; exit 1; fi

# What runs on Linux is vetted for the others too, tests included; the nested modules are for Linux.
# go vet would compile everything for each system, the standard library, too, and staticcheck analyze
# it: tools/lint, which has the analyzers of both, reads the source instead. They are pinned in
# tools/go.mod, which keeps them out of the gateway's own dependencies; staticcheck.conf says which
# checks.
SYSTEMS := linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,freebsd/amd64,freebsd/arm64
HOST := $(shell $(GO) env GOOS)/$(shell $(GO) env GOARCH)
OTHERS = $$(echo $(SYSTEMS) | tr , '\n' | grep -vx $(HOST) | paste -sd, -)
PORTABLE_SYSTEMS := linux/amd64,darwin/arm64,freebsd/amd64
LINT := bin/tools/lint
lint: format ## gofmt; go vet's and staticcheck's analyzers
	@$(GO) build -C tools -o ../$(LINT) ./lint
	$(LINT) -static -systems $(HOST) ./...
	$(LINT) -systems $(OTHERS) ./...
	$(LINT) -systems $(PORTABLE_SYSTEMS) -tags portable ./engine/ ./bench/reactor
	@for m in $(NESTED) tools; do (cd $$m && echo "lint $$m" && $(abspath $(LINT)) -static -systems $(HOST) ./...) || exit 1; done

# lint has vetted all of it, by more rules than go test has.
GOTEST := $(GO) test -vet=off

# Packages at once: many tests wait for timers, and leave the cores to others. With more of them tests
# that need a core in time do not get one, and are done once more.
AT_ONCE := 3

# What starts no goroutine cannot race: the codecs, the parts of the load generator that compute,
# comparisons with a model, scenes of the simulation (whose seeds are played under the detector, too),
# the reading of flags, and what sluice top draws. The API's text is the same.
SEQUENTIAL := /codec/|/bench/(expect|latency|observe|pace|report|stamp|wire)$$|/versus$$
ALONE := AgainstModel|WheelMillion|QueueCompaction|Simulation(RollingStalls|Rounds|CrowdStalls|HotTopics|Shed)
ALONE := $(ALONE)|TestAPI$$|TestAPINames|TestBadValues|TestVerbHelp|TestTopSizes|TestSeen$$
# Those that wait for most of their time begin first, beside those that do not.
WAITING := ./engine/server ./engine/internal/cluster ./engine/internal/admin ./engine/internal/link
race:
	$(GOTEST) -race -p $(AT_ONCE) -skip '$(ALONE)' $$($(GO) list $(WAITING) ./... | grep -vE '$(SEQUENTIAL)' | awk '!seen[$$0]++')

# Allocations, sizes and speed are what they are without the race detector only; packages with such
# tests have a file for each build. All other tests are the same, and race has run them: these are in
# files for one build, ask which it is, count allocations, or have more to do without the race detector.
TEST_FILES = $$($(GO) list -f '{{range .TestGoFiles}}{{$$.Dir}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$$.Dir}}/{{.}} {{end}}' ./...)
SIZED := Simulation|Overload|HandshakesLeft|HandshakeSplits
DIFFERENT = $$(grep -lE '^//go:build !race|^func \w*($(ALONE))' $(TEST_FILES) | xargs -n1 dirname | sort -u | grep -vE '$(SEQUENTIAL)')
DIFFERING = $$(awk 'FNR==1{f=""; all=0} /^\/\/go:build !race/{all=1} /^func /{f=""} /^func Test/{f=$$2; sub(/\(.*/,"",f)} \
  f!="" && (all || /raceEnabled|wantNoAllocs/ || f ~ /$(ALONE)|$(SIZED)/){print f}' $(TEST_FILES) | sort -u | paste -sd'|')
unit: ## what race leaves out, and what is different there
	$(GOTEST) -p $(AT_ONCE) $$($(GO) list ./... | grep -E '$(SEQUENTIAL)')
	$(GOTEST) -p $(AT_ONCE) -run "^($(DIFFERING))$$" $(DIFFERENT)
	cd tools && $(GOTEST) ./lint

faults: ## planted faults, each of which the simulation must find
	$(GOTEST) -tags faults -run Faults ./engine/ ./engine/internal/cluster/

# Those without sockets are the same, and those of TLS have it anyway.
test-tls: ## the engine's tests over sockets once more, each connection with TLS
	SLUICE_TEST_TLS=1 $(GOTEST) -short -skip 'Simulation|AgainstModel|Alloc|TLS|Unix|Handshake|Fuzz|Queue|Wheel|Mailbox' ./engine/

# The simulation has both forms of pausing, with either build, and what is spoken over TLS, through
# proxies and over unix sockets is the same. End to end, the tag matters where sockets fill up, where
# input has to wait, and at ends behind unread bytes.
OTHER_IF_PORTABLE := Pressure|SlowReader|NeverReads|HalfClose|CloseUnread|Stalled|Shutdown|SecondSignal|FanOut|Flood
OTHER_IF_PORTABLE := $(OTHER_IF_PORTABLE)|ByteByByte|EverySplit|TenThousand|MixedOrder|WorkerBusy|WorkerFair|Malformed
OTHER_IF_PORTABLE := $(OTHER_IF_PORTABLE)|Tolerated|Noise|Huge|MaxPacket|HalfPackets|Echo|Messages
portable: ## the fallback without pausing and with poll(2), on this system
	@$(MAKE) --no-print-directory -j2 portable-engine portable-e2e

.PHONY: portable-engine portable-e2e
portable-engine: # waits for most of its time
	$(GOTEST) -short -tags portable -skip 'Simulation|AgainstModel|AllocatesNothing' ./engine/ ./bench/reactor

portable-e2e:
	cd bench/e2e && E2E_BUILD='-tags portable' $(GOTEST) -count=1 -run '$(OTHER_IF_PORTABLE)' ./...

nested: ## end to end, with the built binary and independent clients
	@for m in $(NESTED); do $(MAKE) --no-print-directory nested-$${m#bench/} || exit 1; done

nested-%: # never from the cache, which does not know of the binary
	cd bench/$* && $(GOTEST) -count=1 ./...

# The clients wait most of the time, and the search for faults keeps one core busy.
.PHONY: beside
beside:
	@$(MAKE) --no-print-directory -j3 nested-peers faults nested-cluster nested-interop test-tls nested-oracle nested-deploy

# nested-cluster, which make test runs, leaves out what takes half a minute, and does without the race
# detector. Debian's nats-server, if it is installed, is tried, too. CLUSTER_OLD_BIN=FILE names another
# release's sluice, from which a cluster is upgraded. The whole takes some minutes.
.PHONY: cluster-test
cluster-test: ## gateways and NATS servers: all of it
	cd bench/cluster && CLUSTER_FULL=1 $(GOTEST) -race -count=1 -timeout 20m ./...

# Not of make test: it wants Node 20, npm's registry and Chromium. What the page promises without a
# browser, its size, its policy and that it names no other host, the unit tests have.
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
.PHONY: page
page: ## the admin page in headless Chromium; SCREENSHOTS=DIR leaves pictures
	@if ! command -v npm >/dev/null || [ -z "$(CHROMIUM)" ]; then echo "page: no npm or no Chromium here, skipped"; else \
	  cd bench/page && npm ci --no-audit --no-fund --silent && CHROMIUM=$(CHROMIUM) npm test --silent; fi

# nested-deploy, which make test runs, has all of it but the real Prometheus; without promtool, Debian's
# package prometheus, it skips what wants it.
.PHONY: alerts-check
alerts-check: ## the alerts and the dashboard: promtool's checks, and a minute of a real Prometheus
	@if ! command -v promtool >/dev/null && [ ! -x $${XDG_CACHE_HOME:-$$HOME/.cache}/sluice-deploy/usr/bin/promtool ] && [ "$$INTEROP_INSTALL" != 1 ]; then \
	  echo "alerts-check: no promtool here: install Debian's package prometheus, or set INTEROP_INSTALL=1; its checks are skipped"; fi
	cd bench/deploy && DEPLOY_FULL=1 $(GOTEST) -count=1 -v -run 'Alerts|Dashboard|Expression|Prom' .

# What nested-deploy leaves out, too: the image's contents as its user, which wants root, and drains that
# take all their time.
.PHONY: deploy-check
deploy-check: ## Docker's and Kubernetes' files in full
	cd bench/deploy && DEPLOY_FULL=1 $(GOTEST) -count=1 -v -run 'Docker|Build|Compose|Image|Manifests|Pod|Drain|Config|Secrets' .

# Not of make test: it wants Node 20 and npm's registry.
.PHONY: docker-lint
docker-lint: ## linters for the Dockerfile and compose.yaml
	@if ! command -v npm >/dev/null; then echo "docker-lint: no npm here, skipped"; else \
	  cd packaging/lint && npm ci --no-audit --no-fund --silent && npm run --silent lint && echo "docker-lint: ok"; fi

generate: ## protobuf code; needs protoc (Debian: protobuf-compiler)
	$(GO) generate ./...

FUZZTIME ?= 10s
fuzz: ## every fuzz target for FUZZTIME
	@for m in . bench/oracle; do \
	  for p in $$($(GO) list -C $$m ./...); do \
	    for f in $$($(GO) test -C $$m -list '^Fuzz' $$p | grep '^Fuzz'); do \
	      $(GO) test -C $$m -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	    done; done; done

bench: ## microbenchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

PEERS_OUT ?= bench/peers/results
bench-peers: ## side by side with mosquitto, nats-server and others: tables and plots in PEERS_OUT
	sh bench/peers/install.sh
	cd bench/peers && $(GO) run . -out $(abspath $(PEERS_OUT)) $(PEERS_FLAGS)

# What is shipped; docs/install.md.
DIST ?= dist
.PHONY: release release-check packaging-check deb-check
release: ## binaries, archives, Debian packages, bills of material and checksums, in dist/
	packaging/release.sh $(DIST)

release-check: ## that the same commit gives the same bytes, from two clones; takes minutes
	packaging/reproduce.sh

packaging-check: ## the unit, by systemd-analyze; the manual pages, by groff and mandoc; the scripts, by shellcheck
	$(GO) test -count=1 -v ./packaging/... ./internal/manpage
	@if command -v shellcheck >/dev/null; then shellcheck $$(git ls-files 'packaging/*.sh') packaging/debian/post* packaging/debian/pre*; \
	  else echo "no shellcheck here"; fi

# As root. It wants debootstrap, systemd-container and lintian.
deb-check: ## the Debian package, on Debians of its own that systemd boots: install, start, reload, upgrade, purge
	ARCHES=amd64 packaging/release.sh $(DIST)
	@if command -v lintian >/dev/null; then lintian --allow-root --fail-on error,warning $(DIST)/*.deb; else echo "no lintian here"; fi
	packaging/debian/check.sh $(DIST)/*_amd64.deb

clean:
	rm -rf bin $(DIST)
