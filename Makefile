# What a newcomer needs: `make demo` and `make test`. Everything here needs Go alone.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0

.PHONY: build test lint bench demo golden definitions hospital

build: ## the binary, as ./chartlift
	go build -trimpath -o chartlift ./cmd/chartlift

test: ## all tests that need Go alone; then, without the long ones, once more under the race detector
	go test -timeout 60m ./...
	go test -race -short -timeout 60m ./cmd/... ./mappings/... ./fixtures/... ./scripts/...
	RAPID_CHECKS=500 go test -race -short -timeout 60m ./pipeline/... # -short draws a fifth, so the usual 100

lint: ## formatting, vet, staticcheck
	@unformatted=$$(gofmt -l cmd pipeline mappings fixtures scripts); test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

demo: build ## a made-up hospital from export to signed-off report, in seconds
	./chartlift demo

bench: build ## the engine beside the yardstick, interleaved, one core
	go run ./scripts/bench

golden: ## rewrite the expected files; review the diff like code
	go test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -update

definitions: ## HL7's R4 definitions, packed anew
	go run ./scripts/definitions

hospital: ## the made-up hospital of the demo, made anew
	go run ./scripts/hospital -o fixtures/riverside
