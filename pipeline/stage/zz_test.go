package stage
import ("testing";"github.com/klauspost/compress/zstd";"encoding/binary")
func BenchmarkZ(b *testing.B){
	s := newSealing(b, testKeys(b))
	list := benchResources(b, s)
	for _, mode := range []struct{n string; size int; hdr bool; o []zstd.EOption}{
		{"512k", 512<<10, true, nil},
		{"256k", 256<<10, true, []zstd.EOption{zstd.WithWindowSize(256<<10)}},
		{"128k", 128<<10, true, []zstd.EOption{zstd.WithWindowSize(128<<10)}},
		{"64k", 64<<10, true, []zstd.EOption{zstd.WithWindowSize(64<<10)}},
		{"nohdr", 512<<10, false, nil},
		{"hdrlast", 512<<10, false, []zstd.EOption{}},
		{"nolow", 512<<10, true, []zstd.EOption{zstd.WithLowerEncoderMem(false)}},
		{"noentropy", 512<<10, true, []zstd.EOption{zstd.WithNoEntropyCompression(true)}},
	}{
		b.Run(mode.n, func(b *testing.B){
			e, _ := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(chunkBytes), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true)}, mode.o...)...)
			var raw, cl, out []byte
			var h []byte
			n, total, in := 0, 0, 0
			for i:=0;b.Loop();i++ {
				r := list[i%len(list)]
				if mode.hdr { h = r.AppendHeader(h[:0]); raw = binary.AppendUvarint(raw, uint64(len(h))); raw = append(raw, h...) }
				cl = append(cl, r.Clinical()...)
				n++
				if len(raw)+len(cl) > mode.size { raw = append(raw, cl...); in += len(raw); out = e.EncodeAll(raw, out[:0]); total += len(out); raw=raw[:0];cl=cl[:0] }
			}
			b.ReportMetric(float64(total)/float64(n), "z/op")
			b.ReportMetric(float64(in)/float64(n), "in/op")
		})
	}
}
