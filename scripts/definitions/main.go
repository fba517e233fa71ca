// Command definitions compiles HL7's definitions of FHIR R4 (4.0.1) into the table that package fhir embeds.
//
//	go run ./scripts/definitions -in ../shared/data/fhir-r4-definitions -out pipeline/fhir/definitions.bin.gz
//
// It reads the bundles of the standard as HL7 publishes them (each gzipped): the structure definitions of all types
// and resources, the expansions of value sets, value sets and code systems for those that have no expansion, the
// search parameters and the compartment definition of the patient. The same input gives the same bytes. It names on
// stderr which required value sets it could not list.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stderr))
}

func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("definitions", flag.ContinueOnError)
	flags.SetOutput(stderr)
	in := flags.String("in", filepath.Join("..", "shared", "data", "fhir-r4-definitions"), "folder of HL7's gzipped bundles")
	out := flags.String("out", filepath.Join("pipeline", "fhir", "definitions.bin.gz"), "file to write")
	check := flags.Bool("check", false, "write nothing; fail if the file differs from what would be written")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	data, remarks, err := compile(*in)
	for _, remark := range remarks {
		fmt.Fprintln(stderr, remark)
	}
	if err == nil && *check {
		var have []byte
		if have, err = os.ReadFile(*out); err == nil && !samePayload(have, data) {
			err = fmt.Errorf("%s is not what %s makes", *out, *in)
		}
	} else if err == nil {
		err = os.WriteFile(*out, data, 0o644)
	}
	if err != nil {
		fmt.Fprintln(stderr, "definitions:", err)
		return 1
	}
	fmt.Fprintf(stderr, "%s: %d bytes\n", *out, len(data))
	return 0
}

// samePayload compares two tables by the digest of what is in them, so that another version of Go, which may compress
// otherwise, makes no difference.
func samePayload(a, b []byte) bool {
	return len(a) >= headerSize && len(b) >= headerSize && bytes.Equal(a[:headerSize], b[:headerSize])
}

// compile reads the bundles and makes the table.
func compile(dir string) (data []byte, remarks []string, err error) {
	b, err := readBundles(dir)
	if err != nil {
		return nil, nil, err
	}
	t, err := buildTypes(b)
	if err != nil {
		return nil, nil, err
	}
	compartments, err := patientCompartment(b)
	if err != nil {
		return nil, nil, err
	}
	sets, remarks := codeSets(b, t.required())
	data, err = encode(t, sets, compartments)
	return data, remarks, err
}
