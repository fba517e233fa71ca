package plan

import (
	"context"
	"os"
	"path/filepath"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/terminology"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// ReadCodes reads code systems and value sets; nil if there is no file.
func ReadCodes(ctx context.Context, files []string) (*terminology.Definitions, Faults) {
	if len(files) == 0 {
		return nil, nil
	}
	// All are read together, since the tables of one release of SNOMED CT may be named one by one; so they are named
	// from the root that they share.
	var root string
	paths := make([]string, len(files))
	for i, f := range files {
		full, err := filepath.Abs(f)
		if err != nil {
			return nil, Faults{{File: f, Message: err.Error()}}
		}
		root = filepath.VolumeName(full) + string(filepath.Separator)
		paths[i] = filepath.ToSlash(full[len(root):])
	}
	return terminology.ReadFiles(ctx, os.DirFS(root), paths...)
}

// StoreOf is what R4, packages and the user's own files say of codes; of two definitions of one thing the later counts.
func StoreOf(packages []*fhir.Package, codes *terminology.Definitions) *terminology.Store {
	store := terminology.NewStore(append([]*fhir.Package{fhir.Core()}, packages...)...)
	if codes != nil {
		store.Add(codes)
	}
	return store
}

// ValidatorOf is a validator of packages, R4's own behind them.
func ValidatorOf(store *terminology.Store, packages []*fhir.Package) *validate.Validator {
	return validate.New(store, append(packages[:len(packages):len(packages)], fhir.Core())...)
}
