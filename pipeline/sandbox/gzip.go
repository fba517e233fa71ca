package sandbox

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// acceptsGzip tells whether the client takes gzip (RFC 9110 12.5.3).
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if strings.TrimSpace(coding) == "gzip" {
			q := strings.ReplaceAll(weight, " ", "")
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}

func pack(body []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(body) / 4)
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return body
	}
	_, _ = w.Write(body) // into memory: cannot fail
	_ = w.Close()
	return out.Bytes()
}
