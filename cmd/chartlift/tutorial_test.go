package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The tutorial is done as it stands: its files are laid out, its commands typed, and what it says they print is compared.
//
// An indented block that begins with `-- NAME --` is a file. In the others a line that begins with $ is a command, which
// ends with 0 unless `# exit N` stands behind it; the lines under it are what it prints, on stdout and then stderr, where
// … stands for any lines.
func TestTutorial(t *testing.T) {
	page := readFile(t, filepath.Join("help", "tutorial.md"))
	t.Chdir(t.TempDir())
	commands := 0
	for _, block := range blocks(page) {
		if name, ok := strings.CutPrefix(block[0], "-- "); ok {
			name = strings.TrimSuffix(name, " --")
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(strings.Join(block[1:], "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for i := 0; i < len(block); {
			command, ok := strings.CutPrefix(block[i], "$ ")
			if !ok {
				t.Fatalf("%q follows no command", block[i])
			}
			end := i + 1
			for end < len(block) && !strings.HasPrefix(block[end], "$ ") {
				end++
			}
			typed(t, command, block[i+1:end])
			commands, i = commands+1, end
		}
	}
	if commands < 10 {
		t.Errorf("the tutorial has %d commands", commands)
	}
}

// blocks are the indented parts of a page, without the indent. A blank line ends one.
func blocks(page string) (list [][]string) {
	open := false
	for line := range strings.Lines(page) {
		text, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		if indented && !open {
			list = append(list, nil)
		}
		if open = indented; open {
			list[len(list)-1] = append(list[len(list)-1], text)
		}
	}
	return list
}

var (
	exitForm = regexp.MustCompile(` +# exit ([0-9]+)$`)
	wordForm = regexp.MustCompile(`"[^"]*"|[^ ]+`)
)

func typed(t *testing.T, command string, want []string) {
	t.Helper()
	code := exitDone
	if m := exitForm.FindStringSubmatch(command); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		code, command = n, strings.TrimSuffix(command, m[0])
	}
	words := wordForm.FindAllString(command, -1)
	for i, w := range words {
		words[i] = strings.Trim(w, `"`)
	}
	if words[0] == "cd" {
		t.Chdir(words[1])
		return
	}
	if words[0] != "chartlift" {
		t.Fatalf("what is %q?", words[0])
	}
	var out, faults bytes.Buffer
	if got := chartlift(t.Context(), words[1:], strings.NewReader(""), &out, &faults); got != code {
		t.Errorf("$ %s: exit %d, the page says %d\n%s%s", command, got, code, &out, &faults)
	}
	lines := strings.Split(strings.TrimRight(out.String()+faults.String(), "\n"), "\n")
	skip := false
	for _, w := range want {
		if skip = skip || w == "…"; w == "…" {
			continue
		}
		for skip && len(lines) > 0 && strings.TrimRight(lines[0], " ") != strings.TrimRight(w, " ") {
			lines = lines[1:]
		}
		if len(lines) == 0 || strings.TrimRight(lines[0], " ") != strings.TrimRight(w, " ") {
			t.Errorf("$ %s: this line of the page is not printed:\n%s\nprinted:\n%s%s", command, w, &out, &faults)
			return
		}
		lines, skip = lines[1:], false
	}
	if !skip && len(lines) > 0 && len(want) > 0 {
		t.Errorf("$ %s: printed beyond the page:\n%s", command, strings.Join(lines, "\n"))
	}
}
