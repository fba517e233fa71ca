package profile

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/sourcegraph/conc/pool"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// Source is one source to look into.
type Source struct {
	Source extract.Source
	Tables []*extract.Table
	Blank  []string // texts that count as empty, besides white space
}

// Progress is told how far the reading is. Its methods may be called concurrently.
type Progress interface {
	// Stage begins a pass over the tables; total is in the unit, 0 if unknown.
	Stage(name, unit string, total int64)
	// Add says that so much more is read.
	Add(n int64)
	// Done ends the pass.
	Done()
}

// Options of a profile. The zero value of each is its default.
type Options struct {
	ShowValues bool // also values seen for few patients, and of columns that look like PHI
	Workers    int  // shards that are read at once; 0: one per core. It does not change the profile
	Progress   Progress
	// Digest, if set, names values that may not be shown, for a Baseline: by a key that lies apart from it.
	Digest func(text string) string
}

// The hashes that samples may hold, see the package comment.
const (
	allHashes   = 1 << 22
	mostHashes  = 1 << 16
	leastHashes = 1 << 10
)

// Run reads all tables of the sources and says what is in them. Records that cannot be read are counted by rule and do
// not stop it; any other error of a source does, and ctx.
func Run(ctx context.Context, sources []Source, o Options) (*Profile, error) {
	s := &scanner{options: o}
	if s.options.Workers <= 0 {
		s.options.Workers = runtime.GOMAXPROCS(0)
	}
	if s.options.Progress == nil {
		s.options.Progress = silent{}
	}
	columns := 0
	for _, source := range sources {
		for _, t := range source.Tables {
			columns += len(t.Columns)
		}
	}
	s.limit = mostHashes
	for s.limit > leastHashes && s.limit*columns > allHashes {
		s.limit /= 2
	}
	for _, source := range sources {
		for _, t := range source.Tables {
			s.tables = append(s.tables, &job{source: source, state: newTable(t, source.Blank, s.limit)})
		}
	}
	slices.SortStableFunc(s.tables, func(a, b *job) int {
		return slices.Compare([]string{a.state.of.Source, a.state.of.Name}, []string{b.state.of.Source, b.state.of.Name})
	})
	if err := s.cut(ctx); err != nil {
		return nil, err
	}
	if err := s.gather(ctx); err != nil {
		return nil, err
	}
	p := s.profile()
	if err := s.pairs(ctx, p); err != nil {
		return nil, err
	}
	return p, nil
}

type silent struct{}

func (silent) Stage(string, string, int64) {}
func (silent) Add(int64)                   {}
func (silent) Done()                       {}

// scanner reads the tables of one profile.
type scanner struct {
	options Options
	limit   int // hashes in a column's sample
	tables  []*job
}

// job is one table to read.
type job struct {
	source Source
	shards []extract.Shard
	mu     sync.Mutex // over state
	state  *table
}

func (j *job) bytes() (n int64) {
	for _, s := range j.shards {
		n += s.Bytes
	}
	return n
}

func (s *scanner) pool(ctx context.Context) *pool.ContextPool {
	return pool.New().WithContext(ctx).WithCancelOnError().WithFirstError().WithMaxGoroutines(s.options.Workers)
}

// cut splits every table into shards.
func (s *scanner) cut(ctx context.Context) error {
	p := s.pool(ctx)
	for _, j := range s.tables {
		p.Go(func(ctx context.Context) (err error) {
			if j.shards, err = j.source.Source.Shards(ctx, j.state.of); err != nil {
				return fmt.Errorf("table %s: %w", j.state.of.Name, err)
			}
			return nil
		})
	}
	return p.Wait()
}

// gather reads every shard once.
func (s *scanner) gather(ctx context.Context) error {
	return s.pass(ctx, "profile", s.tables, func(ctx context.Context, j *job, shard extract.Shard) error {
		t := newTable(j.state.of, j.source.Blank, s.limit)
		if err := j.read(ctx, shard, t.add, t.refuse); err != nil {
			return err
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.state.merge(t)
		return nil
	})
}

// pass goes over the shards of some tables, several at once.
func (s *scanner) pass(ctx context.Context, name string, jobs []*job, do func(context.Context, *job, extract.Shard) error) error {
	var total int64
	for _, j := range jobs {
		total += j.bytes()
	}
	s.options.Progress.Stage(name, "bytes", total)
	defer s.options.Progress.Done()
	p := s.pool(ctx)
	for _, j := range jobs {
		for _, shard := range j.shards {
			p.Go(func(ctx context.Context) error {
				if err := ctx.Err(); err != nil {
					return err // another has failed: its error is the first
				}
				if err := do(ctx, j, shard); err != nil {
					return fmt.Errorf("table %s: %w", j.state.of.Name, err)
				}
				s.options.Progress.Add(shard.Bytes)
				return nil
			})
		}
	}
	return p.Wait()
}

// read reads one shard to its end.
func (j *job) read(ctx context.Context, shard extract.Shard, add func(*extract.Record), refuse func(*extract.Fault)) error {
	var done extract.Digest
	for r, err := range j.source.Source.Read(ctx, shard, &done) {
		var fault *extract.Fault
		switch {
		case err == nil:
			add(r)
		case errors.As(err, &fault):
			refuse(fault)
		default:
			return err
		}
	}
	if !done.Complete {
		return fmt.Errorf("piece %d could not be read to its end", shard.Index+1)
	}
	return nil
}
