package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/chartlift/chartlift/pipeline/plan"
)

// The exit codes, the same for every command; `chartlift help exit-codes` explains them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitReview      = 3
	exitInterrupted = 130
)

// version is set by the linker in a release.
var version = "development"

// app is one execution of the program: its streams and the flags that every command has.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	plan     string
	json     bool
	logLevel string
	quiet    bool
}

// errReview says that a command finished and that somebody has to look at what it found: exit 3, nothing more printed.
var errReview = errors.New("finished, with something to review")

// errSilent says that a command failed, or shows a run that did, and has already said why.
var errSilent = errors.New("failed")

// errInterrupted says that the run which the command shows was interrupted: exit 130, nothing more printed.
var errInterrupted = errors.New("interrupted")

// usageError is a wrong call: exit 2.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// fail prints an error once and turns it into an exit code. It is the only place that does either.
func (a *app) fail(ctx context.Context, err error) int {
	var faults plan.Faults
	var usage usageError
	switch {
	case errors.Is(err, errReview):
		return exitReview
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(a.stderr, "interrupted; the same command again goes on where this one stopped")
		return exitInterrupted
	case errors.As(err, &faults):
		for _, f := range faults {
			fmt.Fprintln(a.stderr, f)
		}
		fmt.Fprintf(a.stderr, "%s; nothing was done\n", plural(len(faults), "fault"))
		return exitUsage
	case errors.As(err, &usage), errors.Is(err, plan.ErrUsage):
		fmt.Fprintln(a.stderr, "chartlift:", err)
		return exitUsage
	}
	fmt.Fprintln(a.stderr, "chartlift:", err)
	return exitFailed
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// root builds the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "chartlift",
		Short: "Move patient records into a FHIR R4 API, and prove that they arrived",
		Long: `Chartlift moves patient records out of legacy systems into a FHIR R4 API, separates and encrypts
protected health information on the way, and proves by reading back that everything arrived.

New here? "chartlift demo" runs a made-up hospital from export to report, and needs nothing.
Then: "chartlift help start".`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
	}
	root.Args = cobra.ArbitraryArgs // an unknown command is a wrong call, as any other
	root.SuggestionsMinimumDistance = 2
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := "; `chartlift help` lists them"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf(" (did you mean %q?)", near[0])
		}
		return usagef("there is no command %q%s", args[0], hint)
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see `chartlift help %s`", err, cmd.Name())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	// cobra shows topics as if they were commands.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{rpad .CommandPath .CommandPathPadding}} {{.Short}}",
		"chartlift help {{rpad .Name 12}} {{.Short}}", 1))
	flags := root.PersistentFlags()
	flags.StringVarP(&a.plan, "file", "f", "migration.yaml", "the plan")
	flags.BoolVar(&a.json, "json", false, "one JSON document on stdout, and nothing else there")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "no progress")
	flags.StringVar(&a.logLevel, "log-level", "warn", "what is logged to stderr: debug, info, warn, error")
	root.AddCommand(
		a.demoCommand(), a.initCommand(), a.profileCommand(), a.checkCommand(), a.testCommand(), a.explainCommand(), a.evalCommand(), a.validateCommand(), a.dryRunCommand(), a.runCommand(),
		a.statusCommand(), a.reconcileCommand(), a.reportCommand(), a.exportCommand(), a.keysCommand(), a.auditCommand(), a.sandboxCommand(),
		a.terminologyCommand(), a.schemaCommand(),
	)
	a.addTopics(root)
	for _, cmd := range root.Commands() {
		guard(cmd)
	}
	return root
}

// guard makes wrong arguments usage errors, also below groups of commands.
func guard(cmd *cobra.Command) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return usagef("%w; see `chartlift help %s`", err, strings.TrimPrefix(cmd.CommandPath(), "chartlift "))
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		guard(c)
	}
}

// logger writes to stderr, in the form that a terminal's reader or a collector can take. No field of it is ever a
// patient's value: types that hold one print as [redacted].
func (a *app) logger() (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(a.logLevel)
	if err != nil {
		return nil, usagef("--log-level: %q is not debug, info, warn or error", a.logLevel)
	}
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.RFC3339TimeEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(config), zapcore.Lock(zapcore.AddSync(a.stderr)), level)
	return zap.New(core), nil
}

// operator is the name that the audit log records: $CHARTLIFT_OPERATOR, else the user of this machine.
func operator() string {
	if name := os.Getenv("CHARTLIFT_OPERATOR"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "unknown"
}

// open reads the plan and all it names.
func (a *app) open(ctx context.Context, access plan.Access) (*plan.Session, error) {
	log, err := a.logger()
	if err != nil {
		return nil, err
	}
	return plan.Open(ctx, a.plan, plan.Options{
		Access:   access,
		Operator: operator(),
		Logger:   log,
		Now:      time.Now,
		Progress: a.progress(),
		Version:  version,
	})
}

// printJSON writes one document with a line end.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printLine writes one document on one line.
func (a *app) printLine(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// isTerminal tells whether a stream is a person's screen.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
