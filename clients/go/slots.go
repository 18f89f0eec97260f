package tickbridge

import (
	"context"
	"strconv"
	"time"
)

// slotRead is a read of the streams of a slot, and what came of it.
type slotRead struct {
	slot  int
	due   []*position
	reply any
	err   error
}

// begin starts a read for each slot that has streams to read and none in progress. It returns for how long at most to
// wait: until a stream that was refused is to be tried again.
func (r *Reader) begin(now time.Time) time.Duration {
	wait := time.Hour
	due := map[int][]*position{}
	for _, at := range r.positions {
		if left := at.retryAt.Sub(now); left > 0 {
			if left < wait {
				wait = left
			}
		} else if !r.reading[at.slot] {
			due[at.slot] = append(due[at.slot], at)
		}
	}
	for slot, positions := range due {
		connection := r.connection(r.blocking, slot, r.options.Block)
		words := r.xread(positions)
		read := slotRead{slot: slot, due: positions}
		r.reading[slot] = true
		go func() {
			// Not until ctx is done: what comes later is for the next call.
			read.reply, read.err = r.outages.outlive(r.life, func() (any, error) { return connection.call(r.life, words...) })
			r.done <- read
		}()
	}
	return wait
}

func (r *Reader) xread(due []*position) []string {
	words := []string{"XREAD", "COUNT", strconv.Itoa(r.options.Count)}
	words = append(words, "BLOCK", strconv.FormatInt(r.options.Block.Milliseconds(), 10), "STREAMS")
	for _, at := range due {
		words = append(words, at.key)
	}
	for _, at := range due {
		words = append(words, at.id)
	}
	return words
}

// ask returns what sends commands for a key; its stream's late-join hash is in the same slot.
func (r *Reader) ask(key string) asker {
	connection := r.connection(r.commands, r.slotOf(key), 0)
	return func(ctx context.Context, words ...string) (any, error) {
		return r.outages.outlive(ctx, func() (any, error) { return connection.call(ctx, words...) })
	}
}

func (r *Reader) connection(kept map[int]*connection, slot int, block time.Duration) *connection {
	if kept[slot] == nil {
		kept[slot] = newConnection(r.where, block)
		kept[slot].slot = slot
	}
	return kept[slot]
}

func (r *Reader) slotOf(key string) int {
	if r.where.cluster == nil {
		return 0
	}
	return slotOf(key)
}
