package sandbox

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// BasePath is where the server's FHIR API begins: http://ADDR/fhir.
const BasePath = "/fhir"

// MaxBody is the greatest body that is read, in bytes, also after unpacking.
const MaxBody = 64 << 20

// Options configure a sandbox. The zero value is a well-behaved server in memory.
type Options struct {
	Store  string // file that keeps the resources; "" for memory only
	Faults string // faults on request; the package comment describes them

	// ServerIDs refuses a PUT to an id that does not exist, and gives ids of the server's own to what is POSTed, counted
	// by type: s-000001. False: clients may choose ids, and a POST gets a random one. A store's file remembers which.
	ServerIDs bool

	// Integrity refuses a resource with a reference to Type/id that does not exist, as some real servers do.
	Integrity bool

	Now    func() time.Time // nil: time.Now
	Logger *zap.Logger      // nil: none. Methods, statuses and counts only
}

// Server is the sandbox. It is an [http.Handler] and may be used concurrently.
type Server struct {
	store   *store
	faults  *faults
	actor   *actor
	bundler *bundler
	now     func() time.Time
	log     *zap.Logger
	started time.Time

	closed   chan struct{}
	closing  sync.Once
	closeErr error
}

// New makes a sandbox and reads its file if it has one. An error says what is wrong with the options, the file or its
// content; a tail of the file that was cut off while it was written is taken away and logged.
func New(o Options) (*Server, error) {
	faults, err := parseFaults(o.Faults)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if err := fhir.LoadDefinitions(); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	st, err := newStore(o.ServerIDs)
	if err != nil {
		return nil, err
	}
	finder := &finder{st, faults}
	actor := &actor{st, faults, finder, o.Integrity, o.Now}
	s := &Server{store: st, faults: faults, actor: actor, bundler: &bundler{st, faults, finder, actor}, now: o.Now, log: o.Logger,
		started: o.Now(), closed: make(chan struct{})}
	if o.Store == "" {
		return s, nil
	}
	l, cut, err := openLog(o.Store, o.ServerIDs, st.replay)
	if err != nil {
		return nil, err
	}
	st.log = l
	if cut > 0 {
		o.Logger.Warn("the sandbox's store ended in a record that was cut off; it was taken away", zap.String("file", o.Store),
			zap.Int64("byte", l.end), zap.Int64("bytes", cut))
	}
	return s, nil
}

// Close closes the file. What hangs by a fault comes to its end. Requests after it fail.
func (s *Server) Close() error {
	s.closing.Do(func() {
		close(s.closed)
		s.store.mu.Lock()
		defer s.store.mu.Unlock()
		if s.store.log != nil {
			s.closeErr = s.store.log.close()
			s.store.log.broken = errors.New("the sandbox is closed")
		}
	})
	return s.closeErr
}

// Writes is how many versions of resources were made since the server was started, deletions included. A dry run leaves
// it as it is.
func (s *Server) Writes() int64 {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	return s.store.writes
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := s.now()
	out := &exchange{server: s, w: w, r: r}
	out.serve()
	s.log.Debug("request", zap.String("method", r.Method), zap.Int("status", out.status), zap.Int("bytes", out.bytes),
		zap.Duration("took", s.now().Sub(started)))
}

// breakOff closes the connection without an answer.
func breakOff(w http.ResponseWriter) bool {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset, as when a process dies
	}
	_ = conn.Close()
	return true
}
