package terminology

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// locate finds the line and the column, in bytes from 1, of an element of a JSON text by its path, such as
// group[0].element[3].code; of what is not there, that of the nearest element around it.
func locate(data []byte, path string) (line, column int) {
	steps := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) })
	d := json.NewDecoder(bytes.NewReader(data))
	at := descend(data, d, steps)
	before := data[:at]
	return bytes.Count(before, []byte{'\n'}) + 1, at - bytes.LastIndexByte(before, '\n')
}

// descend goes into the value before the decoder, and returns where the steps lead.
func descend(data []byte, d *json.Decoder, steps []string) int {
	at := int(d.InputOffset())
	for at < len(data) && strings.IndexByte(" \t\r\n,:", data[at]) >= 0 {
		at++
	}
	if len(steps) == 0 {
		return at
	}
	open, err := d.Token()
	if err != nil || open != json.Delim('{') && open != json.Delim('[') {
		return at
	}
	for i := 0; d.More(); i++ {
		name := strconv.Itoa(i)
		if open == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				return at
			}
			name, _ = key.(string)
		}
		if name == steps[0] {
			return descend(data, d, steps[1:])
		}
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			return at
		}
	}
	return at
}
