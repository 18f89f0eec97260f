// Command conformance is a subject of the conformance tests: it reads requests as JSON lines and answers each with a JSON
// line. See conformance/ at the top of the repository.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"tickbridge"
)

type request struct {
	Redis     string            `json:"redis"`
	Namespace string            `json:"namespace"`
	Open      string            `json:"open"`
	At        string            `json:"at"`
	Close     string            `json:"close"`
	Sync      map[string]string `json:"sync"`
	End       bool              `json:"end"`
}

type object = map[string]any

type stream struct {
	reader *tickbridge.Reader
	book   *tickbridge.Book
	items  []any
	state  string
}

type subject struct {
	client  *tickbridge.Client
	streams map[string]*stream
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	decoder := json.NewDecoder(in)
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	playing := &subject{streams: map[string]*stream{}}
	for {
		var wanted request
		if err := decoder.Decode(&wanted); err != nil {
			log.Fatalf("a request cannot be read: %s", err)
		}
		if wanted.End {
			return
		}
		reply, err := playing.answer(wanted)
		if err != nil {
			reply = object{"error": err.Error()}
		}
		if err := encoder.Encode(reply); err != nil {
			log.Fatal(err)
		}
	}
}

func (s *subject) answer(wanted request) (object, error) {
	switch {
	case wanted.Redis != "":
		for key, open := range s.streams {
			open.reader.Close()
			delete(s.streams, key)
		}
		client, err := tickbridge.New(wanted.Redis, &tickbridge.Options{Namespace: wanted.Namespace})
		s.client = client
		return object{"ok": true, "client": "tickbridge for Go, schema " + fmt.Sprint(tickbridge.SchemaVersion)}, err
	case s.client == nil:
		return nil, fmt.Errorf("the first request must say where Redis is")
	case wanted.Open != "":
		return s.open(wanted.Open, wanted.At)
	case wanted.Close != "":
		if open := s.streams[wanted.Close]; open != nil {
			open.reader.Close()
			delete(s.streams, wanted.Close)
		}
		return object{"ok": true}, nil
	case wanted.Sync != nil:
		return s.sync(wanted.Sync)
	}
	return nil, fmt.Errorf("unknown request")
}

func (s *subject) open(key, at string) (object, error) {
	reader := s.client.Stream([]string{key}, &tickbridge.ReadOptions{From: at})
	if err := reader.Open(context.Background()); err != nil {
		return nil, err
	}
	if before := s.streams[key]; before != nil {
		before.reader.Close()
	}
	opened := &stream{reader: reader, items: []any{}}
	parts, _ := s.client.Keys.Parse(key)
	if parts.Channel == tickbridge.ChannelBook || parts.Channel == tickbridge.ChannelBook10 {
		opened.book = tickbridge.NewBook(parts.Exchange, parts.Subject, parts.Channel)
	}
	s.streams[key] = opened
	return object{"ok": true}, nil
}

func (s *subject) sync(wanted map[string]string) (object, error) {
	found := object{}
	for key, open := range s.streams {
		for open.reader.Pending() > 0 || !open.returned(key, wanted[key]) {
			item, err := open.reader.Next(context.Background())
			if err != nil {
				return nil, err
			}
			open.take(item)
		}
		answer := object{"items": open.items, "state": open.state}
		if open.book != nil {
			answer["book"] = asBook(open.book)
		}
		found[key] = answer
		open.items = []any{}
	}
	return object{"streams": found}, nil
}

// returned says whether everything up to id has been returned.
func (s *stream) returned(key, id string) bool {
	cursor, found := s.reader.Cursors()[key]
	return found && tickbridge.CompareIDs(cursor, id) >= 0
}

func (s *stream) take(item tickbridge.Item) {
	s.items = append(s.items, asItem(item))
	if s.book != nil {
		s.book.Take(item)
	}
	if item.Type == tickbridge.TypeControl && item.Kind != tickbridge.Undecodable {
		s.state = item.Fields["event"]
	}
}

func asItem(item tickbridge.Item) object {
	switch item.Kind {
	case tickbridge.Hole:
		return object{"hole": item.Count, "before": item.ID}
	case tickbridge.Trimmed:
		return object{"trimmed": item.Count, "before": item.ID}
	case tickbridge.Reset:
		return object{"reset": item.ID}
	case tickbridge.Undecodable:
		return object{"undecodable": item.ID}
	case tickbridge.Unknown:
		return object{"unknown": item.ID}
	case tickbridge.Unreadable:
		return object{"unreadable": item.Reason}
	}
	entry := object{"entry": item.ID}
	for name, value := range item.Fields {
		entry[name] = value
	}
	return entry
}

func asBook(book *tickbridge.Book) object {
	if !book.Valid() {
		return object{"valid": false, "why": book.Why}
	}
	bids, asks := book.Top(-1)
	return object{"valid": true, "id": book.ID, "xseq": book.XSeq, "bids": asPairs(bids), "asks": asPairs(asks)}
}

func asPairs(levels []tickbridge.Level) [][2]string {
	pairs := make([][2]string, len(levels))
	for place, level := range levels {
		pairs[place] = [2]string{level.Price, level.Size}
	}
	return pairs
}
