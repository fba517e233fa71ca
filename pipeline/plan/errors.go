package plan

import (
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// Faults is all that is wrong with a plan or with mappings, each with file, line and column.
type Faults = document.Faults

// ErrUsage marks errors that the user mends by calling otherwise or by changing the plan: exit code 2.
var ErrUsage = errors.New("usage")

type usageError struct{ error }

func (usageError) Is(target error) bool { return target == ErrUsage }

// Usage marks an error as ErrUsage.
func Usage(err error) error { return usageError{err} }

// Usagef makes an error that is ErrUsage.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
