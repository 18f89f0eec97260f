// Command book prints a book's best prices after every change.
package main

import (
	"context"
	"fmt"
	"log"

	"tickbridge"
)

func main() {
	tb, err := tickbridge.New("redis://127.0.0.1:6379/0", nil)
	if err != nil {
		log.Fatal(err)
	}
	books := tb.Book("coinbase", "BTC-USD", nil)
	for books.Next(context.Background()) {
		book := books.Book()
		bid, ask := book.Best()
		fmt.Println(book.ID, bid.Price, "/", ask.Price, book.Reason)
	}
	log.Fatal(books.Err())
}
