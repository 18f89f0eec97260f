package tickbridge

import (
	"strconv"
	"strings"
)

// entryID has the two halves of an entry's ID. seq counts the stream's entries; it is 0 in a bare time.
type entryID struct {
	ms, seq uint64
}

func parseID(text string) (entryID, bool) {
	first, second, both := strings.Cut(text, "-")
	if !onlyDigits(text[:len(first)]) || (both && !onlyDigits(second)) {
		return entryID{}, false
	}
	ms, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return entryID{}, false
	}
	if !both {
		return entryID{ms, 0}, true
	}
	seq, err := strconv.ParseUint(second, 10, 64)
	return entryID{ms, seq}, err == nil
}

func (id entryID) String() string {
	return strconv.FormatUint(id.ms, 10) + "-" + strconv.FormatUint(id.seq, 10)
}

func (id entryID) less(other entryID) bool {
	return id.ms < other.ms || (id.ms == other.ms && id.seq < other.seq)
}

// CompareIDs is negative if a is the older entry, positive if it is the newer one, and zero if they are the same. What is
// not an ID is older than any entry.
func CompareIDs(a, b string) int {
	one, _ := parseID(a)
	other, _ := parseID(b)
	switch {
	case one.less(other):
		return -1
	case other.less(one):
		return 1
	}
	return 0
}
