package keystore

import (
	"encoding/binary"
	"iter"
)

// handleIndex finds the slot of a record by its handle, in 8 bytes per record and a table at most three quarters full.
// It keeps 32 bits of each handle; what it returns must be compared with the record.
type handleIndex struct {
	table []uint64 // high half: bits of the handle; low half: slot + 1; 0 is free
	used  int
}

func (x *handleIndex) add(handle []byte, slot uint32) {
	if 4*(x.used+1) > 3*len(x.table) {
		old := x.table
		x.table = make([]uint64, max(1024, 2*len(old)))
		for _, e := range old {
			if e != 0 {
				x.place(e)
			}
		}
	}
	x.place(uint64(binary.BigEndian.Uint32(handle))<<32 | uint64(slot+1))
	x.used++
}

// place puts an entry where its bits say. Handles are HMACs, so their bits need no further mixing.
func (x *handleIndex) place(e uint64) {
	mask := uint64(len(x.table) - 1)
	for i := (e >> 32) & mask; ; i = (i + 1) & mask {
		if x.table[i] == 0 {
			x.table[i] = e
			return
		}
	}
}

// slots lists the slots whose record may have the handle.
func (x *handleIndex) slots(handle []byte) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if len(x.table) == 0 {
			return
		}
		bits := uint64(binary.BigEndian.Uint32(handle))
		mask := uint64(len(x.table) - 1)
		for i := bits & mask; x.table[i] != 0; i = (i + 1) & mask {
			if x.table[i]>>32 == bits && !yield(uint32(x.table[i])-1) {
				return
			}
		}
	}
}
