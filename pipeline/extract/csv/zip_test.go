package csv

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
	"github.com/chartlift/chartlift/pipeline/internal/packed"
)

// archive writes a zip file of members.
func archive(t testing.TB, path string, members [][2]string, change func(*zip.FileHeader)) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m[0], Method: zip.Deflate}
		if change != nil {
			change(h)
		}
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(w, m[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestZipMembers(t *testing.T) {
	dir := t.TempDir()
	archive(t, filepath.Join(dir, "Export.ZIP"), [][2]string{
		{"visits.csv", "id,day\n1,x\n2\n"}, {"sub/", ""}, {"sub/labs.TXT", "id\n1\n"}, {"read.me", "hello"}, {"sub/notes.dat", "id\n7\n"},
		{"__MACOSX/._visits.csv", "\x00\x05"},
	}, nil)
	for _, c := range []struct {
		files []string
		want  string
	}{
		{[]string{"Export.ZIP"}, "labs Export.ZIP!sub/labs.TXT, visits Export.ZIP!visits.csv"},
		{[]string{"*"}, "labs Export.ZIP!sub/labs.TXT, visits Export.ZIP!visits.csv"},
		{[]string{"Export.ZIP!*.csv", "*.ZIP!visits.csv"}, "visits Export.ZIP!visits.csv"},
		{[]string{"Export.ZIP!sub/*"}, "labs Export.ZIP!sub/labs.TXT, notes Export.ZIP!sub/notes.dat"},
		{[]string{"Export.ZIP!notes.dat"}, "notes Export.ZIP!sub/notes.dat"},
	} {
		s, err := Open(Options{Name: "ehr", Dir: dir, Files: c.files})
		if err != nil {
			t.Fatal(err)
		}
		tables, err := s.Tables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, table := range tables {
			got = append(got, table.Name+" "+table.File)
		}
		if diff := cmp.Diff(c.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%v (-want +got)\n%s", c.files, diff)
		}
	}
	extracttest.Run(t, func(t testing.TB) extract.Source {
		s, err := Open(Options{Name: "ehr", Dir: dir, Files: []string{"Export.ZIP"}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestZipFaults(t *testing.T) {
	const good = "id\n1\n"
	for _, c := range []struct {
		name    string
		members [][2]string
		change  func(*zip.FileHeader)
		files   string
		want    string
	}{
		{"leads out", [][2]string{{"../visits.csv", good}}, nil, "x.zip", `member "../visits.csv": its name leads out of the archive`},
		{"leads out, Windows", [][2]string{{`..\visits.csv`, good}}, nil, "x.zip", "leads out of the archive"},
		{"absolute", [][2]string{{"/etc/visits.csv", good}}, nil, "x.zip", "leads out of the archive"},
		{"control characters", [][2]string{{"a\x1b[31m.csv", good}}, nil, "x.zip", "cannot be shown"},
		{"turned letters", [][2]string{{"a\u202e.csv", good}}, nil, "x.zip", "cannot be shown"},
		{"long", [][2]string{{strings.Repeat("a", 300) + ".csv", good}}, nil, "x.zip", "longer than 255 bytes"},
		{"encrypted", [][2]string{{"a.csv", good}}, func(h *zip.FileHeader) { h.Flags |= 1 }, "x.zip", `member "a.csv": it is encrypted`},
		{"packed twice", [][2]string{{"a.csv.gz", good}}, nil, "x.zip!*", "packed twice"},
		{"one name twice", [][2]string{{"a.csv", good}, {"a.csv", good}}, nil, "x.zip", "table a is in two files"},
		{"one table twice", [][2]string{{"a.csv", good}, {"b/a.csv", good}}, nil, "x.zip", "table a is in two files"},
		{"no member", [][2]string{{"a.csv", good}}, nil, "x.zip!b.csv", "x.zip!b.csv: x.zip: no such member"},
		{"bad glob", [][2]string{{"a.csv", good}}, nil, "x.zip![", "syntax error in pattern"},
		{"no archive", nil, nil, "y.zip", "y.zip: no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			archive(t, filepath.Join(dir, "x.zip"), c.members, c.change)
			_, err := Open(Options{Name: "ehr", Dir: dir, Files: []string{c.files}})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), dir) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.zip"), []byte("no archive at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Name: "ehr", Dir: dir, Files: []string{"x.zip"}}); !errors.Is(err, zip.ErrFormat) {
		t.Errorf("no archive: %v", err)
	}
}

// Archives truncated at every byte give an error or whole records, never a panic.
func TestDamagedZip(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.zip")
	archive(t, path, [][2]string{{"a.csv", "id\n1\n2\n"}}, nil)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for _, data := range [][]byte{whole[:i], append(append(bytes.Clone(whole[:i]), whole[i]^0x40), whole[i+1:]...)} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(Options{Name: "ehr", Dir: dir, Files: []string{"x.zip"}})
			if err != nil {
				continue
			}
			tables, err := s.Tables(t.Context())
			if err != nil {
				continue
			}
			if rows, err := extracttest.Rows(t.Context(), s, tables[0]); err == nil && len(rows) != 2 {
				t.Errorf("damaged at byte %d: %d rows and no error", i, len(rows))
			}
		}
	}
}

// huge writes a table of three records, of which the second has a field of so many bytes.
func huge(w io.Writer, bytesInField int) error {
	_, err := io.WriteString(w, "a,b\n1,2\n3,")
	if err == nil {
		_, err = io.Copy(w, &endless{left: bytesInField})
	}
	if err == nil {
		_, err = io.WriteString(w, "\n5,6\n")
	}
	return err
}

// packers are the ways to pack a file, by the end of its name.
var packers = map[string]func(io.Writer) (io.WriteCloser, error){
	".csv.gz":  func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, gzip.BestSpeed) },
	".csv.zst": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	".zip":     func(w io.Writer) (io.WriteCloser, error) { return newZipped(w) },
}

// zippedMember is the only member of an archive.
type zippedMember struct {
	io.Writer
	io.Closer
}

func newZipped(w io.Writer) (io.WriteCloser, error) {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	member, err := z.Create("t.csv")
	return zippedMember{member, z}, err
}

// A field of a gigabyte in a packed file is refused like any other, with memory for no more than the cap on records; a
// file that unpacks to more than it may is an error that names the rule.
func TestBombs(t *testing.T) {
	size := 1 << 30
	if testing.Short() {
		size = 32 << 20
	}
	for ending, pack := range packers {
		t.Run(ending, func(t *testing.T) {
			dir := t.TempDir()
			f, err := os.Create(filepath.Join(dir, "t"+ending))
			if err != nil {
				t.Fatal(err)
			}
			w, err := pack(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(huge(w, size), w.Close(), f.Close()); err != nil {
				t.Fatal(err)
			}
			o := Options{Name: "ehr", Dir: dir, Files: []string{"t" + ending}}
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			tables, err := s.Tables(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, err := extracttest.Rows(t.Context(), s, tables[0])
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			var rules []string
			for _, r := range got {
				rules = append(rules, r.Rule)
			}
			if diff := cmp.Diff([]string{"", extract.RuleRecordTooLong, ""}, rules); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			// All that was ever asked for: the buffer, doubled up to the cap, and the window of the unpacker.
			if used := after.TotalAlloc - before.TotalAlloc; used > 6*DefaultMaxRecord {
				t.Errorf("%d MiB were allocated", used>>20)
			}

			o.MaxUnpacked, o.MaxRatio = 1<<20, 20
			s, err = Open(o)
			if err == nil {
				if tables, err = s.Tables(t.Context()); err == nil {
					_, err = extracttest.Rows(t.Context(), s, tables[0])
				}
			}
			if !errors.Is(err, packed.ErrBomb) || !strings.Contains(err.Error(), "max-ratio") {
				t.Errorf("a small bound: %v", err)
			}
		})
	}
}

// A frame that asks for a window of a gigabyte is an error before it is allocated.
func TestZstandardWindow(t *testing.T) {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithWindowSize(zstd.MaxWindowSize))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(huge(z, 16<<20), z.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := write(t, "t.csv.zst", b.String(), Options{}); !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("got %v", err)
	}
}
