package phi

import (
	"encoding/json"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// The functions here look at canonical JSON in place: members sorted, no white space. They never fail on it; on other
// text they answer "not found" or an offset at its end, and the digest tells later that the parts do not fit.

// skipValue is the offset after the value that begins at i.
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = skipString(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			if depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b)
}

// skipString is the offset after the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// member finds a member of the object that begins at i: the offset of its value. If there is none, at is the offset
// at which the member belongs (of a name, or of the closing brace).
func member(b []byte, i int, name string) (value, at int) {
	if i >= len(b) || b[i] != '{' {
		return -1, -1
	}
	for i++; i < len(b) && b[i] == '"'; {
		end := skipString(b, i)
		here := string(b[i+1 : max(i+1, end-1)])
		if here == name {
			return end + 1, i
		}
		if here > name {
			return -1, i
		}
		i = skipValue(b, end+1)
		if i < len(b) && b[i] == ',' {
			i++
		}
	}
	return -1, i
}

// entry finds an entry of the list that begins at i, -1 if it has none.
func entry(b []byte, i, index int) int {
	if i >= len(b) || b[i] != '[' {
		return -1
	}
	for i++; i < len(b) && b[i] != ']'; index-- {
		if index == 0 {
			return i
		}
		i = skipValue(b, i)
		if i < len(b) && b[i] == ',' {
			i++
		}
	}
	return -1
}

// locate finds the value at a path, -1 if there is none.
func locate(b []byte, path string) int {
	at := 0
	for rest := path; rest != "" && at >= 0; {
		var part part
		part, rest = firstPart(rest)
		if part.list {
			at = entry(b, at, part.index)
		} else {
			at, _ = member(b, at, part.name)
		}
	}
	return at
}

// part is one step of a piece's path: a member's name, or an entry of a list.
type part struct {
	name  string
	index int
	list  bool
}

// firstPart takes the first step off a path. A step that is none comes as a name that nothing has.
func firstPart(path string) (part, string) {
	path = strings.TrimPrefix(path, ".")
	if strings.HasPrefix(path, `["`) {
		end := skipString([]byte(path), 1)
		var name string
		if end >= len(path) || path[end] != ']' || json.Unmarshal([]byte(path[1:end]), &name) != nil {
			return part{name: path}, ""
		}
		return part{name: name}, path[end+1:]
	}
	if strings.HasPrefix(path, "[") {
		i, n := 1, 0
		for ; i < len(path) && path[i] >= '0' && path[i] <= '9' && n < 1<<30; i++ {
			n = n*10 + int(path[i]-'0')
		}
		if i == 1 || i >= len(path) || path[i] != ']' {
			return part{name: path}, ""
		}
		return part{index: n, list: true}, path[i+1:]
	}
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		return part{name: path}, ""
	}
	return part{name: path[:end]}, path[end:]
}

// splitLast takes the last step off a path: the path of what contains it, whether it is an entry of a list, and for a
// member the length of its name as JSON, with the quotes.
func splitLast(path string) (parent string, list bool, nameLen int) {
	if strings.HasSuffix(path, "]") {
		if strings.HasSuffix(path, `"]`) {
			// A name as a JSON string. It begins at the `["` from which a string leads right to the end.
			for i := 0; i < len(path); {
				_, rest := firstPart(path[i:])
				if rest == "" {
					return strings.TrimSuffix(path[:i], "."), false, len(path) - i - 2
				}
				i = len(path) - len(rest)
			}
		}
		return path[:strings.LastIndexByte(path, '[')], true, 0
	}
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", false, len(path) + 2
	}
	return path[:i], false, len(path) - i - 1 + 2
}

// appendName appends a member's name to a path.
func appendName(path, name string) string {
	plain := name != ""
	for i := range len(name) {
		plain = plain && isName(name[i])
	}
	switch {
	case !plain:
		return path + "[" + string(fhir.AppendString(nil, name)) + "]"
	case path == "":
		return name
	}
	return path + "." + name
}

// memberName is the name of the member at the end of a path, or of the list of which it is an entry.
func memberName(path string) string {
	if strings.HasSuffix(path, "]") && !strings.HasSuffix(path, `"]`) {
		path = path[:strings.LastIndexByte(path, '[')]
	}
	parent, _, _ := splitLast(path)
	last, _ := firstPart(path[len(parent):])
	return last.name
}
