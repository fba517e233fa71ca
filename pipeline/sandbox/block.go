package sandbox

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	blockSize   = 64 << 10 // bytes of text in a block before it is compressed
	cachedTexts = 64       // blocks kept as text as well, so that reading in the order of writing unpacks each once
)

// place says where a text lies: its block, and the range within the block's text.
type place struct {
	block, start, length uint32
}

// blocks hold texts in memory, packed. Patients' resources look alike, so that a block takes a fifth to a tenth of its
// text. A text once added stays; nothing is ever moved or changed. add is not for concurrent use, neither with itself
// nor with get; get is, with itself.
type blocks struct {
	packed  [][]byte // zstd; the last one is open and has nothing here
	open    []byte   // text of the last block
	encoder *zstd.Encoder
	decoder *zstd.Decoder

	mu    sync.Mutex
	texts map[uint32][]byte // unpacked blocks
	order []uint32          // of texts, oldest first
}

func newBlocks() (*blocks, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("sandbox memory: %w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		return nil, fmt.Errorf("sandbox memory: %w", err)
	}
	return &blocks{packed: [][]byte{nil}, encoder: encoder, decoder: decoder, texts: map[uint32][]byte{}}, nil
}

// add keeps a copy of the text.
func (b *blocks) add(text []byte) place {
	if len(b.open) > 0 && len(b.open)+len(text) > blockSize {
		b.packed[len(b.packed)-1] = b.encoder.EncodeAll(b.open, make([]byte, 0, len(b.open)/4))
		b.packed = append(b.packed, nil)
		// Readers may still hold parts of the open text, so it is left to them.
		b.open = make([]byte, 0, blockSize)
	}
	p := place{uint32(len(b.packed) - 1), uint32(len(b.open)), uint32(len(text))}
	b.open = append(b.open, text...)
	return p
}

var errBlock = errors.New("sandbox memory: a block cannot be unpacked")

// get returns the text, which must not be changed.
func (b *blocks) get(p place) ([]byte, error) {
	text, err := b.text(p.block)
	if err != nil {
		return nil, err
	}
	end := p.start + p.length
	if int(end) > len(text) {
		return nil, errBlock
	}
	return text[p.start:end:end], nil
}

func (b *blocks) text(block uint32) ([]byte, error) {
	if int(block) == len(b.packed)-1 {
		return b.open, nil
	}
	b.mu.Lock()
	text, ok := b.texts[block]
	b.mu.Unlock()
	if ok {
		return text, nil
	}
	text, err := b.decoder.DecodeAll(b.packed[block], make([]byte, 0, blockSize))
	if err != nil {
		return nil, errBlock
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.texts[block]; !ok {
		if len(b.order) == cachedTexts {
			delete(b.texts, b.order[0])
			b.order = b.order[1:]
		}
		b.texts[block] = text
		b.order = append(b.order, block)
	}
	return text, nil
}
