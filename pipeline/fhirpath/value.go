package fhirpath

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unsafe"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Kind tells what a [Value] is to FHIRPath. Primitives of a resource have the kind of the System type that they
// convert to: a code is a KindString whose [Value.Type] is "code".
type Kind uint8

// The kinds of values. KindNone is the zero value of Value: no value, an empty collection.
const (
	KindNone Kind = iota
	KindBoolean
	KindString
	KindInteger
	KindDecimal
	KindDate
	KindDateTime
	KindTime
	KindQuantity // System.Quantity; a Quantity of a resource is a KindObject
	KindObject   // a complex value, or a primitive that has no value but only an id or extensions
	KindRow      // a record
)

var kindNames = [...]string{"nothing", "Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity",
	"Object", "Row"}

// String returns the kind as FHIRPath names the type.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Value is one item of a collection. It is passed by value and holds no memory of its own but the text it points to.
// A value that was made while evaluating is dead after [Context.Reset].
//
// A Value holds patient data: it prints as [redacted]. [Value.Text] is what it says.
//
// It is four words, the most that Go keeps in registers: everything else would be copied through memory at each step
// of an expression. What the pointers mean the kind and flagNode tell; [Value.written] and its neighbours read them.
type Value struct {
	meta  uint64         // kind, precision, flags, zone, length of the text: see below
	num   int64          // Boolean 0/1; Integer; Decimal and Quantity: coefficient; Date, DateTime, Time: ticks of 100 ns
	first unsafe.Pointer // the bytes of the text; under flagNode a *fhir.Node; of a KindRow a *Row
	other unsafe.Pointer // under flagNode a *fhir.Type; of a KindQuantity the *fhir.Node of its unit
}

// The parts of Value.meta: bits 0-7 kind; 8-15 precision of a date or time, or scale of a decimal; 16-19 flags; 20-31
// the zone in minutes; 32-63 the length of the text that first points to.
const (
	flagBig      = 1 << 16 // Decimal, Quantity: the number does not fit num, parse text
	flagZone     = 1 << 17 // DateTime: has a zone
	flagCalendar = 1 << 18 // Quantity: the unit is a calendar word (4 days), not UCUM (4 'd')
	flagNode     = 1 << 19 // comes from a resource
)

func (v Value) kind() Kind           { return Kind(v.meta) }
func (v Value) prec() uint8          { return uint8(v.meta >> 8) }
func (v Value) has(flag uint64) bool { return v.meta&flag != 0 }
func (v Value) zone() int            { return int(int16(v.meta>>16) >> 4) }
func (v Value) none() bool           { return Kind(v.meta) == KindNone }

// written is the text of the value as it was written, or as FHIRPath writes it; "" for a Boolean, for a number made
// while evaluating and for what has no text.
func (v Value) written() string {
	if v.meta&flagNode == 0 {
		return unsafe.String((*byte)(v.first), int(v.meta>>32))
	}
	if k := v.kind(); k == KindBoolean || k == KindObject {
		return ""
	}
	return (*fhir.Node)(v.first).Text
}

// withText gives the value another text; it is no longer one of a resource.
func (v Value) withText(s string) Value {
	v.meta = v.meta&(1<<32-1)&^flagNode | uint64(len(s))<<32
	v.first = unsafe.Pointer(unsafe.StringData(s))
	return v
}

// element is the node of a value that comes from a resource, else nil.
func (v Value) element() *fhir.Node {
	if v.meta&flagNode == 0 {
		return nil
	}
	return (*fhir.Node)(v.first)
}

// model is the FHIR type of a value that comes from a resource, else nil.
func (v Value) model() *fhir.Type {
	if v.meta&flagNode == 0 {
		return nil
	}
	return (*fhir.Type)(v.other)
}

// record is the row of a KindRow, else nil.
func (v Value) record() *Row {
	if v.kind() != KindRow {
		return nil
	}
	return (*Row)(v.first)
}

// unitNode is the unit of a KindQuantity, else nil.
func (v Value) unitNode() *fhir.Node {
	if v.kind() != KindQuantity {
		return nil
	}
	return (*fhir.Node)(v.other)
}

func metaOf(k Kind, prec uint8) uint64 { return uint64(k) | uint64(prec)<<8 }

// Kind is the kind of the value; KindNone for the zero Value.
func (v Value) Kind() Kind { return v.kind() }

// IsEmpty tells whether there is no value at all (the zero Value).
func (v Value) IsEmpty() bool { return v.none() }

// Type is the name of the value's type: of FHIR ("code", "HumanName", "Patient", "Patient.contact") if it comes from a
// resource, else "System.String" and the like. "Row" for a record, "" for no value.
func (v Value) Type() string {
	if v.model() != nil {
		return v.model().Name
	}
	switch v.kind() {
	case KindNone:
		return ""
	case KindObject:
		return "Object"
	case KindRow:
		return "Row"
	}
	return "System." + v.kind().String()
}

// FHIRType is the type of a value that comes from a resource, else nil.
func (v Value) FHIRType() *fhir.Type { return v.model() }

// Text is the value as FHIRPath's toString() writes it: decimals and dates as they were written, dates without `@`.
// Quantities as `1.5 'mg'`. "" for objects and rows.
func (v Value) Text() string {
	switch v.kind() {
	case KindBoolean:
		if v.num != 0 {
			return "true"
		}
		return "false"
	case KindInteger:
		if v.written() != "" {
			return v.written()
		}
		return strconv.FormatInt(v.num, 10)
	case KindQuantity:
		unit := v.unit()
		if v.has(flagCalendar) {
			return v.number() + " " + unit
		}
		return v.number() + " '" + unit + "'"
	case KindDecimal:
		return v.number()
	}
	return v.written()
}

// number is the literal of a Decimal or of a Quantity's magnitude.
func (v Value) number() string {
	if v.written() != "" {
		return v.written()
	}
	return string(appendScaled(nil, v.num, v.prec()))
}

// unit is the unit of a Quantity, without quotes.
func (v Value) unit() string {
	if n := v.unitNode(); n != nil {
		return n.Text
	}
	return ""
}

// Bool is the value of a Boolean; false for anything else.
func (v Value) Bool() bool { return v.kind() == KindBoolean && v.num != 0 }

// Int is the value of an Integer; 0 for anything else.
func (v Value) Int() int64 {
	if v.kind() == KindInteger {
		return v.num
	}
	return 0
}

// Str is the text of a String (also of a code, uri, …); "" for anything else.
func (v Value) Str() string {
	if v.kind() == KindString {
		return v.written()
	}
	return ""
}

// Magnitude and unit of a Quantity: the number as written, and the unit without quotes. Calendar tells that the unit
// is a calendar word (4 days) and not UCUM.
func (v Value) QuantityParts() (number, unit string, calendar bool) {
	if v.kind() != KindQuantity {
		return "", "", false
	}
	return v.number(), v.unit(), v.has(flagCalendar)
}

// Node is the node of a value that comes from a resource or was built as one: the object, or the primitive's JSON
// value. A primitive with extensions has a node whose Text is the value and whose Members are those of `_name`. Nil
// for values that FHIRPath made, and for records.
func (v Value) Node() *fhir.Node {
	return v.element()
}

// Row is the record of a KindRow, else nil.
func (v Value) Row() *Row { return v.record() }

// Format prints [redacted] under every verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// MarshalJSON is "[redacted]": a value that strays into a log or a report shows nothing.
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// Row is a record under evaluation: its cells in the order of Env.Columns, blank cells as "", and its collections of
// rows in the order of Env.Children. It prints as [redacted].
type Row struct {
	Cells    []string
	Children [][]*Row
	Ordinal  int64
}

// Format prints [redacted] under every verb.
func (r Row) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// MarshalJSON is "[redacted]".
func (r Row) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// String is a System.String.
func String(s string) Value {
	return Value{meta: uint64(KindString) | uint64(len(s))<<32, first: unsafe.Pointer(unsafe.StringData(s))}
}

// Boolean is a System.Boolean.
func Boolean(b bool) Value {
	if b {
		return Value{meta: uint64(KindBoolean), num: 1}
	}
	return Value{meta: uint64(KindBoolean)}
}

// Integer is a System.Integer. FHIRPath's integers have 32 bits; results outside are errors where they are computed.
func Integer(i int64) Value { return Value{meta: uint64(KindInteger), num: i} }

// ErrForm is returned by the constructors for a text that does not have the form of the type. It holds no value.
var ErrForm = errors.New("text does not have the form of the type")

// Decimal is a System.Decimal, written as the text is: digits with an optional sign, point and exponent.
func Decimal(text string) (Value, error) {
	v, ok := decimalValue(text)
	if !ok {
		return Value{}, ErrForm
	}
	return v, nil
}

// Date is a System.Date: YYYY, YYYY-MM or YYYY-MM-DD.
func Date(text string) (Value, error) {
	v, ok := parseDate(text)
	if !ok {
		return Value{}, ErrForm
	}
	return v, nil
}

// DateTime is a System.DateTime: a date, then optionally T, a time of any precision and a zone.
func DateTime(text string) (Value, error) {
	v, ok := parseDateTime(text)
	if !ok {
		return Value{}, ErrForm
	}
	return v, nil
}

// quantityOf makes a quantity of a Decimal or Integer.
func quantityOf(number Value, unit *fhir.Node, calendar bool) Value {
	q := Value{meta: number.meta&^0xff | uint64(KindQuantity), num: number.num}
	if number.kind() == KindInteger {
		q.meta = uint64(KindQuantity)
	}
	if calendar {
		q.meta |= flagCalendar
	}
	q = q.withText(number.written())
	q.other = unsafe.Pointer(unit)
	return q
}

// Object is a value of a node that has the type t: a resource, a datatype or a primitive, whose value becomes that of
// the System type it converts to. With a nil type a resource finds its own by resourceType.
func Object(n *fhir.Node, t *fhir.Type) Value {
	if n == nil {
		return Value{}
	}
	if n.Kind == fhir.Object && (t == nil || t.Kind == fhir.KindResource) {
		if name := n.ResourceType(); name != "" && (t == nil || t.Name != name) {
			if found := fhir.Lookup(name); found != nil {
				t = found
			}
		}
	}
	return valueOf(n, t)
}

// Element is the value of one element of a resource: its JSON, and what stands beside it under `_name`, of which either
// may be nil. The zero Value if both are. It is alive until [Context.Reset].
func Element(c *Context, n, under *fhir.Node, t *fhir.Type) Value { return singleNode(c, n, under, t) }

// RowValue is a record as a value.
func RowValue(r *Row) Value {
	if r == nil {
		return Value{}
	}
	return Value{meta: uint64(KindRow), first: unsafe.Pointer(r)}
}

// valueOf types a single JSON value. A primitive that does not have the form of its type stays a String of that type:
// malformed resources can be read, and comparing such a value as a date is a mismatch of types.
func valueOf(n *fhir.Node, t *fhir.Type) Value {
	v := Value{first: unsafe.Pointer(n), other: unsafe.Pointer(t)}
	switch n.Kind {
	case fhir.String:
		v.meta = uint64(KindString) | flagNode
		if t != nil {
			switch t.Name {
			case "date":
				if d, ok := parseDate(n.Text); ok {
					v.meta, v.num = d.meta&(1<<32-1)|flagNode, d.num
				}
			case "dateTime", "instant":
				if d, ok := parseDateTime(n.Text); ok {
					v.meta, v.num = d.meta&(1<<32-1)|flagNode, d.num
				}
			case "time":
				if d, ok := parseTime(n.Text); ok {
					v.meta, v.num = d.meta&(1<<32-1)|flagNode, d.num
				}
			}
		}
	case fhir.Number:
		v.meta = uint64(KindString) | flagNode
		if t == nil || t.Is("integer") {
			if i, err := strconv.ParseInt(n.Text, 10, 32); err == nil {
				v.meta, v.num = uint64(KindInteger)|flagNode, i
				return v
			}
		}
		if d, ok := decimalValue(n.Text); ok {
			v.meta, v.num = d.meta&(1<<32-1)|flagNode, d.num
		}
	case fhir.Boolean:
		v.meta = uint64(KindBoolean) | flagNode
		if n.Text == "true" {
			v.num = 1
		}
	default:
		v.meta = uint64(KindObject) | flagNode
	}
	return v
}

// valueless tells whether the value is a primitive that has only an id or extensions: to whatever needs a value it is
// as good as empty.
func (v Value) valueless() bool {
	return v.kind() == KindObject && v.model() != nil && v.model().Kind == fhir.KindPrimitive
}

// plain is the value as one of the System type: without node and FHIR type.
func (v Value) plain() Value {
	if v.kind() < KindQuantity && v.meta&flagNode != 0 {
		v = v.withText(v.written())
		v.other = nil
	}
	return v
}

// fits32 tells whether an integer is one of FHIRPath's.
func fits32(i int64) bool { return i >= math.MinInt32 && i <= math.MaxInt32 }

// isResource tells whether the value is a resource.
func (v Value) isResource() bool {
	return v.kind() == KindObject && v.model() != nil && v.model().Kind == fhir.KindResource
}
