# Two targets do everything: `make run` serves, `make test` checks. Nothing is installed by hand.

GO ?= go
# Modules of their own, so that test clients and peers are no dependencies of the gateway.
NESTED := $(patsubst %/go.mod,%,$(wildcard bench/*/go.mod))

.PHONY: run build test lint unit race nested generate fuzz bench bench-peers clean

run: ## serve GOSOC clients on 127.0.0.1:7000, with development routes
	$(GO) run ./cmd/sluice serve --dev

build: ## the binaries, in bin/
	$(GO) build -trimpath -o bin/ ./cmd/...

test: lint unit race nested ## everything CI runs

lint:
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); \
	  if [ -n "$$unformatted" ]; then echo "not gofmt'd:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	@for m in $(NESTED); do (cd $$m && echo "vet $$m" && $(GO) vet ./...) || exit 1; done

unit: ## promises about allocations and sizes hold without the race detector only
	$(GO) test ./...

race:
	$(GO) test -race ./...

nested: ## end to end, with the built binary and independent clients; never from the cache, which does not know of the binary
	@for m in $(NESTED); do (cd $$m && echo "test $$m" && $(GO) test -count=1 ./...) || exit 1; done

generate: ## protobuf code; needs protoc (Debian: protobuf-compiler)
	$(GO) generate ./...

FUZZTIME ?= 10s
fuzz: ## every fuzz target for FUZZTIME
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
	  done; done

bench: ## microbenchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

PEERS_OUT ?= bench/peers/results
bench-peers: ## side by side with mosquitto, nats-server and others: tables and plots in PEERS_OUT
	sh bench/peers/install.sh
	cd bench/peers && $(GO) run . -out $(abspath $(PEERS_OUT)) $(PEERS_FLAGS)

clean:
	rm -rf bin
