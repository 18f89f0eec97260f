package tickbridge

import (
	"context"
	"errors"
	"fmt"
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
	slot     int
	stream   StreamKey
	returned string // the last ID that was returned; empty until the book of a late-join hash has been
	retryAt  time.Time
	refusal  string
}

// Reader reads any number of streams, item by item, and goes on after outages of Redis. Only Close may be called while
// another method runs.
type Reader struct {
	keys    Keys
	wanted  []string
	options ReadOptions
	mistake error
	where   where
	outages outages
	life    context.Context // done when the reader is closed
	end     context.CancelFunc

	mutex     sync.Mutex
	opened    bool
	positions []*position
	ready     []Item

	// By slot. A single server answers for all streams at once; in a Cluster a read may name only those of one slot.
	blocking map[int]*connection
	commands map[int]*connection // for commands that must not wait behind a blocking read
	reading  map[int]bool
	done     chan slotRead
}

// Stream returns a reader of any streams; their keys come from Client.Keys. It connects with the first Next or Open.
func (c *Client) Stream(keys []string, options *ReadOptions) *Reader {
	reader := &Reader{keys: c.Keys, wanted: keys, where: c.where}
	reader.life, reader.end = context.WithCancel(context.Background())
	reader.blocking, reader.commands, reader.reading = map[int]*connection{}, map[int]*connection{}, map[int]bool{}
	reader.done = make(chan slotRead, len(keys)) // a read that is over never waits
	reader.outages.where, reader.outages.report = c.where, c.onOutage
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
	if r.life.Err() != nil {
		return Item{}, ErrClosed
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
	r.end()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for range r.reading {
		<-r.done
	}
	r.reading = map[int]bool{}
	for _, kept := range []map[int]*connection{r.blocking, r.commands} {
		for _, connection := range kept {
			connection.close()
		}
	}
}

// untilClosed returns a context that is done as well when the reader is closed.
func (r *Reader) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	limited, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-r.life.Done():
			cancel()
		case <-limited.Done():
		}
	}()
	return limited, cancel
}

func (r *Reader) orClosed(err error) error {
	if err != nil && r.life.Err() != nil {
		return ErrClosed
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

func (r *Reader) open(ctx context.Context) error {
	if r.opened {
		return nil
	}
	if r.mistake != nil {
		return r.mistake
	}
	first := ""
	if len(r.wanted) > 0 {
		first = r.wanted[0]
	}
	if _, err := r.ask(first)(ctx, "PING"); err != nil {
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
		point, err := r.ask(key).resolve(ctx, r.keys, key, stream, r.options.From)
		if err != nil {
			return r.explained(err)
		}
		at := &position{startPoint: point, key: key, slot: r.slotOf(key), stream: stream, returned: point.id}
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
		return explain(err, r.where)
	}
	return err
}

// read waits for what the next read gives, or until a stream that was refused is to be tried again.
func (r *Reader) read(ctx context.Context) error {
	wait := r.begin(time.Now())
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	case read := <-r.done:
		delete(r.reading, read.slot)
		return r.take(ctx, read)
	}
}

// take makes items of what a read gave. If ctx is done meanwhile, the streams whose entries it has not made items of are
// read again.
func (r *Reader) take(ctx context.Context, read slotRead) error {
	if refusesKey(read.err) {
		return r.leaveOut(ctx, read.due, read.err)
	}
	if read.err != nil {
		return read.err
	}
	for _, at := range read.due {
		at.refusal = ""
	}
	streams, err := asStreams(read.reply)
	if err != nil {
		return explain(err, r.where)
	}
	for _, stream := range streams {
		at := r.position(stream.key)
		if at == nil || len(stream.entries) == 0 {
			return explain(errProtocol, r.where)
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
	reply, err := r.ask(at.key)(ctx, "XREVRANGE", at.key, "("+entry, "-", "COUNT", "1")
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
	var found []Item
	for _, at := range due {
		_, err := r.ask(at.key)(ctx, "XREAD", "COUNT", "1", "STREAMS", at.key, at.id)
		if err == nil {
			at.refusal = ""
			continue
		}
		if !refusesKey(err) {
			r.ready = append(r.ready, found...)
			return err
		}
		at.retryAt = time.Now().Add(retryRefused)
		if at.refusal != err.Error() {
			at.refusal = err.Error()
			found = append(found, Item{Kind: Unreadable, Key: at.key, Stream: at.stream, Reason: err.Error()})
		}
	}
	forbidden := 0
	for _, at := range r.positions {
		if strings.HasPrefix(at.refusal, "NOPERM") {
			forbidden++
		}
	}
	if forbidden == len(r.positions) {
		return explain(first, r.where)
	}
	r.ready = append(r.ready, found...)
	return nil
}
