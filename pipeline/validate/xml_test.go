package validate_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// fromXML reads a resource from FHIR's XML (xml.html) into the tree that its JSON has; HL7 writes many of its cases so.
func fromXML(data []byte) (*fhir.Node, error) {
	r := &xmlReader{d: xml.NewDecoder(bytes.NewReader(data)), data: data}
	for {
		token, err := r.d.Token()
		if err != nil {
			return nil, err
		}
		if start, ok := token.(xml.StartElement); ok {
			n, err := r.resource(start)
			if err != nil {
				return nil, err
			}
			return fhir.Parse(n.AppendCanonical(nil)) // so that values have places, and names that occur twice are met
		}
	}
}

type xmlReader struct {
	d    *xml.Decoder
	data []byte
}

func (r *xmlReader) resource(start xml.StartElement) (*fhir.Node, error) {
	t := fhir.Lookup(start.Name.Local)
	if t == nil {
		return nil, fmt.Errorf("no resource of R4: %s", start.Name.Local)
	}
	n := fhir.NewObject(fhir.Member{Name: "resourceType", Value: fhir.NewString(t.Name)})
	return n, r.object(n, t, start)
}

// object reads the attributes and children of an element into n.
func (r *xmlReader) object(n *fhir.Node, t *fhir.Type, start xml.StartElement) error {
	for _, a := range start.Attr {
		if a.Name.Local == "id" || a.Name.Local == "url" {
			n.Set(a.Name.Local, fhir.NewString(a.Value))
		}
	}
	for {
		before := r.d.InputOffset()
		token, err := r.d.Token()
		if err != nil {
			return err
		}
		switch x := token.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if err := r.child(n, t, x, before); err != nil {
				return err
			}
		}
	}
}

func (r *xmlReader) child(n *fhir.Node, of *fhir.Type, start xml.StartElement, before int64) error {
	name := start.Name.Local
	e, t := of.Element(name)
	if t == nil {
		n.Set(name, fhir.NewString("not an element of "+of.Name))
		return r.d.Skip()
	}
	var value, under *fhir.Node
	switch {
	case t.Name == "xhtml":
		if err := r.d.Skip(); err != nil {
			return err
		}
		value = fhir.NewString(string(r.data[before:r.d.InputOffset()]))
	case t.Kind == fhir.KindPrimitive:
		under = fhir.NewObject()
		for _, a := range start.Attr {
			if a.Name.Local == "value" {
				value = xmlValue(t, a.Value)
			}
		}
		if err := r.object(under, t, start); err != nil {
			return err
		}
		if len(under.Members) == 0 {
			under = nil
		}
	case t.Kind == fhir.KindResource:
		for value == nil {
			token, err := r.d.Token()
			if err != nil {
				return err
			}
			if inner, ok := token.(xml.StartElement); ok {
				if value, err = r.resource(inner); err != nil {
					return err
				}
			}
		}
		if err := r.d.Skip(); err != nil && err != io.EOF {
			return err
		}
	default:
		value = fhir.NewObject()
		if err := r.object(value, t, start); err != nil {
			return err
		}
	}
	if !e.Repeats() {
		if first := n.Get(name); first != nil && value != nil {
			value = fhir.NewArray(first, value) // more than there may be
		}
		if value != nil {
			n.Set(name, value)
		}
		if under != nil {
			n.Set("_"+name, under)
		}
		return nil
	}
	values, unders := n.Get(name), n.Get("_"+name)
	count := 0
	if values != nil {
		count = len(values.Items)
	} else if unders != nil {
		count = len(unders.Items)
	}
	place := func(list *fhir.Node, property string, item *fhir.Node) {
		if list == nil && item == nil {
			return
		}
		if list == nil {
			list = fhir.NewArray()
			for range count {
				list.Items = append(list.Items, &fhir.Node{})
			}
			n.Set(property, list)
		}
		if item == nil {
			item = &fhir.Node{}
		}
		list.Items = append(list.Items, item)
	}
	if value == nil && values == nil {
		values = fhir.NewArray()
		for range count {
			values.Items = append(values.Items, &fhir.Node{})
		}
		n.Set(name, values)
	}
	place(values, name, value)
	place(unders, "_"+name, under)
	return nil
}

// xmlValue is the JSON value of an attribute value.
func xmlValue(t *fhir.Type, text string) *fhir.Node {
	switch {
	case t.Is("boolean") && (text == "true" || text == "false"):
		return fhir.NewBoolean(text == "true")
	case (t.Is("integer") || t.Is("decimal")) && fhir.IsNumber(text):
		return fhir.NewNumber(text)
	}
	return fhir.NewString(strings.TrimSpace(text))
}
