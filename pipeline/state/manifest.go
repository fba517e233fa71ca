package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// The manifest is a block file without blocks; what it says stands in its head, as JSON.

const (
	manifestName   = "state"
	manifestMagic  = "CLSTMAN2"
	filePrefix     = "state."
	patientsSuffix = ".patients"
)

type manifest struct {
	Generation int64  `json:"generation"` // merges up to now; in a manifest of generation 0 no merge has ended yet
	Digest     string `json:"digest"`
	Before     string `json:"before,omitempty"` // the digest of the generation before
	Recorded   Known  `json:"recorded"`         // what the ledger knew when the process that merged opened the state
	Count      int64  `json:"count"`
	Placements file   `json:"placements"`
	Patients   file   `json:"patients"`

	there bool // whether it was read, or is what there is before the first merge
}

func fileName(generation int64) string { return fmt.Sprintf("%s%08d", filePrefix, generation) }

// isFile tells whether a name is one that fileName gives, for placements or patients.
func isFile(name string) bool {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(name, patientsSuffix), filePrefix)
	n, err := strconv.ParseInt(digits, 10, 64)
	return ok && err == nil && n >= 0 && fileName(n) == strings.TrimSuffix(name, patientsSuffix)
}

func (h Home) writeManifest(ctx context.Context, m manifest) error {
	key, err := h.key(manifestName)
	if err != nil {
		return err
	}
	meta, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return stage.WriteFile(ctx, h.Place, manifestName, func(out io.Writer) error {
		w, err := blockfile.NewWriter(out, manifestMagic, meta, key)
		if err != nil {
			return err
		}
		return w.End(0, 0)
	})
}

// readManifest reads the manifest. Without one it is that of an empty state, unless there are other files.
func (h Home) readManifest(ctx context.Context) (m manifest, err error) {
	f, err := h.Place.Open(ctx, manifestName)
	if errors.Is(err, fs.ErrNotExist) {
		names, err := h.Place.List(ctx, filePrefix)
		if err != nil {
			return m, err
		}
		for _, name := range names {
			if isFile(name) {
				return m, &blockfile.Damage{File: manifestName, What: "the file is missing, and " + name + " is there", Cause: fs.ErrNotExist}
			}
		}
		return manifest{Digest: emptyDigest()}, nil
	}
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if isOld(f) {
		return m, ErrOldForm
	}
	key, err := h.key(manifestName)
	if err != nil {
		return m, err
	}
	r, err := blockfile.Open(f, f.Size(), manifestName, manifestMagic, key)
	if err != nil {
		return m, err
	}
	if _, err := r.Next(); err != io.EOF {
		if err == nil {
			err = r.Damage(r.Offset(), "it has blocks")
		}
		return m, err
	}
	d := json.NewDecoder(bytes.NewReader(r.Meta()))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, r.Damage(blockfile.MagicBytes, "what it says cannot be read")
	}
	m.there = true
	return m, nil
}

// Renew begins a state anew, empty, in the place of one that is lost. Its generations go on from what the ledger knows, so
// that the ledger takes the next one for newer. Nobody may be merging.
func (h Home) Renew(ctx context.Context, after Known) (*State, error) {
	m := manifest{Generation: after.Generation, Digest: emptyDigest()}
	if err := h.writeManifest(ctx, m); err != nil {
		return nil, err
	}
	return h.Open(ctx, Known{})
}
