// Command chartlift moves patient records out of legacy systems into a FHIR R4 API, and proves that they arrived.
//
// One file holds one command: its flags, its help and what it does. Results go to stdout; progress, notes and faults go
// to stderr, so that `chartlift … --json | jq` always works.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		// The first signal asks; after it the default is back, so a second one ends the program at once.
		<-ctx.Done()
		stop()
	}()
	code := chartlift(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// chartlift is the whole program; tests call it as main does. It returns the exit code.
func chartlift(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	return a.fail(ctx, err)
}
