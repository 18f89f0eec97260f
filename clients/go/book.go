package tickbridge

import (
	"fmt"
	"sort"
)

type rankedLevel struct {
	Level
	number decimal
	zero   bool // its size is zero: it removes the level
}

// side holds the levels of one side, the worst first: most changes are near the best one, so little has to be moved.
type side struct {
	levels []rankedLevel
	better int // 1 for bids, -1 for asks
}

// Book is an order book that is kept up to date from the items of its stream. Use it only while it is Valid; while it is
// not, it has no levels.
type Book struct {
	Exchange, Pair, Channel string
	// ID is that of the last entry that was taken; empty before the first.
	ID string
	// XSeq is the exchange's own sequence number of the last snapshot or delta; empty if it gives none.
	XSeq string
	// Recv is when the last snapshot or delta was received, in nanoseconds since the epoch.
	Recv string
	// Why says in one word why the book is invalid: "start" (no snapshot yet), the event of a control entry, "unknown" (a
	// control entry that this version does not know), or the kind of an item. Empty while the book is valid.
	Why string
	// Reason says it for people.
	Reason string

	bids, asks side
}

// NewBook returns a book that waits for its first snapshot. channel is ChannelBook or ChannelBook10.
func NewBook(exchange, pair, channel string) *Book {
	return &Book{
		Exchange: exchange, Pair: pair, Channel: channel, Why: "start", Reason: "no snapshot yet",
		bids: side{better: 1}, asks: side{better: -1},
	}
}

// Valid says whether this is the exchange's book, as of ID.
func (b *Book) Valid() bool {
	return b.Why == ""
}

// Best returns the best bid and the best ask; a zero Level for a side without levels.
func (b *Book) Best() (bid, ask Level) {
	return b.bids.best(), b.asks.best()
}

// Top returns the best count levels of each side, best first; all of them if count is negative.
func (b *Book) Top(count int) (bids, asks []Level) {
	return b.bids.top(count), b.asks.top(count)
}

// Take takes the next item of the book's stream.
func (b *Book) Take(item Item) {
	if item.Stored() {
		b.ID = item.ID
	}
	switch item.Kind {
	case Entry:
		b.takeEntry(item)
	case Hole, Trimmed:
		b.invalidate(string(item.Kind), fmt.Sprintf("%s: %d entries are missing before %s", item.Kind, item.Count, item.ID))
	case Reset:
		b.invalidate("reset", "the stream was created again at "+item.ID)
	case Undecodable:
		b.invalidate("undecodable", fmt.Sprintf("entry %s cannot be parsed: %s", item.ID, item.Reason))
	case Unreadable:
		b.invalidate("unreadable", "the stream cannot be read: "+item.Reason)
	case Unknown:
		if item.Type == TypeControl {
			b.invalidate("unknown", item.Reason)
		}
	}
}

func (b *Book) takeEntry(item Item) {
	var err error
	switch item.Type {
	case TypeSnapshot:
		if err = b.bids.replace(item.Fields["bids"]); err == nil {
			err = b.asks.replace(item.Fields["asks"])
		}
	case TypeDelta:
		if !b.Valid() {
			return
		}
		if err = b.bids.apply(item.Fields["bids"]); err == nil {
			err = b.asks.apply(item.Fields["asks"])
		}
	case TypeControl:
		reason := item.Fields["event"]
		if item.Fields["reason"] != "" {
			reason += ": " + item.Fields["reason"]
		}
		b.invalidate(item.Fields["event"], reason)
		return
	default:
		return
	}
	if err != nil {
		b.invalidate("undecodable", fmt.Sprintf("entry %s has levels that cannot be used: %s", item.ID, err))
		return
	}
	b.Why, b.Reason = "", ""
	b.XSeq, b.Recv = item.Fields["xseq"], item.Fields["recv"]
}

func (b *Book) invalidate(why, reason string) {
	b.Why, b.Reason = why, reason
	b.bids.levels, b.asks.levels = nil, nil
}

func (s *side) best() Level {
	if len(s.levels) == 0 {
		return Level{}
	}
	return s.levels[len(s.levels)-1].Level
}

func (s *side) top(count int) []Level {
	if count < 0 || count > len(s.levels) {
		count = len(s.levels)
	}
	levels := make([]Level, count)
	for place := range levels {
		levels[place] = s.levels[len(s.levels)-1-place].Level
	}
	return levels
}

// replace replaces all levels; those of size zero are left out.
func (s *side) replace(text string) error {
	all, err := rank(text)
	if err != nil {
		return err
	}
	ranked := make([]rankedLevel, 0, len(all))
	for _, level := range all {
		if !level.zero {
			ranked = append(ranked, level)
		}
	}
	sort.SliceStable(ranked, func(a, b int) bool {
		return s.better*ranked[a].number.compare(ranked[b].number) < 0
	})
	s.levels = s.levels[:0]
	for place, level := range ranked {
		// If a price comes twice, its last level counts, as in a delta.
		if place+1 == len(ranked) || level.number.compare(ranked[place+1].number) != 0 {
			s.levels = append(s.levels, level)
		}
	}
	return nil
}

// apply sets levels to their absolute sizes; zero removes one.
func (s *side) apply(text string) error {
	ranked, err := rank(text)
	if err != nil {
		return err
	}
	for _, level := range ranked {
		s.set(level)
	}
	return nil
}

func (s *side) set(level rankedLevel) {
	place := sort.Search(len(s.levels), func(place int) bool {
		return s.better*s.levels[place].number.compare(level.number) >= 0
	})
	found := place < len(s.levels) && s.levels[place].number.compare(level.number) == 0
	switch {
	case level.zero && found:
		s.levels = append(s.levels[:place], s.levels[place+1:]...)
	case level.zero:
	case found:
		s.levels[place] = level
	default:
		s.levels = append(s.levels, rankedLevel{})
		copy(s.levels[place+1:], s.levels[place:])
		s.levels[place] = level
	}
}

// rank parses levels and their numbers.
func rank(text string) ([]rankedLevel, error) {
	levels, err := ParseLevels(text)
	if err != nil {
		return nil, err
	}
	ranked := make([]rankedLevel, 0, len(levels))
	for _, level := range levels {
		number, err := parseDecimal(level.Price)
		if err != nil {
			return nil, err
		}
		size, err := parseDecimal(level.Size)
		if err != nil {
			return nil, err
		}
		if size.sign < 0 {
			return nil, fmt.Errorf("the size %s at the price %s is negative", level.Size, level.Price)
		}
		ranked = append(ranked, rankedLevel{level, number, size.sign == 0})
	}
	return ranked, nil
}
