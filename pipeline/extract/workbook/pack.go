package workbook

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/xuri/excelize/v2"

	"github.com/chartlift/chartlift/pipeline/extract"
)

const (
	maxPart  = 32 << 20  // of what is small in every workbook: its structure, relationships and styles
	maxParts = 10_000    // files in the package
	bombSize = 100 << 20 // a part larger than this is a bomb if it was packed harder than bombRatio
	// bombRatio is far above what a sheet packs to (10 to 40 to 1, columns of one value 150 to 1) and far below what
	// deflate does with zeros (1,030 to 1).
	bombRatio = 400
)

const (
	adviceSave    = "open it and save it as .xlsx"
	adviceDecrypt = "open it and save it without a password, on a disk that is itself encrypted"
)

// pack is an opened workbook file: a zip of parts.
type pack struct {
	file  *os.File
	parts map[string]*zip.File // by name in lower case: names of parts differ by more than case (ECMA-376-2, section 6.2.2.3)
}

func (p *pack) close() { _ = p.file.Close() } // nothing was written

// openPack opens a file and checks what its directory says, before anything is unpacked.
func openPack(name string, most int64) (*pack, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, extract.Pathless(err)
	}
	p, err := checkPack(f, most)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return p, nil
}

func checkPack(f *os.File, most int64) (*pack, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, extract.Pathless(err)
	}
	magic := make([]byte, 8)
	n, err := f.ReadAt(magic, 0)
	if err != nil && err != io.EOF {
		return nil, extract.Pathless(err)
	}
	switch magic = magic[:n]; {
	case bytes.HasPrefix(magic, []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")):
		return nil, compound(f)
	case !bytes.HasPrefix(magic, []byte("PK")):
		return nil, fmt.Errorf("it is not a workbook: the file is not a zip package; %s", adviceSave)
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("the zip package is damaged or cut off: %w", err)
	}
	p := &pack{file: f, parts: make(map[string]*zip.File, len(z.File))}
	var faults []error
	if len(z.File) > maxParts {
		return nil, fmt.Errorf("too-many-parts: %d files in the package, at most %d are allowed", len(z.File), maxParts)
	}
	var total uint64
	for _, part := range z.File {
		name := strings.ToLower(part.Name)
		if !cleanName(name) {
			faults = append(faults, errors.New("part-name: a file in the package has a name that leads out of it"))
		}
		if p.parts[name] != nil {
			faults = append(faults, errors.New("part-name: two files in the package have the same name"))
		}
		p.parts[name] = part
		size := part.UncompressedSize64
		total = min(total+min(size, 1<<62), 1<<62) // sizes may be made up
		if size > bombSize && size/bombRatio > part.CompressedSize64 {
			faults = append(faults, fmt.Errorf("zip-bomb: a part unpacks to more than %d times its size", bombRatio))
		}
		if part.Flags&1 != 0 {
			faults = append(faults, fmt.Errorf("encrypted: a file in the package is encrypted; %s", adviceDecrypt))
		}
	}
	if total > uint64(most) {
		faults = append(faults, fmt.Errorf("zip-bomb: the package unpacks to %d bytes, at most %d are allowed", total, most))
	}
	switch {
	case p.parts["xl/workbook.bin"] != nil:
		faults = append(faults, fmt.Errorf("it is a binary workbook (.xlsb); %s", adviceSave))
	case p.parts["mimetype"] != nil && p.parts["content.xml"] != nil:
		faults = append(faults, fmt.Errorf("it is an OpenDocument file (.ods); %s", adviceSave))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return p, nil
}

// cleanName says whether a name stays inside the package. Nothing is ever unpacked to a file, so this keeps only
// packages out that were made to do harm.
func cleanName(name string) bool {
	name = strings.ReplaceAll(name, `\`, "/")
	return name != "" && !strings.HasPrefix(name, "/") && !slices.Contains(strings.Split(name, "/"), "..")
}

// compound says what an OLE compound file is: the old format, or an encrypted package. Its directory, of which the first
// sector holds the names that matter, is at a sector named in the header ([MS-CFB], section 2.2).
func compound(f *os.File) error {
	header := make([]byte, 512)
	directory := make([]byte, 4096)
	if _, err := f.ReadAt(header, 0); err == nil {
		shift := binary.LittleEndian.Uint16(header[30:])
		sector := int64(binary.LittleEndian.Uint32(header[48:]))
		if shift >= 9 && shift <= 12 {
			n, _ := f.ReadAt(directory, (sector+1)<<shift) // a damaged file is refused below all the same
			directory = directory[:n]
		}
	}
	has := func(name string) bool {
		var wide []byte
		for _, u := range utf16.Encode([]rune(name)) {
			wide = binary.LittleEndian.AppendUint16(wide, u)
		}
		return bytes.Contains(directory, wide)
	}
	if has("EncryptedPackage") {
		return fmt.Errorf("encrypted: the workbook has a password; %s", adviceDecrypt)
	}
	return fmt.Errorf("it is a workbook of the old format (.xls), which holds at most 65,536 rows; %s", adviceSave)
}

// part reads a small part into memory; nil if there is none.
func (p *pack) part(ctx context.Context, name string) ([]byte, error) {
	f := p.parts[strings.ToLower(name)]
	if f == nil {
		return nil, nil
	}
	if f.UncompressedSize64 > maxPart {
		return nil, fmt.Errorf("part-too-long: a part of the workbook's structure has %d bytes, at most %d are allowed", f.UncompressedSize64, maxPart)
	}
	r, err := p.open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// open unpacks a part while it is read. More bytes than the directory promised, or other bytes, are an error.
func (p *pack) open(ctx context.Context, f *zip.File) (*partReader, error) {
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return &partReader{ctx: ctx, ReadCloser: r}, nil
}

// partReader is where a cancelled context is noticed.
type partReader struct {
	ctx context.Context
	io.ReadCloser
}

// Read implements io.Reader.
func (r *partReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("unpack: %w", err)
	}
	return n, err
}

// relation is how one part refers to another.
type relation struct {
	kind   string // the last word of its type: worksheet, styles
	target string // name of the part
}

// relations are those of one part, by id.
type relations map[string]relation

// first is the target of the first relation of a kind, by id, or "".
func (r relations) first(kind string) string {
	for _, id := range slices.Sorted(maps.Keys(r)) {
		if r[id].kind == kind {
			return r[id].target
		}
	}
	return ""
}

// relationships reads the .rels of a part. Targets are resolved against the folder of the part.
func (p *pack) relationships(ctx context.Context, of string) (relations, error) {
	folder, base := path.Split(of)
	text, err := p.part(ctx, folder+"_rels/"+base+".rels")
	if err != nil {
		return nil, err
	}
	all := relations{}
	x := newXMLReader(bytes.NewReader(text))
	for {
		t, err := x.next()
		if err != nil {
			return nil, err
		}
		if t.kind == atEnd {
			return all, nil
		}
		if t.kind != startTag || string(t.name) != "Relationship" {
			continue
		}
		values := map[string]string{}
		eachAttr(t.attrs, func(name, value []byte) {
			if text, err := appendText(nil, token{text: value}); err == nil {
				values[string(name)] = string(text)
			}
		})
		target := values["Target"]
		if values["TargetMode"] == "External" || target == "" {
			continue
		}
		if strings.HasPrefix(target, "/") {
			target = strings.TrimPrefix(path.Clean(target), "/")
		} else {
			target = path.Join(folder, target)
		}
		all[values["Id"]] = relation{kind: path.Base(values["Type"]), target: target}
	}
}

// sheetPart is one sheet as the workbook lists it.
type sheetPart struct {
	name   string
	hidden bool
	part   string // "" if it is not a worksheet: a chart, a macro sheet
}

// structure is what a workbook says about itself, without its cells.
type structure struct {
	sheets  []sheetPart
	is1904  bool
	formats []format // by style
	strings *sharedStrings
	sum     [sha256.Size]byte // of all parts that went into it
	parts   []*zip.File       // those parts
}

// read reads the structure. The workbook, its styles and formats are excelize's to understand; it gets a package that
// holds these parts alone, because with a whole one it would unpack every sheet into memory or, if that is large, into
// a temporary file, where patient data must never lie.
func (p *pack) read(ctx context.Context, maxShared int64, maxField int) (*structure, error) {
	roots, err := p.relationships(ctx, "")
	if err != nil {
		return nil, err
	}
	book := roots.first("officeDocument")
	if book == "" || p.parts[strings.ToLower(book)] == nil {
		return nil, errors.New("it is not a workbook: the package does not say which part is the workbook")
	}
	links, err := p.relationships(ctx, book)
	if err != nil {
		return nil, err
	}
	s := &structure{}
	sum := sha256.New()
	var skeleton bytes.Buffer
	z := zip.NewWriter(&skeleton)
	folder, base := path.Split(book)
	for _, c := range []struct{ from, to string }{
		{"[Content_Types].xml", "[Content_Types].xml"},
		{"_rels/.rels", "_rels/.rels"},
		{book, book},
		{folder + "_rels/" + base + ".rels", folder + "_rels/" + base + ".rels"},
		{links.first("styles"), "xl/styles.xml"},
	} {
		text, err := p.part(ctx, c.from)
		if err != nil {
			return nil, err
		}
		if text == nil {
			continue
		}
		if err := checkXML(text); err != nil {
			return nil, fmt.Errorf("%s: %w", c.to, err)
		}
		fmt.Fprintf(sum, "%s %d\n", c.to, len(text))
		sum.Write(text)
		s.parts = append(s.parts, p.parts[strings.ToLower(c.from)])
		w, err := z.Create(c.to)
		if err == nil {
			_, err = w.Write(text)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if err := s.understand(skeleton.Bytes(), links); err != nil {
		return nil, err
	}
	s.strings = &sharedStrings{}
	if part := p.parts[strings.ToLower(links.first("sharedStrings"))]; part != nil {
		s.parts = append(s.parts, part)
		r, err := p.open(ctx, part)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		if s.strings, err = readStrings(io.TeeReader(r, sum), maxShared, maxField); err != nil {
			return nil, fmt.Errorf("shared strings: %w", err)
		}
	}
	sum.Sum(s.sum[:0])
	return s, nil
}

// checkXML reads a part once with the rules of this package, so that what excelize gets has no DOCTYPE and no nesting
// deeper than any workbook's.
func checkXML(text []byte) error {
	x := newXMLReader(bytes.NewReader(text))
	for {
		t, err := x.next()
		if err != nil {
			return err
		}
		if t.kind == atEnd {
			return nil
		}
		if x.depth > 64 {
			return errMarkup
		}
	}
}

// understand lets excelize read the skeleton.
func (s *structure) understand(skeleton []byte, links relations) error {
	f, err := excelize.OpenReader(bytes.NewReader(skeleton), excelize.Options{UnzipSizeLimit: 8 * maxPart, UnzipXMLSizeLimit: maxPart})
	if err != nil {
		return errors.New("the workbook's structure or styles cannot be read: " + adviceSave) // excelize's own words may quote
	}
	defer func() { _ = f.Close() }() // it holds no file
	if f.WorkBook == nil {
		return errors.New("the workbook lists no sheets")
	}
	props, err := f.GetWorkbookProps()
	if err != nil {
		return errors.New("the workbook's properties cannot be read: " + adviceSave)
	}
	s.is1904 = props.Date1904 != nil && *props.Date1904
	for _, sheet := range f.WorkBook.Sheets.Sheet {
		if sheet.Name == "" {
			return errors.New("the workbook has a sheet without a name")
		}
		one := sheetPart{name: sheet.Name, hidden: sheet.State == "hidden" || sheet.State == "veryHidden"}
		if link := links[sheet.ID]; link.kind == "worksheet" {
			one.part = link.target
		}
		s.sheets = append(s.sheets, one)
	}
	codes := map[int]format{}
	if f.Styles != nil && f.Styles.NumFmts != nil {
		for _, n := range f.Styles.NumFmts.NumFmt {
			if n != nil {
				codes[n.NumFmtID] = parseFormat(n.FormatCode)
			}
		}
	}
	if f.Styles != nil && f.Styles.CellXfs != nil {
		for _, xf := range f.Styles.CellXfs.Xf {
			var found format
			if xf.NumFmtID != nil {
				if own, ok := codes[*xf.NumFmtID]; ok {
					found = own
				} else if kind, ok := builtIn[*xf.NumFmtID]; ok {
					found = format{{kind: kind}}
				}
			}
			s.formats = append(s.formats, found)
		}
	}
	return nil
}

// same says whether the package still holds the parts that the structure was read from.
func (s *structure) same(p *pack) bool {
	for _, was := range s.parts {
		is := p.parts[strings.ToLower(was.Name)]
		if is == nil || is.CRC32 != was.CRC32 || is.UncompressedSize64 != was.UncompressedSize64 {
			return false
		}
	}
	return true
}
