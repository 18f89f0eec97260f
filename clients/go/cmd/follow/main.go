// Command follow prints what the client sees, a JSON line each: follow URL book|trades EXCHANGE PAIR [PAIR …]
//
// It is used by tests that compare it with the exchange's truth and with the Python reader.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"tickbridge"
)

type level struct {
	Price string `json:"price"`
	Size  string `json:"size"`
}

func main() {
	url, kind, exchange, pairs := os.Args[1], os.Args[2], os.Args[3], os.Args[4:]
	tb, err := tickbridge.New(url, &tickbridge.Options{OnOutage: func(err error) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "outage: %s\n", err)
		} else {
			fmt.Fprintln(os.Stderr, "over")
		}
	}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if kind == "book" {
		err = followBook(ctx, tb.Book(exchange, pairs[0], nil))
	} else {
		var keys []string
		for _, pair := range pairs {
			keys = append(keys, tb.Keys.Stream(exchange, pair, tickbridge.ChannelTrades))
		}
		err = followItems(ctx, tb.Stream(keys, nil))
	}
	if ctx.Err() == nil {
		log.Fatal(err)
	}
}

func followBook(ctx context.Context, books *tickbridge.Books) error {
	for books.Next(ctx) {
		book := books.Book()
		bids, asks := book.Top(-1)
		print(map[string]any{"id": book.ID, "why": book.Why, "bids": asLevels(bids), "asks": asLevels(asks)})
	}
	return books.Err()
}

func followItems(ctx context.Context, reader *tickbridge.Reader) error {
	defer reader.Close()
	for {
		item, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		kind := string(item.Kind)
		if item.Kind == tickbridge.Entry {
			kind = item.Type
		}
		print(map[string]any{"kind": kind, "id": item.ID, "key": item.Key})
	}
}

func asLevels(found []tickbridge.Level) []level {
	levels := make([]level, len(found))
	for place, one := range found {
		levels[place] = level{one.Price, one.Size}
	}
	return levels
}

func print(row map[string]any) {
	line, err := json.Marshal(row)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
}
