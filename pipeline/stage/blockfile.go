package stage

import (
	"context"
	"crypto/cipher"
	"io"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// Keys is what this package needs of [phi.Keyring].
type Keys interface {
	// BatchKey is the cipher of the file with this name. It draws its own nonces.
	BatchKey(file string) (cipher.AEAD, error)
	// SealRow appends a row, encrypted under the key of a patient ("": of the shared scope), which is made if there is none.
	SealRow(dst []byte, patient string, aad, row []byte) ([]byte, error)
	// OpenRow opens what SealRow made, or returns phi.ErrShredded.
	OpenRow(patient string, aad, sealed []byte) (phi.Secret, error)
	// Sync makes durable the keys of patients that were made.
	Sync() error
}

// blocks is an open block file.
type blocks struct {
	*blockfile.Reader
	file File
}

// openBlocks opens a block file. A missing file is fs.ErrNotExist.
func openBlocks(ctx context.Context, p Place, k Keys, name, magic string) (*blocks, error) {
	key, err := k.BatchKey(name)
	if err != nil {
		return nil, err
	}
	f, err := p.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := blockfile.Open(f, f.Size(), name, magic, key)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &blocks{r, f}, nil
}

func (b *blocks) close() { _ = b.file.Close() }

// writeBlocks writes a block file; fill writes its blocks and returns what its end says.
func writeBlocks(ctx context.Context, p Place, k Keys, name, magic string, meta []byte, fill func(*blockfile.Writer) (records uint64, err error)) error {
	key, err := k.BatchKey(name)
	if err != nil {
		return err
	}
	return WriteFile(ctx, p, name, func(out io.Writer) error {
		w, err := blockfile.NewWriter(out, magic, meta, key)
		if err != nil {
			return err
		}
		records, err := fill(w)
		if err != nil {
			return err
		}
		return w.End(records, 0)
	})
}
