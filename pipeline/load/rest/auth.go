package rest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/chartlift/chartlift/pipeline/phi"
)

// credentials hold the bearer token of a target. It comes from an environment variable or a file, never from the plan
// or a flag, and is read again after a 401, so that whoever renews the file keeps the run going. Safe for concurrent
// use.
type credentials struct {
	env, file string

	mu      sync.Mutex
	current phi.Secret
	read    int // how often it was read; 0: not yet
}

// get returns the token and the number of the reading it comes from. Without a place for a token both are zero.
func (c *credentials) get() (phi.Secret, int, error) {
	if c.env == "" && c.file == "" {
		return phi.Secret{}, 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read == 0 {
		if err := c.load(); err != nil {
			return phi.Secret{}, 0, err
		}
	}
	return c.current, c.read, nil
}

// refresh reads the token again, unless someone else has since the given reading. False: there is no place to read
// from.
func (c *credentials) refresh(reading int) (bool, error) {
	if c.env == "" && c.file == "" {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read != reading {
		return true, nil
	}
	return true, c.load()
}

func (c *credentials) load() error {
	var text string
	if c.file != "" {
		raw, err := os.ReadFile(c.file)
		if err != nil {
			return fmt.Errorf("read the token of the target: %w", err)
		}
		text = string(raw)
	} else {
		text = os.Getenv(c.env)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return fmt.Errorf("the token of the target (%s) is empty", c.place())
	}
	for _, b := range []byte(text) {
		if b <= ' ' || b >= 0x7f {
			return errors.New("the token of the target has characters that no token has")
		}
	}
	c.current = phi.NewSecret([]byte(text))
	c.read++
	return nil
}

func (c *credentials) place() string {
	if c.file != "" {
		return "file " + c.file
	}
	return "environment variable " + c.env
}
