package sandbox

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/chartlift/chartlift/pipeline/internal/filelock"
)

// The store's file is a list of records, one for each change that was made whole: a resource, a batch or a transaction.
//
//	"CLSBOX1\n", or "CLSBOXs\n" if only the server gives ids
//	record: mark (4 bytes), length of payload (4, little endian), CRC-32C of payload (4), CRC-32C of these 12 (4), payload
//	payload: zstd of a list of versions, all numbers as unsigned varints:
//	  1 (a resource), 2 (a deletion) or 3 (a resource that a POST created), type, id (length and bytes each), number, milliseconds since 1970;
//	  for a resource also the mark, and length and bytes of the text
//
// A record is written with one call before its change is answered for. The file is not synced record by record: what a
// killed process wrote is kept by the operating system, and a sandbox need not outlive a power cut. A record cut off at
// the end of the file is such a cut's trace: it was never answered for, or was lost with the machine, and is taken away.
// Damage anywhere else is refused.
const (
	logMagic   = "CLSBOX1\n"
	logOfOwnID = "CLSBOXs\n"
	headerSize = 16
	mostRecord = 1 << 30 // bytes of a payload, packed or not
)

var (
	recordMark = [4]byte{0xc5, 'R', 'E', 'C'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

const (
	opPut    = 1
	opDelete = 2
	opPost   = 3
)

func appendPut(dst []byte, n name, v version, text []byte) []byte {
	op := byte(opPut)
	if v.posted {
		op = opPost
	}
	dst = appendVersion(dst, op, n, v)
	dst = binary.AppendUvarint(dst, uint64(v.mark))
	return appendBytes(dst, text)
}

func appendDelete(dst []byte, n name, v version) []byte { return appendVersion(dst, opDelete, n, v) }

func appendVersion(dst []byte, op byte, n name, v version) []byte {
	dst = append(dst, op)
	dst = appendBytes(dst, n.typ)
	dst = appendBytes(dst, n.id)
	dst = binary.AppendUvarint(dst, uint64(v.number))
	return binary.AppendUvarint(dst, uint64(v.updated))
}

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// change is one version as the file tells it.
type change struct {
	name
	version version
	text    []byte // nil: a deletion
}

var errRecord = errors.New("a record does not hold what it should")

// readChanges takes a payload apart. The texts are parts of it.
func readChanges(payload []byte, f func(change) error) error {
	number := func() (uint64, bool) {
		n, size := binary.Uvarint(payload)
		if size <= 0 {
			return 0, false
		}
		payload = payload[size:]
		return n, true
	}
	text := func() ([]byte, bool) {
		n, ok := number()
		if !ok || n > uint64(len(payload)) {
			return nil, false
		}
		b := payload[:n]
		payload = payload[n:]
		return b, true
	}
	for len(payload) > 0 {
		op := payload[0]
		payload = payload[1:]
		typ, ok1 := text()
		id, ok2 := text()
		n, ok3 := number()
		updated, ok4 := number()
		if !ok1 || !ok2 || !ok3 || !ok4 || op < opPut || op > opPost || n == 0 || n > 1<<31 {
			return errRecord
		}
		c := change{name: name{string(typ), string(id)}, version: version{number: uint32(n), updated: int64(updated), deleted: op == opDelete, posted: op == opPost}}
		if op != opDelete {
			mark, ok1 := number()
			body, ok2 := text()
			if !ok1 || !ok2 || mark >= uint64(len(body)) {
				return errRecord
			}
			c.version.mark, c.text = uint32(mark), body
		}
		if err := f(c); err != nil {
			return err
		}
	}
	return nil
}

// log is the store's file, open for writing at its end. Not for concurrent use.
type log struct {
	file    *os.File
	end     int64 // of the last whole record
	encoder *zstd.Encoder
	packed  []byte
	broken  error // a write failed and could not be taken back: nothing more is written
}

// openLog opens or makes the file, calls f for every version in it, and takes away a torn tail. cut is how many bytes
// that was. A file that was made with the other rule about ids is refused.
func openLog(path string, serverIDs bool, f func(change) error) (l *log, cut int64, err error) {
	magic := logMagic
	if serverIDs {
		magic = logOfOwnID
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("open the sandbox's store: %w", err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	if held, err := filelock.Try(file); err != nil {
		return nil, 0, fmt.Errorf("lock the sandbox's store %s: %w", path, err)
	} else if !held {
		return nil, 0, fmt.Errorf("open the sandbox's store %s: another sandbox has it open", path)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("open the sandbox's store: %w", err)
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, 0, fmt.Errorf("open the sandbox's store: %w", err)
	}
	l = &log{file: file, encoder: encoder}
	if l.end, err = replay(file, info.Size(), magic, f); err != nil {
		return nil, 0, fmt.Errorf("read the sandbox's store %s: %w", path, err)
	}
	if cut = info.Size() - l.end; cut > 0 {
		if err := file.Truncate(l.end); err != nil {
			return nil, 0, fmt.Errorf("mend the sandbox's store: %w", err)
		}
	}
	if l.end == 0 {
		if _, err := file.WriteAt([]byte(magic), 0); err != nil {
			return nil, 0, fmt.Errorf("begin the sandbox's store: %w", err)
		}
		l.end = int64(len(magic))
	}
	return l, cut, nil
}

// replay reads the records and returns the offset behind the last whole one. A file that ends within its first eight
// bytes was cut off while it was made.
func replay(file io.ReaderAt, size int64, magic string, f func(change) error) (int64, error) {
	in := bufio.NewReaderSize(io.NewSectionReader(file, 0, size), 1<<20)
	start := make([]byte, min(size, int64(len(magic))))
	if _, err := io.ReadFull(in, start); err != nil && err != io.EOF {
		return 0, err
	}
	switch text := string(start); {
	case len(text) < len(magic) && (strings.HasPrefix(logMagic, text) || strings.HasPrefix(logOfOwnID, text)):
		return 0, nil
	case text == magic:
	case text == logMagic:
		return 0, errors.New("its clients chose the ids; open it with --ids client, or begin another file")
	case text == logOfOwnID:
		return 0, errors.New("its ids are the server's; open it with --ids server, or begin another file")
	default:
		return 0, errors.New("it is not the store of a sandbox")
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(mostRecord))
	if err != nil {
		return 0, err
	}
	defer decoder.Close()
	var packed, payload []byte
	at := int64(len(magic))
	for at < size {
		var head [headerSize]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return at, torn(file, at, size, err)
		}
		length := int64(binary.LittleEndian.Uint32(head[4:]))
		if [4]byte(head[:4]) != recordMark || crc32.Checksum(head[:12], castagnoli) != binary.LittleEndian.Uint32(head[12:]) ||
			length > mostRecord {
			return at, torn(file, at, size, nil)
		}
		if at+headerSize+length > size {
			return at, torn(file, at, size, nil)
		}
		packed = append(packed[:0], make([]byte, length)...)
		if _, err := io.ReadFull(in, packed); err != nil {
			return at, torn(file, at, size, err)
		}
		if crc32.Checksum(packed, castagnoli) != binary.LittleEndian.Uint32(head[8:]) {
			return at, torn(file, at, size, nil)
		}
		if payload, err = decoder.DecodeAll(packed, payload[:0]); err != nil {
			return at, fmt.Errorf("the record at byte %d: %w", at, errRecord)
		}
		if err := readChanges(payload, f); err != nil {
			return at, fmt.Errorf("the record at byte %d: %w", at, err)
		}
		at += headerSize + length
	}
	return at, nil
}

// torn tells a tail that was cut off while it was written (nil: what follows byte at can be taken away) from damage
// inside the file: there, another record follows.
func torn(file io.ReaderAt, at, size int64, err error) error {
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	damage := fmt.Errorf("it is damaged at byte %d, with whole records behind; restore it from a copy, or start with a new file", at)
	buffer := make([]byte, 1<<20)
	for from := at + 1; from < size; {
		n, err := file.ReadAt(buffer, from)
		if err != nil && err != io.EOF {
			return err
		}
		for i := 0; i+headerSize <= n; i++ {
			if [4]byte(buffer[i:i+4]) == recordMark &&
				crc32.Checksum(buffer[i:i+12], castagnoli) == binary.LittleEndian.Uint32(buffer[i+12:]) {
				return damage
			}
		}
		if n < headerSize {
			break
		}
		from += int64(n - headerSize + 1)
	}
	return nil
}

// append writes one record. When it returns an error, nothing of the record is in the file.
func (l *log) append(payload []byte) error {
	if l.broken != nil {
		return l.broken
	}
	if len(payload) > mostRecord {
		return errors.New("sandbox store: the change is too large for one record")
	}
	l.packed = append(l.packed[:0], make([]byte, headerSize)...)
	l.packed = l.encoder.EncodeAll(payload, l.packed)
	head := l.packed[:headerSize]
	copy(head, recordMark[:])
	binary.LittleEndian.PutUint32(head[4:], uint32(len(l.packed)-headerSize))
	binary.LittleEndian.PutUint32(head[8:], crc32.Checksum(l.packed[headerSize:], castagnoli))
	binary.LittleEndian.PutUint32(head[12:], crc32.Checksum(head[:12], castagnoli))
	if _, err := l.file.WriteAt(l.packed, l.end); err != nil {
		if cut := l.file.Truncate(l.end); cut != nil {
			l.broken = errors.New("sandbox store: a write failed and could not be taken back")
		}
		return fmt.Errorf("write the sandbox's store: %w", err)
	}
	l.end += int64(len(l.packed))
	return nil
}

// close syncs and closes the file.
func (l *log) close() error {
	err := l.file.Sync()
	if e := l.file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("close the sandbox's store: %w", err)
	}
	return nil
}
