package csv

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/glob"
	"github.com/chartlift/chartlift/pipeline/internal/packed"
)

// maxMembers is how many members an archive may have. Each takes memory while the archive is looked at.
const maxMembers = 65_535

// memberMark divides the name of an archive from that of a member, or a glob of such: export.zip!visits.csv.
const memberMark = "!"

// splitMember divides an entry of Options.Files.
func splitMember(pattern string) (archive, members string) {
	if i := strings.Index(strings.ToLower(pattern), ".zip"+memberMark); i >= 0 {
		i += len(".zip")
		return pattern[:i], pattern[i+len(memberMark):]
	}
	return pattern, ""
}

func isZip(name string) bool { return strings.HasSuffix(strings.ToLower(name), ".zip") }

// members lists the files of an archive that a glob names; without one, those that end in .csv, .tsv or .txt. A glob
// without a slash is for the last part of the name, whatever folder of the archive it lies in. What Macs add is left
// out. Nothing is unpacked to disk, so a name can lead nowhere; but tables are named for members, so names that no
// export gives are refused.
func (s *Source) members(archive glob.File, pattern string) ([]file, error) {
	fd, err := os.Open(archive.Path)
	if err != nil {
		return nil, extract.Pathless(err)
	}
	defer fd.Close()
	info, err := fd.Stat()
	if err != nil {
		return nil, extract.Pathless(err)
	}
	z, err := newArchive(fd, info.Size())
	if err != nil {
		return nil, err
	}
	var files []file
	var faults []error
	var unpacked uint64
	for _, m := range z.File {
		if wanted, err := wantedMember(m.Name, pattern); err != nil {
			return nil, err
		} else if !wanted {
			continue
		}
		if err := checkMember(m); err != nil {
			faults = append(faults, fmt.Errorf("member %q: %w", short(m.Name), err))
			continue
		}
		if unpacked += m.UncompressedSize64; m.UncompressedSize64 > 1<<62 || unpacked > uint64(s.options.unpacking().Of(info.Size())) {
			return nil, packed.ErrBomb
		}
		shown := archive.Shown + memberMark + m.Name
		files = append(files, file{File: glob.File{Path: archive.Path, Shown: shown}, table: tableName(m.Name), member: m.Name})
	}
	if len(files)+len(faults) == 0 {
		return nil, errors.New("no such member in the archive")
	}
	return files, errors.Join(faults...)
}

func newArchive(r io.ReaderAt, size int64) (*zip.Reader, error) {
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are checked where a member is wanted
		return nil, err
	}
	if len(z.File) > maxMembers {
		return nil, fmt.Errorf("the archive has %d members, at most %d are allowed", len(z.File), maxMembers)
	}
	return z, nil
}

func wantedMember(name, pattern string) (bool, error) {
	if strings.HasSuffix(name, "/") || strings.HasPrefix(name, "__MACOSX/") {
		return false, nil
	}
	base := path.Base(name)
	switch {
	case pattern == "":
		return slices.Contains([]string{".csv", ".tsv", ".txt"}, strings.ToLower(path.Ext(base))), nil
	case strings.Contains(pattern, "/"):
		return path.Match(pattern, name)
	}
	return path.Match(pattern, base)
}

func checkMember(m *zip.File) error {
	switch {
	case !utf8.ValidString(m.Name) || strings.ContainsFunc(m.Name, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return errors.New("its name holds characters that cannot be shown")
	case len(m.Name) > 255:
		return errors.New("its name is longer than 255 bytes")
	case !filepath.IsLocal(m.Name) || strings.ContainsAny(m.Name, `\:`) || path.Clean(m.Name) != m.Name:
		return errors.New("its name leads out of the archive")
	case m.Flags&0x1 != 0:
		return errors.New("it is encrypted; unpack it yourself")
	case m.Method != zip.Store && m.Method != zip.Deflate:
		return fmt.Errorf("it is packed by method %d; store and deflate are read", m.Method)
	}
	if kind, _ := packed.By(m.Name); kind != packed.Plain || isZip(m.Name) {
		return errors.New("it is packed twice; unpack the archive yourself")
	}
	return nil
}

// short keeps a name from filling a screen.
func short(name string) string {
	const most = 80
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}

// openMember opens a member by name, of which the archive has one.
func openMember(r io.ReaderAt, size int64, name string) (io.ReadCloser, error) {
	z, err := newArchive(r, size)
	if err != nil {
		return nil, err
	}
	for _, m := range z.File {
		if m.Name == name {
			if err := checkMember(m); err != nil {
				return nil, err
			}
			return m.Open()
		}
	}
	return nil, errors.New("no such member in the archive")
}
