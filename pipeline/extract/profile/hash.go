package profile

import (
	"encoding/binary"
	"math/bits"
)

const (
	hashSeed  = 0xa0761d6478bd642f
	hashPrime = 0xe7037ed1a0b428db
)

// hash is the same for the same text in every run and on every machine, so that a profile can be made twice. It is no
// secret and never leaves the program.
func hash(s string) uint64 {
	h := mix(uint64(len(s))^hashSeed, hashPrime)
	b := []byte(s) // the compiler makes no copy of what does not escape
	for len(b) >= 8 {
		h = mix(h^binary.LittleEndian.Uint64(b), hashPrime)
		b = b[8:]
	}
	var tail uint64
	for _, c := range b {
		tail = tail<<8 | uint64(c)
	}
	return mix(mix(h^tail, hashSeed), hashPrime)
}

// combine is the hash of two values side by side.
func combine(a, b uint64) uint64 { return mix(mix(a^hashSeed, hashPrime)^b, hashSeed) }

func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
