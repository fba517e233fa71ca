package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

// maxEvalInput bounds the resource that eval reads: no single resource is near it.
const maxEvalInput = 256 << 20

func (a *app) evalCommand() *cobra.Command {
	var table string
	var row int64
	cmd := &cobra.Command{
		Use:   "eval EXPR [FILE]",
		Short: "Try a formula on a resource or on a record",
		Long: `Evaluates a FHIRPath expression over the resource in FILE (JSON; - is stdin), or with --table and --row over a
record of the plan's source, as a mapping would see it. Names are checked strictly.

Each value of the result is a line. With --json: a list of {"type", "value"}, value as FHIRPath's toString(), complex
ones as JSON. The values are printed: this is a tool for whoever may see the data.

Exit: 0 · 2 if the expression is refused; then nothing is on stdout.`,
		Example: `  chartlift eval "name.where(use = 'official').given" patient.json
  chartlift eval "2 + 2"
  chartlift eval "START.date()" --table conditions --row 1`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var values []workbench.EvalValue
			var err error
			switch {
			case table != "" && len(args) > 1:
				return usagef("eval: a FILE or --table, not both")
			case table != "":
				s, openErr := a.open(cmd.Context(), plan.Tables)
				if openErr != nil {
					return openErr
				}
				defer s.Close()
				values, err = workbench.EvalRecord(cmd.Context(), s, table, row, args[0])
			default:
				var data []byte
				if len(args) > 1 {
					if data, err = a.readInput(args[1]); err != nil {
						return err
					}
				}
				values, err = workbench.EvalResource(args[0], data, time.Now())
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(values)
			}
			for _, v := range values {
				fmt.Fprintf(a.stdout, "%s  (%s)\n", v.Value, v.Type)
			}
			if len(values) == 0 {
				fmt.Fprintln(a.stderr, "empty")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&table, "table", "", "evaluate over a record of this table")
	cmd.Flags().Int64Var(&row, "row", 1, "which record of the table, counted from 1")
	return cmd
}

func (a *app) readInput(name string) ([]byte, error) {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usagef("%w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxEvalInput+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxEvalInput {
		return nil, usagef("%s is larger than %d bytes", name, maxEvalInput)
	}
	return data, nil
}
