package csv

// Comments is how many comments were left out of the shards of a table that this Source has read to their end. A shard
// that was read twice counts once. May be called at any time.
func (s *Source) Comments(table string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n int64
	for _, c := range s.comments[table] {
		n += c
	}
	return n
}

func (s *Source) countComments(table string, shard int, n int64) {
	if s.options.Comment == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.comments[table] == nil {
		s.comments[table] = map[int]int64{}
	}
	s.comments[table][shard] = n
}
