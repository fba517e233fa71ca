// Command definitions compiles HL7's definitions of FHIR R4 (4.0.1) into the two files that package fhir embeds: the
// table of types, and the package of the standard's own extensions, profiles, value sets and code systems.
//
//	go run ./scripts/definitions -in ../shared/data/fhir-r4-definitions
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
	out := flags.String("out", filepath.Join("pipeline", "fhir", "definitions.bin.gz"), "file to write the table of types to")
	core := flags.String("core", filepath.Join("pipeline", "fhir", "core.bin"), "file to write the package of extensions, profiles, value sets and code systems to")
	check := flags.Bool("check", false, "write nothing; fail if the file differs from what would be written")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	for _, made := range []struct {
		file string
		make func(dir string) (data []byte, remarks []string, err error)
	}{{*out, compile}, {*core, compileCore}} {
		data, remarks, err := made.make(*in)
		for _, remark := range remarks {
			fmt.Fprintln(stderr, remark)
		}
		if err == nil && *check {
			var have []byte
			if have, err = os.ReadFile(made.file); err == nil && !samePayload(have, data) {
				err = fmt.Errorf("%s is not what %s makes", made.file, *in)
			}
		} else if err == nil {
			err = os.WriteFile(made.file, data, 0o644)
		}
		if err != nil {
			fmt.Fprintln(stderr, "definitions:", err)
			return 1
		}
		fmt.Fprintf(stderr, "%s: %d bytes\n", made.file, len(data))
	}
	return 0
}

// samePayload compares two files, each a magic of eight bytes and a digest before the rest, by the digest of what is in them, so that another version of Go, which may compress
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
