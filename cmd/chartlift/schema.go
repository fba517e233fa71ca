package main

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/plan"
)

func (a *app) schemaCommand() *cobra.Command {
	kinds := strings.Join(plan.Schemas(), "|")
	return &cobra.Command{
		Use:   "schema [" + kinds + "]",
		Short: "Write a JSON Schema, with which an editor completes and checks what you write",
		Long: `Writes the JSON Schema (draft 2020-12) of one kind of file to stdout: of mappings (the default), of a pack's
pack.yaml, of its fragments, of cases, or of the plan. The schema of mappings knows every element, choice and required
code of R4 for the type in "to:".

An editor with the YAML language server reads it by a first line such as

    # yaml-language-server: $schema=../mapping.schema.json

or for all files of a folder by its setting yaml.schemas. A schema sees one file: columns, formulas, concept maps and
other mappings are what "chartlift check" is for.

Exit: 0 written · 2 there is no such schema.`,
		Example: "  chartlift schema > mapping.schema.json\n  chartlift schema plan > plan.schema.json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			kind := plan.Schemas()[0]
			if len(args) > 0 {
				kind = args[0]
			}
			schema, ok := plan.Schema(kind)
			if !ok {
				return usagef("there is no schema %q; there are %s", kind, strings.Join(plan.Schemas(), ", "))
			}
			return json.NewEncoder(a.stdout).Encode(schema)
		},
	}
}
