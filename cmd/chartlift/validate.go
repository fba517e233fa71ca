package main

import (
	"bufio"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/validate"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

func (a *app) validateCommand() *cobra.Command {
	o := workbench.ValidateOptions{Stdin: a.stdin}
	cmd := &cobra.Command{
		Use:   "validate FILE…",
		Short: "Judge resources against R4 and the profiles of guides",
		Long: `Judges every resource in the files against FHIR R4 and the profiles that it claims in meta.profile: structure,
cardinality, choices, the forms of primitives, bindings, targets of references, invariants, fixed values, patterns,
slices and extensions. A file is one resource as JSON, or NDJSON with one a line; either may be gzipped. - is stdin.

Profiles, extensions and value sets come from R4 itself and from what is given with --guide: a FHIR package (.tgz), a
folder of definitions, or a single one (.json). What cannot be judged because its definition is not at hand is "not
checked": it is listed once at the end, and counts neither as an error nor as passed.

Each issue is a line, file:line:column: severity: path: what is wrong (rule, profile). No value of the resource is
shown. With --json: one OperationOutcome for each resource, as NDJSON in their order, for what is not JSON too.

The same rules judge what mappings make in dry-run and run. "chartlift help validation" explains them.

Exit: 0 no error (warnings may be there) · 2 wrong usage, a guide or file that cannot be read · 3 a resource has an error.`,
		Example: `  chartlift validate patient.json
  chartlift validate --guide hl7.fhir.us.core-6.1.0.tgz out/[A-Z]*.ndjson
  chartlift validate --guide profiles/ --guide levels.json observation.json
  chartlift validate --profile http://hl7.org/fhir/StructureDefinition/bp bp.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			o.Progress = a.progress()
			return a.validate(cmd, files, o)
		},
	}
	cmd.Flags().StringArrayVar(&o.Codes, "terminology", nil, "a file or folder of code systems and value sets (FHIR JSON, CSV, SNOMED CT RF2, Loinc.csv, RXNCONSO.RRF); may be given several times")
	cmd.Flags().StringArrayVarP(&o.Guides, "guide", "g", nil, "profiles, extensions and value sets: a FHIR package (.tgz), a folder of *.json, or a .json; may be given several times")
	cmd.Flags().StringArrayVar(&o.Profiles, "profile", nil, "URL of a profile that every resource is asked to conform to; may be given several times")
	cmd.Flags().IntVar(&o.Workers, "workers", 0, "resources judged at once (default: one per core)")
	return cmd
}

func (a *app) validate(cmd *cobra.Command, files []string, o workbench.ValidateOptions) error {
	out := bufio.NewWriter(a.stdout)
	resources, bad, warned := 0, 0, 0
	var buf []byte
	unchecked, err := workbench.ValidateFiles(cmd.Context(), files, o, func(v *workbench.Validated) error {
		resources++
		issues := make([]validate.Issue, len(v.Issues))
		for i := range v.Issues {
			issues[i] = v.Issues[i].Issue
		}
		switch {
		case validate.HasError(issues):
			bad++
		case len(issues) > 0:
			warned++
		}
		if a.json {
			var err error
			if buf, err = fhir.AppendDocument(buf[:0], validate.Outcome(issues)); err != nil {
				return err
			}
			_, err = out.Write(append(buf, '\n'))
			return err
		}
		for _, x := range v.Issues {
			fmt.Fprintf(out, "%s:%d:%d: %s\n", v.File, x.Line, x.Column, &x.Issue)
		}
		return nil
	})
	if err = errors.Join(err, out.Flush()); err != nil {
		return err
	}
	for _, u := range unchecked {
		fmt.Fprintf(a.stderr, "not checked: %s %s, %s: %s\n", u.Kind, u.Name, plural(int(u.Count), "time"), u.Why)
	}
	summary := fmt.Sprintf("%s: %d with an error, %d with warnings only", plural(resources, "resource"), bad, warned)
	if a.json {
		fmt.Fprintln(a.stderr, summary)
	} else {
		fmt.Fprintln(a.stdout, summary)
	}
	if bad > 0 {
		return errReview
	}
	return nil
}
