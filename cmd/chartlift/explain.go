package main

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/report"
	"github.com/chartlift/chartlift/pipeline/workbench"
)

func (a *app) explainCommand() *cobra.Command {
	var o workbench.ExplainOptions
	var html string
	cmd := &cobra.Command{
		Use:   "explain TABLE:LINE | TYPE/ID | --key MAPPING",
		Short: "Show what becomes of one record, and why",
		Long: `Maps one record and shows for each mapping of its table what it comes to: mapped, skipped or refused and by which
rule; and for each element of each resource: the formula or literal and where it stands, the cells that it read, what the
concept maps answered, what the PHI policy does with it and by which rule, and what it becomes.

The record is named by its place (of several that begin on one line of a dump #2 is the second); by a resource that the latest run made of it; or by its key on stdin, one part on each
line, for the mapping that --key names. A key is patient data: it is never an argument.

Cells show by their length alone. --show-values shows their text, and is recorded in the audit log if the plan has a
ledger. --html writes a page to FILE; it holds what the other forms hold.

Exit: 0 done · 1 failed · 2 there is no such record.`,
		Example: "  chartlift explain conditions:17\n  chartlift explain Condition/4mlhq2ovm27qitsqrbl4x6dxi2syiqsp --html record.html\n  chartlift explain --key patient --show-values < key.txt",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.explainArgs(&o, args); err != nil {
				return err
			}
			s, err := a.open(cmd.Context(), plan.Tables|plan.Keys|plan.View)
			if err != nil {
				return err
			}
			defer s.Close()
			records, audited, err := workbench.Explain(cmd.Context(), s, o)
			if err != nil {
				return err
			}
			if o.ShowValues {
				said := "the plan has no ledger yet, so it is not recorded"
				if audited {
					said = "the audit log has an entry of it"
				}
				fmt.Fprintf(a.stderr, "values are shown that may be patient data; %s\n", said)
			}
			if html != "" {
				if err := report.WriteRecords(html, records); err != nil {
					return err
				}
			}
			if a.json {
				return a.printJSON(map[string]any{"records": records})
			}
			if html != "" {
				fmt.Fprintln(a.stdout, html)
				return nil
			}
			for i, r := range records {
				if i > 0 {
					fmt.Fprintln(a.stdout)
				}
				if err := report.RecordText(a.stdout, r); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.Mapping, "key", "", "read the record's key for this mapping from stdin, one part on each line")
	cmd.Flags().BoolVar(&o.ShowValues, "show-values", false, "also the texts of cells, which may be patient data; audited")
	cmd.Flags().StringVar(&html, "html", "", "write a page to this file")
	return cmd
}

// explainArgs reads how the record is named.
func (a *app) explainArgs(o *workbench.ExplainOptions, args []string) error {
	switch {
	case (o.Mapping != "") == (len(args) == 1):
		return usagef("explain: name one record: TABLE:LINE, TYPE/ID, or --key MAPPING with the key on stdin")
	case o.Mapping != "":
		lines := bufio.NewScanner(a.stdin)
		for lines.Scan() {
			o.Key = append(o.Key, strings.TrimSuffix(lines.Text(), "\r"))
		}
		return lines.Err()
	}
	if at := strings.LastIndexByte(args[0], ':'); at > 0 {
		text, nth, several := strings.Cut(args[0][at+1:], "#")
		line, err := strconv.ParseInt(text, 10, 64)
		if several && err == nil {
			o.Nth, err = strconv.Atoi(nth)
		}
		if err == nil && line > 0 && (!several || o.Nth > 0) {
			o.Table, o.Line = args[0][:at], line
			return nil
		}
	}
	typ, id, ok := strings.Cut(args[0], "/")
	if !ok || typ == "" || id == "" {
		return usagef("explain: the record is named TABLE:LINE, such as conditions:17, or TYPE/ID; a key comes on stdin with --key")
	}
	o.Type, o.ID = typ, id
	return nil
}
