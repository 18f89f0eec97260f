package tickbridge

import (
	"fmt"
	"strings"
)

// Kind says what an Item is.
type Kind string

// The kinds of items. Entry, Undecodable and Unknown are entries of the stream; the others say that something is missing.
const (
	// Entry is an entry: Type and Fields say what it is.
	Entry Kind = "entry"
	// Undecodable is an entry that this version cannot parse; Reason says why. It counts as missing.
	Undecodable Kind = "undecodable"
	// Unknown is an entry of a type, or of a control event, that this version does not know.
	Unknown Kind = "unknown"
	// Hole: Count entries before ID are missing in the stream.
	Hole Kind = "hole"
	// Trimmed: retention has removed Count entries between Cursor, the reader's position, and ID, now the oldest entry.
	Trimmed Kind = "trimmed"
	// Reset: the stream was deleted and created again; after Cursor came ID, with a lower seq.
	Reset Kind = "reset"
	// Unreadable: Redis refuses to read this stream, as Reason says. Comes once; the reader tries it every five seconds.
	Unreadable Kind = "unreadable"
)

// Item is what a reader yields.
type Item struct {
	Kind   Kind
	Key    string
	Stream StreamKey
	// ID is the entry's ID; of a Hole, Trimmed or Reset that of the entry after it.
	ID string
	// Type is the type of an entry: TypeTrade, TypeControl and so on.
	Type string
	// Fields are those of an entry, as text.
	Fields map[string]string
	Count  uint64
	Cursor string
	Reason string
}

// Stored says whether the item is an entry of the stream.
func (i Item) Stored() bool {
	return i.Kind == Entry || i.Kind == Undecodable || i.Kind == Unknown
}

// shape is what an entry of a type must have.
type shape struct {
	channels, fields, integers, levels []string
}

// Level is a level of a book: price and size with the exchange's own digits.
type Level struct {
	Price, Size string
}

// ParseLevels parses levels such as "7994.50:1.134 7994.20:0.5".
func ParseLevels(text string) ([]Level, error) {
	words := strings.Fields(text)
	levels := make([]Level, 0, len(words))
	for _, word := range words {
		price, size, found := strings.Cut(word, ":")
		if !found || strings.Contains(size, ":") {
			return nil, fmt.Errorf("%s is not price:size", quoted(word))
		}
		levels = append(levels, Level{price, size})
	}
	return levels, nil
}

// toItem is a raw entry as an item, whatever it contains. flat has fields and values in turn.
func toItem(key string, stream StreamKey, id string, flat []string) Item {
	fields := make(map[string]string, len(flat)/2)
	for place := 0; place+1 < len(flat); place += 2 {
		fields[flat[place]] = flat[place+1]
	}
	item := Item{Kind: Undecodable, Key: key, Stream: stream, ID: id, Type: fields["type"], Fields: fields}
	if _, found := fields["type"]; !found {
		item.Reason = "no field 'type'"
		return item
	}
	known, found := shapes[item.Type]
	if !found {
		item.Kind, item.Reason = Unknown, "unknown type "+quoted(item.Type)
		return item
	}
	if item.Reason = known.mistake(item.Type, stream, fields); item.Reason != "" {
		return item
	}
	if item.Type == TypeControl && !controlEvents[fields["event"]] {
		item.Kind, item.Reason = Unknown, "unknown control event "+quoted(fields["event"])
		return item
	}
	item.Kind = Entry
	return item
}

// mistake says what is wrong with an entry of a known type; empty if nothing is.
func (s shape) mistake(kind string, stream StreamKey, fields map[string]string) string {
	var missing []string
	for _, name := range s.fields {
		if _, found := fields[name]; !found {
			missing = append(missing, "'"+name+"'")
		}
	}
	if missing != nil {
		return fmt.Sprintf("%s: no field %s", kind, strings.Join(missing, ", "))
	}
	if s.channels != nil && !contains(s.channels, stream.Channel) {
		return fmt.Sprintf("a %s does not belong in a stream of %s", kind, stream.Channel)
	}
	for _, name := range s.integers {
		value := fields[name]
		digits := strings.TrimPrefix(value, "-")
		if value == "" && name != "recv" {
			continue
		}
		if digits == "" || !onlyDigits(digits) {
			return fmt.Sprintf("%s: %s is not an integer", name, quoted(value))
		}
	}
	for _, name := range s.levels {
		if _, err := ParseLevels(fields[name]); err != nil {
			return fmt.Sprintf("%s: %s", name, err)
		}
	}
	return ""
}

func contains(names []string, wanted string) bool {
	for _, name := range names {
		if name == wanted {
			return true
		}
	}
	return false
}
