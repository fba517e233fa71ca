package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// searcher looks for marks that stand inside planted values, in every form in which a value may be hidden from a plain
// search: base64 at each of its three alignments, hex, URL and JSON escapes, UTF-16 both ways, other case, and inside
// what is compressed but not encrypted, also where the compressed bytes stand in base64.
type searcher struct{ needles []needle }

type needle struct {
	mark, form string
	bytes      []byte
}

func newSearcher(marks ...string) *searcher {
	s := &searcher{}
	for _, m := range marks {
		s.add(m, "raw", []byte(m))
		s.add(m, "lower case", []byte(strings.ToLower(m)))
		s.add(m, "upper case", []byte(strings.ToUpper(m)))
		s.add(m, "hex", []byte(hex.EncodeToString([]byte(m))))
		s.add(m, "HEX", []byte(strings.ToUpper(hex.EncodeToString([]byte(m)))))
		s.add(m, "query", []byte(url.QueryEscape(m)))
		s.add(m, "path", []byte(url.PathEscape(m)))
		s.add(m, "percent", []byte(percent(m)))
		units := utf16.Encode([]rune(m))
		little, big := make([]byte, 0, 2*len(units)), make([]byte, 0, 2*len(units))
		for _, u := range units {
			little, big = binary.LittleEndian.AppendUint16(little, u), binary.BigEndian.AppendUint16(big, u)
		}
		s.add(m, "UTF-16LE", little)
		s.add(m, "UTF-16BE", big)
		for shift := range 3 {
			for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
				s.add(m, fmt.Sprintf("%s+%d", name, shift), inner(enc, m, shift))
			}
		}
	}
	return s
}

// inner is what of the base64 of a text does not depend on what stands before and behind it, if it begins shift bytes
// after a group of three.
func inner(enc *base64.Encoding, text string, shift int) []byte {
	whole := enc.EncodeToString(append(make([]byte, shift), text...))
	first := (shift*8 + 5) / 6          // characters that hold bits of what stands before
	last := (shift + len(text)) * 8 / 6 // those after it hold bits of what stands behind
	return []byte(whole[first:last])
}

func percent(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "%%%02X", text[i])
	}
	return b.String()
}

func (s *searcher) add(mark, form string, b []byte) {
	for _, n := range s.needles {
		if bytes.Equal(n.bytes, b) {
			return
		}
	}
	s.needles = append(s.needles, needle{mark, form, b})
}

// in lists the marks found in data, each with its form.
func (s *searcher) in(data []byte) []string {
	hits := append(s.plain(data, ""), s.packed(data, "")...)
	for run := range base64Runs(data) {
		bytes := decoded(run)
		hits = append(append(hits, s.plain(bytes, " inside base64")...), s.packed(bytes, " inside base64")...)
	}
	return hits
}

func (s *searcher) plain(data []byte, where string) (hits []string) {
	for _, n := range s.needles {
		if bytes.Contains(data, n.bytes) {
			hits = append(hits, n.mark+" as "+n.form+where)
		}
	}
	return hits
}

// packed opens whatever begins like something compressed. What was read before an error counts: frames are cut off, too.
func (s *searcher) packed(data []byte, where string) (hits []string) {
	for _, c := range compressions {
		for rest := data; ; {
			i := bytes.Index(rest, c.magic)
			if i < 0 {
				break
			}
			hits = append(hits, s.plain(c.open(rest[i:]), " inside "+c.name+where)...)
			rest = rest[i+len(c.magic):]
		}
	}
	return hits
}

// shortestRun is how many letters of base64 may hold something compressed.
const shortestRun = 40

// base64Letters are those of both alphabets.
var base64Letters = func() (letter [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_") {
		letter[c] = true
	}
	return letter
}()

// base64Runs finds what may be base64. A regular expression takes most of the time of a search.
func base64Runs(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		start := 0
		for i := 0; i <= len(data); i++ {
			if i < len(data) && base64Letters[data[i]] {
				continue
			}
			if i-start >= shortestRun && !yield(data[start:i]) {
				return
			}
			start = i + 1
		}
	}
}

// decoded is what a run of base64's letters, of either alphabet, stands for.
func decoded(run []byte) []byte {
	run = []byte(strings.NewReplacer("-", "+", "_", "/").Replace(string(run)))
	if len(run)%4 == 1 { // no base64 ends so
		run = run[:len(run)-1]
	}
	out, _ := base64.RawStdEncoding.DecodeString(string(run))
	return out
}

var compressions = []struct {
	name  string
	magic []byte
	open  func([]byte) []byte
}{
	{"zstd", []byte{0x28, 0xb5, 0x2f, 0xfd}, func(b []byte) []byte {
		r, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return nil
		}
		defer r.Close()
		out, _ := io.ReadAll(io.LimitReader(r, 64<<20))
		return out
	}},
	{"gzip", []byte{0x1f, 0x8b, 8}, func(b []byte) []byte {
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil
		}
		out, _ := io.ReadAll(io.LimitReader(r, 64<<20))
		return out
	}},
}

// under searches every file below a folder, and their names, but for the folders named. Files that vanish meanwhile are
// none.
func (s *searcher) under(dir string, but ...string) []string {
	var hits []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		name, _ := filepath.Rel(dir, path)
		for _, b := range but {
			if name == b && d.IsDir() {
				return filepath.SkipDir
			}
			if name == b {
				return nil
			}
		}
		for _, hit := range s.in([]byte(name)) {
			hits = append(hits, "file name "+name+": "+hit)
		}
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return nil
			}
			for _, hit := range s.in(data) {
				hits = append(hits, name+": "+hit)
			}
		}
		return nil
	})
	return hits
}

// A search that finds nothing proves nothing unless it would have found each form.
func TestSearcherFindsEveryForm(t *testing.T) {
	const mark = "Zq7Xv9/Kt ö"
	s := newSearcher(mark)
	compressed := func(write func(io.Writer) io.WriteCloser, text string) string {
		var b bytes.Buffer
		w := write(&b)
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	wide := func(text string, order binary.AppendByteOrder) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(text)) {
			b = order.AppendUint16(b, u)
		}
		return string(b)
	}
	hidden := map[string]string{
		"raw":      "a name: " + mark + ".",
		"lower":    strings.ToLower("a name: " + mark),
		"upper":    strings.ToUpper("a name: " + mark),
		"hex":      hex.EncodeToString([]byte("name " + mark)),
		"HEX":      strings.ToUpper(hex.EncodeToString([]byte("name " + mark))),
		"query":    "/Patient?name=" + url.QueryEscape(mark),
		"path":     "/Patient/" + url.PathEscape(mark),
		"percent":  "/" + percent("x"+mark),
		"UTF-16LE": wide("x"+mark+"y", binary.LittleEndian),
		"UTF-16BE": wide("x"+mark+"y", binary.BigEndian),
		"zstd":     "\x00\x01" + compressed(func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z }, strings.Repeat(mark, 50)),
		"gzip":     "\x00" + compressed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, strings.Repeat(mark, 50)),
	}
	for shift := range 7 {
		for name, enc := range map[string]*base64.Encoding{"std": base64.StdEncoding, "url": base64.URLEncoding} {
			hidden[fmt.Sprintf("base64 %s %d", name, shift)] = enc.EncodeToString([]byte("1234567"[:shift] + mark + " and more"))
		}
	}
	for _, form := range []string{"zstd", "gzip"} {
		packed := []byte(hidden[form][1:])
		hidden[form+" in base64"] = `{"valueBase64Binary":"` + base64.StdEncoding.EncodeToString(packed) + `"}`
		hidden[form+" in base64url"] = "/x?data=" + base64.URLEncoding.EncodeToString(packed)
	}
	for form, text := range hidden {
		if len(s.in([]byte(text))) == 0 {
			t.Errorf("%s is not found", form)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if len(s.under(dir)) == 0 {
			t.Errorf("%s in a file is not found", form)
		}
		if len(s.under(dir, "file")) != 0 {
			t.Errorf("%s in a folder left out is found", form)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "of "+url.QueryEscape(mark)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if len(s.under(dir)) == 0 {
		t.Error("a file's name is not searched")
	}
	if hits := s.in([]byte("nothing of the kind, Zq7Xv9 nor Kt")); len(hits) > 0 {
		t.Error(hits)
	}
}
