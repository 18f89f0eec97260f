// Package tickbridge reads the streams of Tickbridge out of Redis: order books, trades and all other entries.
//
//	tb, err := tickbridge.New("redis://127.0.0.1:6379/0", nil)
//	…
//	books := tb.Book("coinbase", "BTC-USD", nil)
//	for books.Next(ctx) {
//		book := books.Book()
//		…
//	}
//	err = books.Err()
//
// Prices and sizes are decimal text, compared exactly and never converted to floats. Only the standard library is used.
package tickbridge
