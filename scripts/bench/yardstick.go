package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// The yardstick: what the work on one table costs when somebody writes it by hand for that table alone, as fast as
// they can. It is no part of Chartlift and shares no code with it, so that it does not get faster or slower with it.
//
// Per row: cut the line into cells; up to three HMAC-SHA-256 ids (the resource's, patient, encounter), cut to 160 bits,
// as base32; the resource in canonical JSON (yardstick_tables.go); a digest of it under the patient's key; the row, as JSON, sealed with
// AES-256-GCM under the patient's key, with a random nonce and the ids as additional data. Per batch: zstd over the
// resources (what is sealed does not compress and stays out of it), then AES-256-GCM over all. A patient's keys and
// ciphers are made once for the rows that stand together.

// rowsPerBatch is the size of a batch of the yardstick.
const rowsPerBatch = 4096

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// loop holds what is reused from row to row.
type loop struct {
	t       *table
	root    [32]byte  // wraps nothing here: the patients' keys are derived from it
	ids     hash.Hash // HMAC under the id key
	keys    hash.Hash // HMAC under the root key
	digest  hash.Hash // HMAC under the patient's digest key
	patient []byte    // whose keys are at hand
	sealer  cipher.AEAD
	batchOf cipher.AEAD
	packer  *zstd.Encoder

	sum, id, patientID, encounterID, key, row, aad []byte
	clinical, sealed, packed                       []byte
	inBatch                                        int
	clean                                          bool // nothing in the line needs an escape in JSON
	from, to                                       int  // what of the resource is sealed with the row

	resources, bytes int64
	keep             func(batch []byte) // for tests; nil otherwise
}

func newLoop(t *table) (*loop, error) {
	y := &loop{t: t}
	var idKey, batchKey [32]byte
	for _, k := range [][]byte{y.root[:], idKey[:], batchKey[:]} {
		if _, err := rand.Read(k); err != nil {
			return nil, err
		}
	}
	y.ids, y.keys = hmac.New(sha256.New, idKey[:]), hmac.New(sha256.New, y.root[:])
	var err error
	if y.batchOf, err = gcm(batchKey[:]); err != nil {
		return nil, err
	}
	y.packer, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false)) // AES-GCM notices any damage
	return y, err
}

// gcm is AES-256-GCM that draws a random nonce for each message and puts it in front.
func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// yardstick runs the loop over a table.
func yardstick(ctx context.Context, w workload, started func()) (int64, error) {
	f, err := os.Open(w.Table)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	t, err := tableOf(w.TableName)
	if err != nil {
		return 0, err
	}
	y, err := newLoop(t)
	if err != nil {
		return 0, err
	}
	started()
	if err := y.run(ctx, f); err != nil {
		return 0, err
	}
	return y.resources, nil
}

func (y *loop) run(ctx context.Context, in io.Reader) error {
	r := bufio.NewReaderSize(in, 256<<10)
	if _, err := r.ReadSlice('\n'); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	cells := make([][]byte, len(y.t.columns))
	for n := int64(2); ; n++ {
		line, err := r.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("line %d: %w", n, err)
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		y.clean = clean(line)
		if !split(line, cells) {
			return fmt.Errorf("line %d is none of ours", n)
		}
		if err := y.one(cells); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if y.inBatch == rowsPerBatch {
			if err := ctx.Err(); err != nil {
				return err
			}
			y.flush()
		}
	}
	y.flush()
	return nil
}

// split cuts a line into cells. The generated table has no quotes, and the loop is for that table; one that comes all
// the same is noticed.
func split(line []byte, cells [][]byte) bool {
	if bytes.IndexByte(line, '"') >= 0 {
		return false
	}
	last := len(cells) - 1
	for i := range last {
		j := bytes.IndexByte(line, ',')
		if j < 0 {
			return false
		}
		cells[i], line = line[:j], line[j+1:]
	}
	cells[last] = line
	return bytes.IndexByte(line, ',') < 0
}

var errNumber = errors.New("a value is no decimal number")

// one makes the resource of one row.
func (y *loop) one(cells [][]byte) error {
	t := y.t
	if t.number >= 0 && !decimal(cells[t.number]) {
		return errNumber
	}
	patient := cells[t.patient]
	if !bytes.Equal(patient, y.patient) {
		if err := y.open(patient); err != nil {
			return err
		}
	}
	y.id = y.derive(y.id[:0], t.name, cells, t.key...)
	y.patientID = y.derive(y.patientID[:0], "patients", cells, t.patient)
	if t.encounter >= 0 {
		y.encounterID = y.derive(y.encounterID[:0], "encounters", cells, t.encounter)
	}

	// The resource goes straight into the batch, behind its length.
	start := len(y.clinical)
	b := append(y.clinical, 0, 0, 0, 0)
	y.from, y.to = 0, 0
	b = t.write(y, b, cells)
	whole := b[start+4:]
	y.digest.Reset()
	y.digest.Write(whole)
	y.sum = y.digest.Sum(y.sum[:0])

	y.row = y.row[:0]
	if y.to > y.from { // what the clinical part must not show goes with the row
		y.row = append(append(y.row, b[y.from:y.to]...), '\n')
		b = append(b[:y.from], b[y.to:]...)
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	y.clinical = b

	y.row = append(y.row, '{')
	for i, c := range cells {
		if i > 0 {
			y.row = append(y.row, ',')
		}
		y.row = append(y.row, '"')
		y.row = append(y.row, t.columns[i]...)
		y.row = append(y.row, `":`...)
		y.row = y.quoted(y.row, c)
	}
	y.row = append(y.row, '}')
	y.aad = append(append(append(append(append(y.aad[:0], t.typ...), '/'), y.id...), y.patientID...), y.sum[:16]...)
	start = len(y.sealed)
	y.sealed = append(y.sealed, 0, 0, 0, 0)
	y.sealed = append(y.sealed, y.aad...)
	y.sealed = y.sealer.Seal(y.sealed, nil, y.row, y.aad)
	binary.LittleEndian.PutUint32(y.sealed[start:], uint32(len(y.sealed)-start-4))
	y.inBatch++
	y.resources++
	return nil
}

// open derives the keys of a patient: one to seal with, one for digests.
func (y *loop) open(patient []byte) error {
	y.patient = append(y.patient[:0], patient...)
	derive := func(use string) []byte {
		y.keys.Reset()
		y.keys.Write([]byte(use))
		y.keys.Write(patient)
		y.key = y.keys.Sum(y.key[:0])
		return y.key
	}
	var err error
	if y.sealer, err = gcm(derive("seal ")); err != nil {
		return err
	}
	y.digest = hmac.New(sha256.New, derive("digest "))
	return nil
}

// derive appends the id of a record: an HMAC over migration, table and the parts of the key, each with its length.
func (y *loop) derive(dst []byte, table string, cells [][]byte, key ...int) []byte {
	k := append(y.key[:0], "\x05bench"...)
	k = append(append(k, byte(len(table))), table...)
	for _, i := range key {
		k = append(binary.AppendUvarint(k, uint64(len(cells[i]))), cells[i]...)
	}
	y.key = k
	y.ids.Reset()
	y.ids.Write(k)
	y.sum = y.ids.Sum(y.sum[:0])
	return lowerBase32.AppendEncode(dst, y.sum[:20])
}

// clean tells whether no byte of a line needs an escape in a JSON string, eight at a time: a byte below 0x20, a quote or
// a backslash sets the high bit of its place. A few other bytes do too; then the slow way is taken for nothing.
func clean(line []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(line) >= 8 {
		w := binary.LittleEndian.Uint64(line)
		quote, slash := w^ones*'"', w^ones*'\\'
		if ((w-ones*0x20)|(quote-ones)|(slash-ones))&^w&high != 0 {
			return false
		}
		line = line[8:]
	}
	for _, c := range line {
		if c < 0x20 || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// quoted appends a cell as a JSON string.
func (y *loop) quoted(b, s []byte) []byte {
	if y.clean {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	return quoted(b, s)
}

// quoted appends a JSON string.
func quoted(b, s []byte) []byte {
	b = append(b, '"')
	from := 0
	for i, c := range s {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		if c < 0x20 {
			b = fmt.Appendf(b, `\u%04x`, c)
			continue
		}
		b = append(b, '\\', c)
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// decimal tells a number that JSON can take as it is written.
func decimal(s []byte) bool {
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	whole := i
	for i < len(s) && s[i]-'0' < 10 {
		i++
	}
	if i == whole || s[whole] == '0' && i > whole+1 {
		return false
	}
	if i == len(s) {
		return true
	}
	if s[i] != '.' {
		return false
	}
	i++
	fraction := i
	for i < len(s) && s[i]-'0' < 10 {
		i++
	}
	return i == len(s) && i > fraction
}

// flush packs and seals a batch.
func (y *loop) flush() {
	if y.inBatch == 0 {
		return
	}
	y.packed = append(y.packed[:0], 0, 0, 0, 0)
	y.packed = y.packer.EncodeAll(y.clinical, y.packed)
	binary.LittleEndian.PutUint32(y.packed, uint32(len(y.packed)-4))
	y.packed = append(y.packed, y.sealed...)
	// The sealed batch takes the place of the resources, which are packed.
	y.clinical = y.batchOf.Seal(y.clinical[:0], nil, y.packed, []byte("bench"))
	y.bytes += int64(len(y.clinical))
	if y.keep != nil {
		y.keep(y.clinical)
	}
	y.clinical, y.sealed, y.inBatch = y.clinical[:0], y.sealed[:0], 0
}
