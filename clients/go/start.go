package tickbridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Where to start in a stream, beside the ID of an entry, after which reading starts.
const (
	// Now: new entries only.
	Now = "now"
	// Start: the oldest entry.
	Start = "start"
	// Snapshot: the newest full book.
	Snapshot = "snapshot"
)

const page = 500

// startPoint is where to go on, and the book of the late-join hash if the reader starts from it.
type startPoint struct {
	id      string
	nextSeq uint64
	any     bool // any seq may come next
	first   *Item
}

func startAfter(id string) startPoint {
	parsed, _ := parseID(id)
	return startPoint{id: id, nextSeq: parsed.seq + 1}
}

// asker sends a command, again and again while Redis is unreachable.
type asker func(ctx context.Context, words ...string) (any, error)

// resolve returns the position that start means at this moment.
func (ask asker) resolve(ctx context.Context, keys Keys, key string, stream StreamKey, start string) (startPoint, error) {
	switch start {
	case Start, "":
		return startPoint{id: "0-0", any: true}, nil
	case Now:
		last, err := ask.lastID(ctx, key)
		return startAfter(last), err
	case Snapshot:
		if stream.Channel != ChannelBook && stream.Channel != ChannelBook10 {
			return startPoint{}, fmt.Errorf("%s: only a stream of books has snapshots to start from", key)
		}
		return ask.newestSnapshot(ctx, keys, key, stream)
	}
	id, valid := parseID(start)
	if !valid {
		return startPoint{}, fmt.Errorf("%s is neither an entry ID (ms-seq) nor now, start or snapshot", quoted(start))
	}
	// A time without a seq says nothing about which entry comes next.
	return startPoint{id: start, nextSeq: id.seq + 1, any: id.seq == 0}, nil
}

// lastID returns the last ID that was ever added to the stream; 0-0 if there is no stream.
func (ask asker) lastID(ctx context.Context, key string) (string, error) {
	reply, err := ask(ctx, "XINFO", "STREAM", key)
	var refused refusal
	if wrongType(err) || (errors.As(err, &refused) && strings.Contains(strings.ToLower(err.Error()), "no such key")) {
		return "0-0", nil
	}
	if err != nil {
		return "", err
	}
	info, _ := reply.([]any)
	for place := 0; place+1 < len(info); place += 2 {
		if info[place] == "last-generated-id" {
			if id, is := info[place+1].(string); is {
				return id, nil
			}
		}
	}
	return "", errProtocol
}

// newestSnapshot searches backwards from the end for the newest snapshot entry, but no further than the late-join hash.
func (ask asker) newestSnapshot(ctx context.Context, keys Keys, key string, stream StreamKey) (startPoint, error) {
	end, err := ask.lastID(ctx, key)
	if err != nil {
		return startPoint{}, err
	}
	var hashed *Item
	if stream.Channel == ChannelBook {
		if hashed, err = ask.fromHash(ctx, keys, key, stream, end); err != nil {
			return startPoint{}, err
		}
	}
	if end == "0-0" {
		return startAfter(end), nil
	}
	floor, ceiling := "-", "+"
	if hashed != nil {
		floor = "(" + hashed.ID
	}
	for {
		reply, err := ask(ctx, "XREVRANGE", key, ceiling, floor, "COUNT", strconv.Itoa(page))
		if err != nil {
			return startPoint{}, err
		}
		entries, err := asEntries(reply)
		if err != nil {
			return startPoint{}, err
		}
		for _, entry := range entries {
			if toItem(key, stream, entry.id, entry.flat).Type == TypeSnapshot {
				return before(entry.id), nil
			}
		}
		if len(entries) < page {
			break
		}
		ceiling = "(" + entries[len(entries)-1].id
	}
	if hashed != nil {
		point := startAfter(hashed.ID)
		point.first = hashed
		return point, nil
	}
	return startAfter(end), nil
}

// before is the position before an entry.
func before(entry string) startPoint {
	id, _ := parseID(entry)
	switch {
	case id.seq > 0:
		return startPoint{id: entryID{id.ms, id.seq - 1}.String(), nextSeq: id.seq}
	case id.ms > 0:
		return startPoint{id: strconv.FormatUint(id.ms-1, 10), any: true}
	}
	return startPoint{id: "0-0", any: true}
}

// fromHash returns the book of the late-join hash, if nothing is missing between it and what the stream still holds.
func (ask asker) fromHash(ctx context.Context, keys Keys, key string, stream StreamKey, end string) (*Item, error) {
	reply, err := ask(ctx, "HGETALL", keys.Snapshot(stream.Exchange, stream.Subject))
	if wrongType(err) {
		return nil, nil // not a hash: use the snapshots in the stream
	}
	if err != nil {
		return nil, err
	}
	flat, err := asStrings(reply)
	if err != nil {
		return nil, err
	}
	entry := ""
	for place := 0; place+1 < len(flat); place += 2 {
		if flat[place] == "id" {
			entry = flat[place+1]
		}
	}
	id, valid := parseID(entry)
	if !valid || CompareIDs(entry, end) > 0 {
		return nil, nil
	}
	item := toItem(key, stream, entry, append(flat, "type", TypeSnapshot, "ts", ""))
	if item.Kind != Entry {
		return nil, nil
	}
	book := NewBook(stream.Exchange, stream.Subject, stream.Channel)
	if book.Take(item); !book.Valid() {
		return nil, nil // its levels cannot be used
	}
	// Contiguous if the stream still has the hash's own entry or the next one, or ends at it.
	if reply, err = ask(ctx, "XRANGE", key, entry, "+", "COUNT", "1"); err != nil {
		return nil, err
	}
	next, err := asEntries(reply)
	if err != nil {
		return nil, err
	}
	joined := end == entry
	if len(next) > 0 {
		left, _ := parseID(next[0].id)
		joined = next[0].id == entry || left.seq == id.seq+1
	}
	if !joined {
		return nil, nil
	}
	return &item, nil
}
