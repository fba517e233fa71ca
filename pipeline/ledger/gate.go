package ledger

import (
	"context"
	"fmt"
	"strings"
)

// Gate is a limit that was set before the run, what was found, and whether it holds. Limit and Value are texts as
// people read them: "0.1%", "50", "0".
type Gate struct {
	Name  string `json:"name"`
	Limit string `json:"limit"`
	Value string `json:"value"`
	Met   bool   `json:"met"`
}

// SetGates replaces the gates of a run; their order is kept.
func (l *Ledger) SetGates(ctx context.Context, run string, gates []Gate) error {
	return l.write(ctx, "set gates", func(tx handle) error {
		seq, err := lockRun(ctx, tx, run)
		if err != nil {
			return err
		}
		if err := setGates(ctx, tx, seq, gates); err != nil {
			return err
		}
		return l.audit(ctx, tx, "gates set", run+", "+verdict(gates))
	})
}

func setGates(ctx context.Context, tx handle, run int64, gates []Gate) error {
	if _, err := tx.exec(ctx, "DELETE FROM gates WHERE run = ?", run); err != nil {
		return err
	}
	for i, g := range gates {
		if _, err := tx.exec(ctx, "INSERT INTO gates (run, position, name, bound, value, met) VALUES (?, ?, ?, ?, ?, ?)", run, i, g.Name, g.Limit, g.Value, g.Met); err != nil {
			return err
		}
	}
	return nil
}

// verdict says in an audit record how the gates stand.
func verdict(gates []Gate) string {
	var unmet []string
	for _, g := range gates {
		if !g.Met {
			unmet = append(unmet, fmt.Sprintf("%s %s over %s", g.Name, g.Value, g.Limit))
		}
	}
	if len(unmet) == 0 {
		return fmt.Sprintf("all %d gates met", len(gates))
	}
	return fmt.Sprintf("%d of %d gates not met: %s", len(unmet), len(gates), strings.Join(unmet, "; "))
}
