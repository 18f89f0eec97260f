package tickbridge

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
)

func TestMistakesInURLsAreSaidWithoutThePassword(t *testing.T) {
	for _, url := range []string{"localhost", "http://user:secret@h", "redis://:secret@h/x", "redis://", "unix://", "redis://:secret@h:x", "redis+cluster://:secret@", "redis+cluster://:secret@h:1,:2"} {
		_, err := New(url, nil)
		if !errors.Is(err, errURL) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestAnUnreachableServerIsAnError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	tb, err := New("redis://:secret@"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	books := tb.Book("coinbase", "BTC-USD", nil)
	if books.Next(context.Background()) {
		t.Fatal("a book without a server")
	}
	if err := books.Err(); err == nil || !strings.Contains(err.Error(), address+" is unreachable") || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// answering serves connections, each with the same answer to everything.
func answering(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			sock, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer sock.Close()
				in := bufio.NewReader(sock)
				for {
					if _, err := in.ReadString('\n'); err != nil {
						return
					}
					if _, err := sock.Write([]byte(answer)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "redis://" + listener.Addr().String()
}

func TestRefusalsAreExplained(t *testing.T) {
	for answer, words := range map[string]string{
		"-NOAUTH Authentication required.\r\n":   "a password is required",
		"-MOVED 1 127.0.0.1:1\r\n":               "one node of a Cluster",
		"-NOPERM no permissions\r\n":             "lacks a permission",
		"HTTP/1.1 400 Bad Request\r\n":           "not in the Redis protocol",
		"*99999999999\r\n":                       "not in the Redis protocol",
		"$-5\r\n":                                "not in the Redis protocol",
		strings.Repeat("*1\r\n", 100) + ":1\r\n": "not in the Redis protocol",
	} {
		tb, err := New(answering(t, answer), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tb.Trades("coinbase", "BTC-USD", nil).Next(context.Background())
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

func TestClosingEndsAReadThatWaits(t *testing.T) {
	tb, err := New(answering(t, "*-1\r\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	books := tb.Book("coinbase", "BTC-USD", &ReadOptions{From: Start})
	done := make(chan bool)
	go func() { done <- books.Next(context.Background()) }()
	books.Close()
	if <-done || books.Err() != nil {
		t.Errorf("%v", books.Err())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tb.Trades("coinbase", "BTC-USD", nil).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
