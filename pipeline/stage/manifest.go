package stage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The manifest of a state says which file is the state. It is two lines: JSON, and the SHA-256 of that line. While
// there is no manifest there has never been a merge.

const (
	manifestName    = "state"
	stateFilePrefix = "state."
)

type stateManifest struct {
	Format     int    `json:"format"`
	Generation uint64 `json:"generation"` // 0: there is no manifest
	File       string `json:"file"`       // "": no entries yet
	Count      int64  `json:"count"`
	Bytes      int64  `json:"bytes"`
	SHA256     string `json:"sha256"`
}

func stateFileName(generation uint64) string {
	return fmt.Sprintf("%s%08d", stateFilePrefix, generation)
}

func isStateFile(name string) bool {
	digits, ok := strings.CutPrefix(name, stateFilePrefix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return ok && err == nil && stateFileName(n) == name
}

func (m stateManifest) encode() ([]byte, error) {
	line, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(line)
	line = append(line, '\n')
	return append(hex.AppendEncode(line, sum[:]), '\n'), nil
}

func writeManifest(d disk, dir string, m stateManifest) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	return writeFile(d, filepath.Join(dir, manifestName), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// readManifest reads the manifest; without one it is zero, unless there are state files.
func readManifest(dir string) (stateManifest, error) {
	damage := func(what string) (stateManifest, error) {
		return stateManifest{}, &Damage{File: manifestName, What: what}
	}
	f, err := os.Open(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		names, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return stateManifest{}, err
		}
		for _, n := range names {
			if isStateFile(n.Name()) {
				return damage("the file is missing, and " + n.Name() + " is there")
			}
		}
		return stateManifest{}, nil
	}
	if err != nil {
		return stateManifest{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return stateManifest{}, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	var m stateManifest
	if err := json.Unmarshal(line, &m); err != nil {
		return damage("it is not a manifest")
	}
	// Byte for byte: nothing in the file is left unchecked.
	if again, err := m.encode(); err != nil || !bytes.Equal(again, text) {
		return damage("its sum is wrong")
	}
	if m.Format != 1 {
		return damage("a version of the format that this program does not know")
	}
	if m.Generation == 0 || m.File != "" && m.File != stateFileName(m.Generation) || m.File == "" && m.Count != 0 {
		return damage("what it says does not fit together")
	}
	return m, nil
}
