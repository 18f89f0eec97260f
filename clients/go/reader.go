package tickbridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

const retryRefused = 5 * time.Second

// ErrClosed is the error of a reader that was closed.
var ErrClosed = errors.New("the reader is closed")

// ReadOptions says how to read.
type ReadOptions struct {
	// From says where to start: Now, Start, Snapshot, or the ID of an entry, after which reading starts. Default: Start; of
	// a book Snapshot.
	From string
	// Count is the maximum number of entries of one stream in a read. Default: 1000.
	Count int
	// Block is for how long Redis keeps a read open. Default: 1 s.
	Block time.Duration
}

type position struct {
	startPoint
	key      string
	stream   StreamKey
	returned string // the last ID that was returned; empty until the book of a late-join hash has been
	retryAt  time.Time
	refusal  string
}

// Reader reads any number of streams, item by item, and goes on after outages of Redis. Only Close may be called while
// another method runs.
type Reader struct {
	keys     Keys
	wanted   []string
	options  ReadOptions
	mistake  error
	blocking *connection
	commands *connection
	outages  outages

	mutex     sync.Mutex
	closed    chan struct{}
	closing   sync.Once
	opened    bool
	positions []*position
	ready     []Item
}

// Stream returns a reader of any streams; their keys come from Client.Keys. It connects with the first Next or Open.
func (c *Client) Stream(keys []string, options *ReadOptions) *Reader {
	reader := &Reader{keys: c.Keys, wanted: keys, closed: make(chan struct{})}
	if options != nil {
		reader.options = *options
	}
	if reader.options.Count == 0 {
		reader.options.Count = 1000
	}
	if reader.options.Block == 0 {
		reader.options.Block = time.Second
	}
	if reader.options.Count < 1 || reader.options.Block < time.Millisecond {
		reader.mistake = fmt.Errorf("Count is %d and Block %s; at least 1 and 1 ms are needed", reader.options.Count, reader.options.Block)
	}
	reader.blocking = newConnection(c.where, reader.options.Block)
	reader.commands = newConnection(c.where, 0)
	reader.outages = outages{where: c.where, report: c.onOutage}
	return reader
}

// Open connects, and determines where each stream starts: from here on nothing is missed. The first Next does it as well.
func (r *Reader) Open(ctx context.Context) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	return r.orClosed(r.open(ctx))
}

// Next returns the next item. Its error is ErrClosed, that of ctx, or says what is wrong and what to do.
func (r *Reader) Next(ctx context.Context) (Item, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	select {
	case <-r.closed:
		return Item{}, ErrClosed
	default:
	}
	if len(r.ready) == 0 {
		limited, cancel := r.untilClosed(ctx)
		defer cancel()
		if err := r.open(limited); err != nil {
			return Item{}, r.orClosed(err)
		}
		for len(r.ready) == 0 {
			if err := r.read(limited); err != nil {
				return Item{}, r.orClosed(err)
			}
		}
	}
	item := r.ready[0]
	r.ready = r.ready[1:]
	if at := r.position(item.Key); at != nil && item.Stored() {
		at.returned = item.ID
	}
	return item, nil
}

// Pending returns how many items were read and not returned yet.
func (r *Reader) Pending() int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return len(r.ready)
}

// Cursors returns the caller's position: key → ID of the last entry that was returned.
func (r *Reader) Cursors() map[string]string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	cursors := make(map[string]string, len(r.positions))
	for _, at := range r.positions {
		if at.returned != "" {
			cursors[at.key] = at.returned
		}
	}
	return cursors
}

// Close closes the connections. A Next that waits returns ErrClosed.
func (r *Reader) Close() {
	r.closing.Do(func() { close(r.closed) })
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.blocking.close()
	r.commands.close()
}

func (r *Reader) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	limited, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-r.closed:
			cancel()
		case <-limited.Done():
		}
	}()
	return limited, cancel
}

func (r *Reader) orClosed(err error) error {
	select {
	case <-r.closed:
		if err != nil {
			return ErrClosed
		}
	default:
	}
	return err
}

func (r *Reader) position(key string) *position {
	for _, at := range r.positions {
		if at.key == key {
			return at
		}
	}
	return nil
}

func (r *Reader) ask(ctx context.Context, words ...string) (any, error) {
	return r.outages.outlive(ctx, func() (any, error) { return r.commands.call(ctx, words...) })
}

func (r *Reader) open(ctx context.Context) error {
	if r.opened {
		return nil
	}
	if r.mistake != nil {
		return r.mistake
	}
	if _, err := r.ask(ctx, "PING"); err != nil {
		return r.explained(err)
	}
	for _, key := range r.wanted {
		stream, valid := r.keys.Parse(key)
		if !valid {
			return fmt.Errorf("%s is not the key of a data stream in the namespace %q", quoted(key), r.keys.Namespace)
		}
		if r.position(key) != nil {
			continue
		}
		point, err := asker(r.ask).resolve(ctx, r.keys, key, stream, r.options.From)
		if err != nil {
			return r.explained(err)
		}
		at := &position{startPoint: point, key: key, stream: stream, returned: point.id}
		if point.first != nil {
			at.returned = ""
			r.ready = append(r.ready, *point.first)
		}
		r.positions = append(r.positions, at)
	}
	r.opened = true
	return nil
}

func (r *Reader) explained(err error) error {
	if refusesKey(err) {
		return explain(err, r.outages.where)
	}
	return err
}

// read reads once, or waits until a stream that was refused is to be tried again.
func (r *Reader) read(ctx context.Context) error {
	now := time.Now()
	var due []*position
	wait := time.Hour
	for _, at := range r.positions {
		if left := at.retryAt.Sub(now); left <= 0 {
			due = append(due, at)
		} else if left < wait {
			wait = left
		}
	}
	if due == nil {
		return sleep(ctx, wait)
	}
	words := []string{"XREAD", "COUNT", strconv.Itoa(r.options.Count)}
	words = append(words, "BLOCK", strconv.FormatInt(r.options.Block.Milliseconds(), 10), "STREAMS")
	for _, at := range due {
		words = append(words, at.key)
	}
	for _, at := range due {
		words = append(words, at.id)
	}
	reply, err := r.outages.outlive(ctx, func() (any, error) { return r.blocking.call(ctx, words...) })
	if refusesKey(err) {
		return r.leaveOut(ctx, due, err)
	}
	if err != nil {
		return err
	}
	for _, at := range due {
		at.refusal = ""
	}
	streams, err := asStreams(reply)
	if err != nil {
		return explain(err, r.outages.where)
	}
	for _, stream := range streams {
		at := r.position(stream.key)
		if at == nil || len(stream.entries) == 0 {
			return explain(errProtocol, r.outages.where)
		}
		if err := r.lookForTrim(ctx, at, stream.entries[0].id); err != nil {
			return err
		}
		r.decode(at, stream.entries)
	}
	return nil
}

// decode turns a stream's raw entries into items.
func (r *Reader) decode(at *position, entries []rawEntry) {
	for _, entry := range entries {
		id, _ := parseID(entry.id)
		if !at.any && id.seq != at.nextSeq {
			item := Item{Kind: Reset, Key: at.key, Stream: at.stream, ID: entry.id, Cursor: at.id}
			if id.seq > at.nextSeq {
				item.Kind, item.Count = Hole, id.seq-at.nextSeq
			}
			r.ready = append(r.ready, item)
		}
		at.nextSeq, at.any, at.id = id.seq+1, false, entry.id
		r.ready = append(r.ready, toItem(at.key, at.stream, entry.id, entry.flat))
	}
}

// lookForTrim: a hole before the first entry that was read is due to trimming if that entry is now the stream's oldest.
func (r *Reader) lookForTrim(ctx context.Context, at *position, entry string) error {
	id, _ := parseID(entry)
	if at.any || id.seq <= at.nextSeq {
		return nil
	}
	reply, err := r.ask(ctx, "XREVRANGE", at.key, "("+entry, "-", "COUNT", "1")
	if refusesKey(err) {
		return nil // the stream is gone: a hole
	}
	if err != nil {
		return err
	}
	if left, _ := reply.([]any); len(left) > 0 {
		return nil
	}
	r.ready = append(r.ready, Item{
		Kind: Trimmed, Key: at.key, Stream: at.stream, ID: entry, Cursor: at.id, Count: id.seq - at.nextSeq,
	})
	at.nextSeq = id.seq
	return nil
}

// leaveOut finds the streams that Redis refuses, and leaves them out for a while, so that the others continue.
func (r *Reader) leaveOut(ctx context.Context, due []*position, first error) error {
	forbidden := 0
	var found []Item
	for _, at := range due {
		_, err := r.ask(ctx, "XREAD", "COUNT", "1", "STREAMS", at.key, at.id)
		if err == nil {
			continue
		}
		if !refusesKey(err) {
			return err
		}
		if strings.HasPrefix(err.Error(), "NOPERM") {
			forbidden++
		}
		at.retryAt = time.Now().Add(retryRefused)
		if at.refusal != err.Error() {
			at.refusal = err.Error()
			found = append(found, Item{Kind: Unreadable, Key: at.key, Stream: at.stream, Reason: err.Error()})
		}
	}
	if forbidden == len(r.positions) {
		return explain(first, r.outages.where)
	}
	r.ready = append(r.ready, found...)
	return nil
}
