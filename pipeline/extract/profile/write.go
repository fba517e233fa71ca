package profile

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
)

// JSON writes the profile as one document.
func JSON(w io.Writer, p *Profile) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(p)
}

// Write writes profile.html, profile.xlsx and profile.json into a folder, which it makes if need be, and returns their
// paths. A file takes the place of an older one only when it is whole. With values a profile may hold patient data, so
// nobody else may read the folder and the files.
func Write(dir string, p *Profile) ([]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var files []string
	for _, f := range []struct {
		name  string
		write func(io.Writer, *Profile) error
	}{{"profile.html", HTML}, {"profile.xlsx", Workbook}, {"profile.json", JSON}} {
		var b bytes.Buffer
		if err := f.write(&b, p); err != nil {
			return files, err
		}
		path := filepath.Join(dir, f.name)
		if err := replace(path, b.Bytes()); err != nil {
			return files, err
		}
		files = append(files, path)
	}
	return files, nil
}

// replace writes a file beside its place, flushes it, and puts it there.
func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // readable for its owner only
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to tell
	}
	return err
}
