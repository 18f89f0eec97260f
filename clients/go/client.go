package tickbridge

import (
	"context"
	"crypto/tls"
	"errors"
)

// Options are the settings of a Client.
type Options struct {
	// Namespace is that of the connectors' config.
	Namespace string
	// TLS is used for rediss:// URLs; without it, the system's certificates are trusted.
	TLS *tls.Config
	// OnOutage is called with the error when Redis becomes unreachable, and with nil when it answers again. It must return
	// soon, and must not use the reader.
	OnOutage func(error)
}

// Client reads the streams of a Redis. Every reader has connections of its own.
type Client struct {
	Keys     Keys
	where    where
	onOutage func(error)
}

// New returns a client for a redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster:// URL. It does not connect yet.
func New(url string, options *Options) (*Client, error) {
	if options == nil {
		options = &Options{}
	}
	at, err := whereIs(url, options.TLS)
	if err != nil {
		return nil, err
	}
	report := options.OnOutage
	if report == nil {
		report = func(error) {}
	}
	return &Client{Keys{options.Namespace}, at, report}, nil
}

// Trades returns a reader of the public trades of a pair.
func (c *Client) Trades(exchange, pair string, options *ReadOptions) *Reader {
	return c.Stream([]string{c.Keys.Stream(exchange, pair, ChannelTrades)}, options)
}

// Book follows the order book of a pair, from the newest full book on if options do not say otherwise.
func (c *Client) Book(exchange, pair string, options *ReadOptions) *Books {
	return c.books(exchange, pair, ChannelBook, options)
}

// Book10 follows the ten best levels a side of an order book.
func (c *Client) Book10(exchange, pair string, options *ReadOptions) *Books {
	return c.books(exchange, pair, ChannelBook10, options)
}

func (c *Client) books(exchange, pair, channel string, options *ReadOptions) *Books {
	from := ReadOptions{From: Snapshot}
	if options != nil {
		from = *options
		if from.From == "" {
			from.From = Snapshot
		}
	}
	reader := c.Stream([]string{c.Keys.Stream(exchange, pair, channel)}, &from)
	return &Books{Reader: reader, book: NewBook(exchange, pair, channel)}
}

// Books follows a book.
type Books struct {
	Reader *Reader
	book   *Book
	err    error
}

// Next waits for the next entry of the book and takes it. It returns false once ctx is done, the reader is closed, or Redis
// refuses; Err says which. Then its connections are closed.
func (b *Books) Next(ctx context.Context) bool {
	if b.err != nil {
		return false
	}
	item, err := b.Reader.Next(ctx)
	if err != nil {
		b.err = err
		b.Reader.Close()
		return false
	}
	b.book.Take(item)
	return true
}

// Book returns the book as it is now: the same one each time, valid or not.
func (b *Books) Book() *Book {
	return b.book
}

// Err returns why Next returned false; nil if the reader was closed.
func (b *Books) Err() error {
	if errors.Is(b.err, ErrClosed) {
		return nil
	}
	return b.err
}

// Close closes the connections.
func (b *Books) Close() {
	b.Reader.Close()
}
