package pipeline

import (
	"context"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/load"
)

// A target belongs to the ledger that first loaded into it: the ledger knows what is there, what is in doubt and what
// may be undone, and a second one would load the same records under the same ids without knowing any of it. So the
// first run leaves a marker in the target that names the migration and the ledger, before it sends anything else.

// checkMarkers refuses a target of which another ledger has marked a server.
func (s *Session) checkMarkers(ctx context.Context, target load.Target) error {
	for _, store := range target.Stores() {
		if _, err := s.checkMarker(ctx, store); err != nil {
			return err
		}
	}
	return nil
}

// checkMarker refuses a server that another ledger has marked, and tells whether ours has.
func (s *Session) checkMarker(ctx context.Context, target load.Store) (marked bool, err error) {
	found, marked, err := target.Marker(ctx)
	if err != nil {
		return false, fmt.Errorf("target %s: %w", target.Identity(), err)
	}
	if marked && (found.Migration != s.Plan.Migration || found.Ledger != s.Ledger.ID()) {
		return true, usagef("target %s is loaded from another ledger: its marker names migration %q and ledger %s, this ledger (%s) is %s; "+
			"use that ledger, or load into an empty target", target.Identity(), found.Migration, found.Ledger, s.Plan.ledgerPlace(), s.Ledger.ID())
	}
	return marked, nil
}

// claimTarget marks each server of the target as ours, unless it is already. The marker is read again after it was
// written, and once more before the first resource is sent, so that two who begin at one time do not both go on.
func (s *Session) claimTarget(ctx context.Context, target load.Target) error {
	if err := s.checkMarkers(ctx, target); err != nil {
		return err // before any of several servers is marked
	}
	for _, store := range target.Stores() {
		marked, err := s.checkMarker(ctx, store)
		if err != nil {
			return err
		}
		if marked {
			continue
		}
		if err := store.SetMarker(ctx, load.Marker{Migration: s.Plan.Migration, Ledger: s.Ledger.ID()}); err != nil {
			return fmt.Errorf("target %s: %w", store.Identity(), err)
		}
		if marked, err = s.checkMarker(ctx, store); err != nil {
			return err
		}
		if !marked {
			return fmt.Errorf("target %s: the marker of this migration was written, and is not there", store.Identity())
		}
	}
	return nil
}
