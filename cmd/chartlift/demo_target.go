package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// plantedTarget is a defect that the demo makes in the server after loading, as hands or a fault would.
type plantedTarget struct {
	Verdict string     `json:"verdict"` // what reconciling must call it
	Type    string     `json:"type"`
	Do      string     `json:"do"`   // set, delete, copy
	Path    string     `json:"path"` // of set
	Value   jsonScalar `json:"value"`
	ID      string     `json:"id"` // of copy
	What    string     `json:"what"`
}

// jsonScalar keeps a JSON value as it is written.
type jsonScalar string

// UnmarshalJSON keeps the text.
func (s *jsonScalar) UnmarshalJSON(b []byte) error { *s = jsonScalar(b); return nil }

// targetEditor changes resources in the demo's own server.
type targetEditor struct{ base string }

func (t *targetEditor) do(ctx context.Context, method, path string, body []byte) (*fhir.Node, error) {
	req, err := http.NewRequestWithContext(ctx, method, t.base+"/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/fhir+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if len(data) == 0 {
		return nil, nil
	}
	return fhir.Parse(data)
}

// plant makes the defect in the first resource of the type that it fits.
func (p *plantedTarget) plant(ctx context.Context, t *targetEditor) error {
	page, err := t.do(ctx, http.MethodGet, p.Type+"?_count=200", nil)
	if err != nil {
		return err
	}
	for _, entry := range entries(page) {
		r := entry.Get("resource")
		switch p.Do {
		case "delete":
			_, err := t.do(ctx, http.MethodDelete, p.Type+"/"+r.ID(), nil)
			return err
		case "copy":
			c := r.Clone().Set("id", fhir.NewString(p.ID))
			_, err := t.do(ctx, http.MethodPut, p.Type+"/"+p.ID, c.AppendCanonical(nil))
			return err
		case "set":
			c := r.Clone()
			if at := walk(c, p.Path); at != nil && at.Text != string(p.Value) {
				at.Text = string(p.Value)
				_, err := t.do(ctx, http.MethodPut, p.Type+"/"+r.ID(), c.AppendCanonical(nil))
				return err
			}
		}
	}
	return errors.New("no resource to do it to")
}

// walk follows a path such as dosageInstruction[0].text; nil if it leads nowhere.
func walk(n *fhir.Node, path string) *fhir.Node {
	for _, step := range strings.Split(path, ".") {
		name, index, listed := strings.Cut(strings.TrimSuffix(step, "]"), "[")
		n = n.Get(name)
		if listed {
			i, err := strconv.Atoi(index)
			if err != nil {
				return nil
			}
			n = n.Item(i)
		}
	}
	return n
}

// entries lists the entries of a Bundle.
func entries(bundle *fhir.Node) []*fhir.Node {
	if list := bundle.Get("entry"); list != nil {
		return list.Items
	}
	return nil
}
