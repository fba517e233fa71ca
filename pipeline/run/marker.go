package run

import (
	"context"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/plan"
)

// A target belongs to the ledger that first loaded into it: the ledger knows what is there, what is in doubt and what
// may be undone, and a second one would load the same records under the same ids without knowing any of it. So the
// first run leaves a marker in the target that names the migration and the ledger, before it sends anything else.

// markers marks targets as those of one migration and ledger.
type markers struct {
	migration, ledger string
	shown             string // the ledger as people know it
}

func marking(s *plan.Session) *markers {
	return &markers{migration: s.Plan.Migration, ledger: s.Ledger.ID(), shown: s.Plan.LedgerPlace()}
}

// check refuses a target of which another ledger has marked a server.
func (m *markers) check(ctx context.Context, stores []plan.Store) error {
	for _, store := range stores {
		if _, err := m.checkStore(ctx, store); err != nil {
			return err
		}
	}
	return nil
}

// checkStore refuses a server that another ledger has marked, and tells whether ours has.
func (m *markers) checkStore(ctx context.Context, target load.Store) (marked bool, err error) {
	found, marked, err := target.Marker(ctx)
	if err != nil {
		return false, fmt.Errorf("target %s: %w", target.Identity(), err)
	}
	if marked && (found.Migration != m.migration || found.Ledger != m.ledger) {
		return true, plan.Usagef("target %s is loaded from another ledger: its marker names migration %q and ledger %s, this ledger (%s) is %s; "+
			"use that ledger, or load into an empty target", target.Identity(), found.Migration, found.Ledger, m.shown, m.ledger)
	}
	return marked, nil
}

// claim marks each server of the target as ours, unless it is already. The marker is read again after it was
// written, and once more before the first resource is sent, so that two who begin at one time do not both go on.
func (m *markers) claim(ctx context.Context, stores []plan.Store) error {
	if err := m.check(ctx, stores); err != nil {
		return err // before any of several servers is marked
	}
	for _, store := range stores {
		marked, err := m.checkStore(ctx, store)
		if err != nil {
			return err
		}
		if marked {
			continue
		}
		if err := store.SetMarker(ctx, load.Marker{Migration: m.migration, Ledger: m.ledger}); err != nil {
			return fmt.Errorf("target %s: %w", store.Identity(), err)
		}
		if marked, err = m.checkStore(ctx, store); err != nil {
			return err
		}
		if !marked {
			return fmt.Errorf("target %s: the marker of this migration was written, and is not there", store.Identity())
		}
	}
	return nil
}
