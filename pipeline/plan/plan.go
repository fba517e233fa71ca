package plan

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/extract/csv"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

// Plan is a migration.yaml as read: names and limits, nothing opened yet. Paths are absolute.
type Plan struct {
	File string // as the user named it; faults are shown with it
	Dir  string // the plan's folder

	Migration string
	Sources   []Source // in the order of the file
	Mappings  []string // packs by name, or folders (they hold a slash)
	Guides    []string // FHIR packages
	Codes     []string // files and folders of code systems and value sets
	PHI       PHI
	Clinical  *Target
	Identity  *Target
	Waves     []Wave
	Gates     []Limit
	Ledger    string // sqlite: and an absolute path, or postgres://…, which is a secret
	Stage     string // folder
	Live      time.Time
	Vanished  string             // what becomes of what the source no longer has: one of the Vanished constants
	Unused    map[string]string  // tables no mapping reads, with the reason
	Constants []mapping.Constant // in place of the packs' own

	nodes map[string]*yaml.Node // where each part stands, for faults found later
}

// PHI says what is protected, how it travels and where the key-encryption key lies.
type PHI struct {
	Policy   string
	Delivery string
	AsOf     string // the day on which ages count, YYYY-MM-DD; "" if the plan names none
	Keys     string // URI of the key-encryption key; file: paths are absolute
	KeyStore string // where keyring and key store lie, file:FOLDER with an absolute path; "": beside a KEK in a file
}

// Target is one FHIR API. Token names an environment variable or file that holds a bearer token; the plan never
// holds the token itself.
type Target struct {
	Kind      string // fhir, sandbox
	URL       string
	TokenEnv  string
	TokenFile string
	Bundle    int  // entries in a Bundle; 0: the kind's own default
	Parallel  int  // requests at once; 0: the kind's own default
	ServerIDs bool // resources get ids of the server's own, whatever it says of itself
}

// Wave is a set of patients cut over together: by a formula over the rows of the Patient mapping, by a file of keys,
// or (neither) all that no earlier wave took.
type Wave struct {
	Name    string
	Formula string
	File    string
	Node    *yaml.Node
}

// Limit is a gate of the plan's own: at most Value (a count, or a share of the records read if Share).
type Limit struct {
	Name  string
	Text  string // as written, "0.1%" or "50"
	Value float64
	Share bool
}

// What a plan may say of resources that are in the target, and that no record of the source makes any more.
const (
	VanishedReport = "report" // name them, and leave them as they are
	VanishedDelete = "delete" // delete them, unless somebody has changed them
	VanishedMark   = "mark"   // say in them that they were entered in error, or tag them where the type cannot say so
)

// Deliveries, policies and gates that a plan may name.
var (
	deliveries = []string{DeliverIdentified, DeliverSplit, DeliverSealed, DeliverDeidentified}
	gateNames  = []string{"refused", "rejected", "missing", "different", "unexpected", "vanished", "in-doubt", "held", "not-compared", "unmapped-codes", "findings"}
)

var (
	migrationForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	variableForm  = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
)

// Read reads a plan. All that is wrong is answered at once, as document.Faults; a file that cannot be read is an
// error of its own.
func Read(path string) (*Plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, document.Faults{{File: path, Message: "there is no such plan", Hint: "`chartlift help plan` shows one; -f names another file"}}
		}
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	root, faults := document.Parse(path, data)
	if root == nil && len(faults) == 0 {
		faults = document.Faults{{File: path, Message: "the plan is empty", Hint: "`chartlift help plan` shows one"}}
	}
	if root == nil {
		return nil, faults
	}
	p := &Plan{File: path, Dir: dir, nodes: map[string]*yaml.Node{}, Unused: map[string]string{}}
	r := &reader{plan: p, faults: faults}
	r.root(root)
	if len(r.faults) > 0 {
		return nil, r.faults.Sort()
	}
	return p, nil
}

// reader walks the nodes of a plan and gathers faults.
type reader struct {
	plan   *Plan
	faults document.Faults
	asked  func(what string, keys []string) // if set, is told which keys each object may have
}

func (r *reader) fault(n *yaml.Node, hint, format string, args ...any) {
	f := document.At(r.plan.File, n, format, args...)
	f.Hint = hint
	r.faults = append(r.faults, f)
}

// keys calls the function of each key of a mapping node; a key that has none is a fault with the nearest right name.
func (r *reader) keys(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "", "%s must be keys with values", what)
		return
	}
	names := slices.Sorted(maps.Keys(known))
	if r.asked != nil {
		r.asked(what, names)
	}
	for _, p := range document.Pairs(n) {
		if read, ok := known[p.Key]; ok {
			read(p.Value)
			continue
		}
		hint := document.Hint(p.Key, names)
		if hint == "" {
			hint = "known: " + strings.Join(names, ", ")
		}
		r.fault(p.Node, hint, "%s has no key %q", what, p.Key)
	}
}

// text reads a scalar and puts in what the environment holds for ${NAME}.
func (r *reader) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || document.IsNull(n) {
		r.fault(n, "", "%s must be a text", what)
		return ""
	}
	return variableForm.ReplaceAllStringFunc(n.Value, func(m string) string {
		name := m[2 : len(m)-1]
		value, ok := os.LookupEnv(name)
		if !ok {
			r.fault(n, "export it before the run", "the environment variable %s is not set", name)
		}
		return value
	})
}

func (r *reader) texts(n *yaml.Node, what string) []string {
	if n.Kind != yaml.SequenceNode {
		return []string{r.text(n, what)}
	}
	var out []string
	for _, c := range n.Content {
		if c.Kind == yaml.ScalarNode && c.Value == "" && c.Style != 0 {
			out = append(out, "")
			continue
		}
		out = append(out, r.text(c, "an entry of "+what))
	}
	return out
}

func (r *reader) word(n *yaml.Node, what string, words ...string) string {
	text := r.text(n, what)
	if text != "" && !slices.Contains(words, text) {
		r.fault(n, document.Hint(text, words), "%s must be %s", what, strings.Join(words, " or "))
		return ""
	}
	return text
}

func (r *reader) character(n *yaml.Node, what string) rune {
	c, err := csv.Character(r.text(n, what))
	if err != nil {
		r.fault(n, "", "%s %v", what, err)
	}
	return c
}

func (r *reader) counts(n *yaml.Node, what string, most int) (out []int) {
	if n.Kind != yaml.SequenceNode {
		return []int{r.count(n, what, most)}
	}
	for _, c := range n.Content {
		out = append(out, r.count(c, what, most))
	}
	return out
}

func (r *reader) duration(n *yaml.Node, what string) time.Duration {
	d, err := time.ParseDuration(r.text(n, what))
	if err != nil || d <= 0 {
		r.fault(n, "such as 30s or 10m", "%s must be a length of time", what)
		return 0
	}
	return d
}

func (r *reader) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(r.plan.Dir, p)
}

func (r *reader) root(root *yaml.Node) {
	p := r.plan
	seen := map[string]bool{}
	at := func(name string, read func(*yaml.Node)) func(*yaml.Node) {
		return func(n *yaml.Node) { seen[name] = true; p.nodes[name] = n; read(n) }
	}
	r.keys(root, "a plan", map[string]func(*yaml.Node){
		"migration": at("migration", func(n *yaml.Node) {
			p.Migration = r.text(n, "migration")
			if p.Migration != "" && !migrationForm.MatchString(p.Migration) {
				r.fault(n, "", "a migration's name has letters, digits, dots, dashes and underscores, at most 64")
			}
		}),
		"sources":  at("sources", sourceReader{r}.sources),
		"mappings": at("mappings", r.mappings),
		"guides": at("guides", func(n *yaml.Node) {
			for _, g := range r.texts(n, "guides") {
				p.Guides = append(p.Guides, r.path(g))
			}
		}),
		"terminology": at("terminology", func(n *yaml.Node) {
			for _, f := range r.texts(n, "terminology") {
				p.Codes = append(p.Codes, r.path(f))
			}
		}),
		"phi":           at("phi", r.phi),
		"targets":       at("targets", r.targets),
		"waves":         at("waves", r.waves),
		"gates":         at("gates", r.gates),
		"ledger":        at("ledger", func(n *yaml.Node) { p.Ledger = r.ledger(n) }),
		"stage":         at("stage", func(n *yaml.Node) { p.Stage = r.stage(n) }),
		"unused-tables": at("unused-tables", r.unused),
		"live":          at("live", r.live),
		"vanished":      at("vanished", func(n *yaml.Node) { p.Vanished = r.word(n, "vanished", VanishedReport, VanishedDelete, VanishedMark) }),
		"constants":     at("constants", r.constants),
	})
	for _, name := range []string{"migration", "sources", "mappings", "phi"} {
		if !seen[name] {
			r.fault(root, "`chartlift help plan` shows a whole one", "the plan has no %q", name)
		}
	}
	if p.Ledger == "" {
		p.Ledger = sqliteScheme + filepath.Join(p.Dir, ".chartlift", "ledger.db")
	}
	if p.Stage == "" {
		p.Stage = filepath.Join(p.Dir, ".chartlift", "stage")
	}
	if p.Vanished == "" {
		p.Vanished = VanishedReport
	}
	if len(p.Waves) == 0 {
		p.Waves = []Wave{{Name: "main"}}
	}
	if p.PHI.Delivery == DeliverSplit && p.Identity == nil && seen["targets"] {
		r.fault(p.nodes["targets"], "", "delivery: split needs targets.identity for the whole resources")
	}
	if p.PHI.Delivery != DeliverSplit && p.Identity != nil {
		r.fault(p.nodes["targets"], "", "targets.identity is used only with delivery: split")
	}
	if p.Clinical != nil && p.Identity != nil && p.Clinical.URL == p.Identity.URL && p.Identity.URL != "" {
		r.fault(p.nodes["targets"], "", "targets clinical and identity are one server; delivery: split keeps them apart")
	}
}

func (r *reader) mappings(n *yaml.Node) {
	for _, m := range r.texts(n, "mappings") {
		if strings.ContainsAny(m, `/\`) || m == "." {
			m = r.path(m)
		}
		r.plan.Mappings = append(r.plan.Mappings, m)
	}
}

func (r *reader) phi(n *yaml.Node) {
	phi := &r.plan.PHI
	r.keys(n, "phi", map[string]func(*yaml.Node){
		"policy": func(n *yaml.Node) {
			phi.Policy = r.text(n, "policy")
			if strings.ContainsAny(phi.Policy, `/\.`) {
				phi.Policy = r.path(phi.Policy)
			}
		},
		"delivery": func(n *yaml.Node) {
			phi.Delivery = r.text(n, "delivery")
			switch {
			case !slices.Contains(deliveries, phi.Delivery):
				r.fault(n, document.Hint(phi.Delivery, deliveries), "there is no delivery %q; there are %s", phi.Delivery, strings.Join(deliveries, ", "))
			case phi.Delivery == DeliverDeidentified:
				r.fault(n, "", "delivery %q is not there yet; identified, split and sealed are", phi.Delivery)
			}
		},
		"as-of": func(n *yaml.Node) {
			phi.AsOf = r.text(n, "as-of")
			if len(phi.AsOf) != len(time.DateOnly) || !fhir.ValidDate(phi.AsOf) {
				r.fault(n, "such as 2026-06-30", "phi.as-of must be a day, YYYY-MM-DD")
			}
		},
		"keys": func(n *yaml.Node) {
			phi.Keys = r.text(n, "keys")
			if path, ok := strings.CutPrefix(phi.Keys, "file:"); ok {
				phi.Keys = "file:" + r.path(path)
			}
		},
		"key-store": func(n *yaml.Node) {
			path, ok := strings.CutPrefix(r.text(n, "key-store"), "file:")
			if !ok || path == "" {
				r.fault(n, "such as file:keys/store", "phi.key-store must be file:FOLDER: the folder in which the keyring and the patients' keys lie")
				return
			}
			phi.KeyStore = "file:" + r.path(path)
		},
	})
	if phi.Policy == "" {
		phi.Policy = "limited-data-set"
	}
	if phi.Delivery == "" {
		r.fault(n, "one of "+strings.Join(deliveries, ", "), "phi.delivery must be chosen; it has no default, so that nobody sends PHI by accident")
	}
	if phi.Keys == "" {
		phi.Keys = "file:" + filepath.Join(r.plan.Dir, "keys", "kek")
	}
}

func (r *reader) targets(n *yaml.Node) {
	read := func(into **Target, name string) func(*yaml.Node) {
		return func(n *yaml.Node) {
			t := &Target{}
			known := map[string]func(*yaml.Node){
				"auth": func(n *yaml.Node) {
					r.keys(n, "auth", map[string]func(*yaml.Node){
						"bearer-env":  func(n *yaml.Node) { t.TokenEnv = r.text(n, "bearer-env") },
						"bearer-file": func(n *yaml.Node) { t.TokenFile = r.path(r.text(n, "bearer-file")) },
					})
				},
				"bundle": func(n *yaml.Node) { t.Bundle = r.count(n, "bundle", 10_000) },
				"ids": func(n *yaml.Node) {
					if t.ServerIDs = r.text(n, "ids") == "server"; !t.ServerIDs {
						r.fault(n, "", "ids: server is the only choice; without it ids are ours unless the server says otherwise")
					}
				},
				"parallel": func(n *yaml.Node) { t.Parallel = r.count(n, "parallel", 256) },
			}
			for _, kind := range []string{"fhir", "sandbox"} {
				known[kind] = func(n *yaml.Node) {
					t.Kind, t.URL = kind, strings.TrimRight(r.text(n, kind), "/")
					u, err := url.Parse(t.URL)
					switch {
					case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
						r.fault(n, "such as https://fhir.example.org/fhir", "the target's URL must be http or https with a host")
					case u.User != nil:
						r.fault(n, "put it in the environment and name it under auth: {bearer-env: NAME}", "a secret is never written in the plan")
					case u.RawQuery != "" || u.Fragment != "":
						r.fault(n, "", "the target's URL is a base: no query, no fragment")
					}
				}
			}
			for _, kind := range []string{"google", "azure", "healthlake", "millennium", "files"} {
				known[kind] = func(n *yaml.Node) {
					t.Kind = kind
					r.fault(n, "", "target kind %s is not there yet; fhir and sandbox are", kind)
				}
			}
			r.keys(n, "target "+name, known)
			if t.Kind == "" {
				r.fault(n, "", "target %s has no kind with a URL, such as fhir: https://…", name)
			}
			*into = t
		}
	}
	r.keys(n, "targets", map[string]func(*yaml.Node){
		"clinical": read(&r.plan.Clinical, "clinical"),
		"identity": read(&r.plan.Identity, "identity"),
	})
}

func (r *reader) count(n *yaml.Node, what string, most int) int {
	v, err := strconv.Atoi(r.text(n, what))
	if err != nil || v < 1 || v > most {
		r.fault(n, "", "%s must be a whole number from 1 to %d", what, most)
		return 0
	}
	return v
}

func (r *reader) waves(n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		r.fault(n, "", "waves must be a list of {name, patients}")
		return
	}
	names := []string{"shared"}
	for i, c := range n.Content {
		w := Wave{Node: c}
		r.keys(c, "a wave", map[string]func(*yaml.Node){
			"name": func(n *yaml.Node) {
				w.Name = r.text(n, "name")
				if slices.Contains(names, w.Name) || !migrationForm.MatchString(w.Name) {
					r.fault(n, "", "a wave's name is one word, once; `shared` is taken by what belongs to no patient")
				}
				names = append(names, w.Name)
			},
			"patients": func(n *yaml.Node) {
				w.Node = n
				text := r.text(n, "patients")
				if formula, ok := strings.CutPrefix(text, "="); ok {
					w.Formula = strings.TrimSpace(formula)
				} else {
					w.File = r.path(text)
				}
			},
		})
		if w.Name == "" {
			r.fault(c, "", "a wave needs a name")
		}
		if w.Formula == "" && w.File == "" && i != len(n.Content)-1 {
			r.fault(c, "put it last", "wave %s names no patients, so it takes all that are left; waves after it would be empty", w.Name)
		}
		r.plan.Waves = append(r.plan.Waves, w)
	}
}

func (r *reader) gates(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "", "gates must be names with limits")
		return
	}
	for _, p := range document.Pairs(n) {
		if !slices.Contains(gateNames, p.Key) {
			r.fault(p.Node, document.Hint(p.Key, gateNames), "there is no gate %q; there are %s", p.Key, strings.Join(gateNames, ", "))
			continue
		}
		text := r.text(p.Value, p.Key)
		number, share := strings.CutSuffix(text, "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || v < 0 || (share && v > 100) || !(v < 1e15) {
			r.fault(p.Value, "such as 0.1% or 50", "the limit of gate %s must be a count or a percentage", p.Key)
			continue
		}
		r.plan.Gates = append(r.plan.Gates, Limit{Name: p.Key, Text: text, Value: v, Share: share})
	}
}

func (r *reader) ledger(n *yaml.Node) string {
	text := r.text(n, "ledger")
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		if passwordForm.MatchString(n.Value) {
			r.fault(n, "write ${LEDGER_DSN} and set it in the environment", "a secret is never written in the plan")
		}
		return text
	}
	path, ok := strings.CutPrefix(text, sqliteScheme)
	if !ok || path == "" {
		r.fault(n, "such as sqlite:.chartlift/ledger.db", "the ledger must be sqlite:PATH or postgres://…")
	}
	return sqliteScheme + r.path(path)
}

// sqliteScheme stands before the path of a ledger in a file.
const sqliteScheme = "sqlite:"

// LedgerDir is where files lie that go with the ledger: its own folder, or, for one on a server, where it would lie by
// default.
func (p *Plan) LedgerDir() string {
	if path, ok := strings.CutPrefix(p.Ledger, sqliteScheme); ok {
		return filepath.Dir(path)
	}
	return filepath.Join(p.Dir, ".chartlift")
}

// LedgerPlace says to people where the ledger is, without its secret.
func (p *Plan) LedgerPlace() string {
	if path, ok := strings.CutPrefix(p.Ledger, sqliteScheme); ok {
		return Relative(p.Dir, path)
	}
	return "the PostgreSQL database that the plan names"
}

func (r *reader) stage(n *yaml.Node) string {
	text := r.text(n, "stage")
	if strings.Contains(text, "://") {
		r.fault(n, "", "the stage must be a folder; buckets are not there yet")
	}
	return r.path(text)
}

func (r *reader) unused(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "", "unused-tables must be table names, each with a reason")
		return
	}
	for _, p := range document.Pairs(n) {
		r.plan.Unused[p.Key] = r.text(p.Value, "the reason")
	}
}

// constants reads what stands in place of the packs' own constants.
func (r *reader) constants(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "constants: {mrn_system: https://…}", "constants must be names, each with a value")
		return
	}
	for _, p := range document.Pairs(n) {
		value := *p.Value
		if value.Kind == yaml.ScalarNode {
			value.Value = r.text(p.Value, p.Key)
		}
		r.plan.Constants = append(r.plan.Constants, mapping.Constant{Name: p.Key, Key: p.Node, Value: &value})
	}
}

// live reads the moment from which clinicians work in the target: what changed there earlier is damage, what changed
// later is their edit.
func (r *reader) live(n *yaml.Node) {
	t, err := time.Parse(time.RFC3339, r.text(n, "live"))
	if err != nil {
		r.fault(n, "such as 2026-06-01T06:00:00-05:00", "live must be an instant with its zone")
		return
	}
	r.plan.Live = t
}

// Source looks a source up by name.
func (p *Plan) Source(name string) (Source, bool) {
	for _, s := range p.Sources {
		if s.Name == name {
			return s, true
		}
	}
	return Source{}, false
}
