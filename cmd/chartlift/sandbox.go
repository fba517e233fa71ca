package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/chartlift/chartlift/pipeline/sandbox"
)

func (a *app) sandboxCommand() *cobra.Command {
	var listen, store, faults, ids string
	var integrity bool
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve an R4 API for rehearsals and tests",
		Long: `Serves FHIR R4 at http://ADDR/fhir until it is interrupted: read, search, create, update, delete, history, batch
and transaction. It keeps everything in memory, or with --store in a file. It knows no passwords: it listens on
loopback unless told otherwise, and is for made-up or rehearsal data only.

--ids says who chooses the ids of resources: "client" lets a PUT make a resource under an id of the client's, as most
servers do on request; "server" refuses that with 405, as others always do, and gives ids of its own to what is POSTed
(s-000001, counted by type). A store remembers which, and does not open under the other rule.

--faults makes it fail as real servers do, repeatably; "chartlift help faults" lists them. --integrity makes it refuse a
resource that refers to one which is not there, as strict servers do.`,
		Example: "  chartlift sandbox\n  chartlift sandbox --listen 127.0.0.1:9090 --store sandbox.log --faults 429:0.05",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ids != "client" && ids != "server" {
				return usagef("--ids is client or server")
			}
			log, err := a.logger()
			if err != nil {
				return err
			}
			server, err := sandbox.New(sandbox.Options{Store: store, Faults: faults, ServerIDs: ids == "server",
				Integrity: integrity, Logger: log})
			if err != nil {
				return usagef("%w", err)
			}
			defer server.Close()
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "http://%s/fhir\n", l.Addr())
			fmt.Fprintln(a.stderr, "serving until interrupted (Ctrl-C)")
			return serve(cmd.Context(), l, server, 5*time.Second)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8090", "address to listen on; port 0 takes a free one")
	cmd.Flags().StringVar(&store, "store", "", "file that keeps the resources between starts")
	cmd.Flags().StringVar(&ids, "ids", "client", "who chooses ids: client or server")
	cmd.Flags().StringVar(&faults, "faults", "", "faults on request")
	cmd.Flags().BoolVar(&integrity, "integrity", false, "refuse a resource that refers to one which is not there")
	return cmd
}

// serve answers requests until ctx is done; being told to stop is a good end. Requests under way have that long to end.
func serve(ctx context.Context, l net.Listener, h http.Handler, grace time.Duration) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if err := server.Shutdown(patience); err != nil {
			stopped <- server.Close()
			return
		}
		stopped <- nil
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
