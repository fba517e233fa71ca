# What a newcomer needs: `make demo` and `make test`, with Go alone. `make test-services` installs and starts real servers.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0

# Prints what go test prints, then the tests that were skipped, and the sweeps of which a sample was tried.
REPORT = go run ./scripts/testreport

.PHONY: build test test-race test-sweeps test-services fuzz lint bench demo golden definitions hospital

build: ## the binary, as ./chartlift
	go build -trimpath -o chartlift ./cmd/chartlift

test: ## all tests that need Go alone
	go test -json -timeout 60m ./... | $(REPORT)

test-race: ## the same, without the long ones, under the race detector
	go test -json -race -short -timeout 60m ./cmd/... ./mappings/... ./fixtures/... ./scripts/... | $(REPORT)
	RAPID_CHECKS=500 go test -json -race -short -timeout 60m ./pipeline/... | $(REPORT) # -short draws a fifth, so the usual 100

test-sweeps: ## every kill point, every damaged byte, every step that can fail: the tests that draw a sample elsewhere
	CHARTLIFT_SWEEPS=1 go test -json -timeout 60m ./pipeline/sandbox ./pipeline/stage ./pipeline/phi/... | $(REPORT)
	CHARTLIFT_SWEEPS=1 go test -json -timeout 60m ./cmd/chartlift -run 'Kill|Damage|Circle|ServerIDs' | $(REPORT)

test-services: ## what needs real PostgreSQL, MariaDB, HAPI FHIR and HL7's Java validator (Debian; installs them, and steps down from root)
	scripts/services/with go test -json -timeout 30m ./pipeline/extract/sqldb ./pipeline/ledger | $(REPORT)
	scripts/services/with go test -json -timeout 30m ./cmd/chartlift -run 'Live|EveryDialectAndEngine|Ledger' | $(REPORT)
	scripts/services/hapi/with go test -json -timeout 30m ./cmd/chartlift -run HAPI | $(REPORT)
	scripts/services/validator/with go test -json -timeout 30m ./cmd/chartlift -run SecondOpinion | $(REPORT)

FUZZ ?= 60s
fuzz: ## every fuzz test, a minute each (FUZZ=10s for less)
	@grep -rlE --include='*_test.go' '^func Fuzz' . | while read file; do \
		grep -oE '^func Fuzz[A-Za-z0-9_]*' $$file | cut -c6- | while read name; do \
			echo "$$(dirname $$file) $$name"; \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZ) -fuzzminimizetime 1s $$(dirname $$file) || exit 1; \
		done || exit 1; \
	done

lint: ## formatting, vet, staticcheck
	@unformatted=$$(gofmt -l cmd pipeline mappings fixtures scripts); test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

demo: build ## a made-up hospital from export to signed-off report, in seconds
	./chartlift demo

bench: build ## the engine beside the yardstick, interleaved, one core; formulas and validation beside other engines (fetches them)
	go run ./scripts/bench
	go run ./scripts/bench -readers
	CHARTLIFT_STATE=10000000 go test -run MergeOfMillions -v -timeout 30m ./pipeline/state # a million changes merged into a state of ten millions
	go run -C scripts/rivals -mod=mod . formulas # its go.mod follows ours
	go run -C scripts/rivals -mod=mod . validate -rounds 5

golden: ## rewrite the expected files; review the diff like code
	go test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -update

definitions: ## HL7's R4 definitions, the two files that package fhir embeds, packed anew
	go run ./scripts/definitions

hospital: ## the made-up hospital of the demo, made anew
	go run ./scripts/hospital -o fixtures/riverside
