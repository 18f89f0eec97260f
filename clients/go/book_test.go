package tickbridge

import (
	"fmt"
	"strings"
	"testing"
)

const testKey = "md:{coinbase:BTC-USD}:book"

// entry is an entry of the book stream, its fields and values in turn.
func entry(seq int, flat ...string) Item {
	stream, _ := Keys{}.Parse(testKey)
	return toItem(testKey, stream, fmt.Sprintf("%d-%d", 1795302525000+seq, seq), flat)
}

func levelsEntry(seq int, kind, bids, asks string) Item {
	return entry(seq, "type", kind, "ts", "", "recv", "1", "xseq", fmt.Sprint(seq), "bids", bids, "asks", asks)
}

func control(seq int, event string) Item {
	return entry(seq, "type", "control", "ts", "", "recv", "1", "event", event, "reason", "because", "count", "")
}

func taken(items ...Item) *Book {
	book := NewBook("coinbase", "BTC-USD", ChannelBook)
	for _, item := range items {
		book.Take(item)
	}
	return book
}

func text(book *Book) string {
	bids, asks := book.Top(-1)
	var words []string
	for _, side := range [][]Level{bids, asks} {
		for _, level := range side {
			words = append(words, level.Price+":"+level.Size)
		}
		words = append(words, "|")
	}
	return strings.Join(words, " ")
}

func TestBook(t *testing.T) {
	snapshot := levelsEntry(1, "snapshot", "9:1 10.50:2 10:3", "12:1 11:2")
	for name, one := range map[string]struct {
		items []Item
		want  string
	}{
		"a snapshot in any order":        {[]Item{snapshot}, "10.50:2 10:3 9:1 | 11:2 12:1 |"},
		"a delta sets and removes":       {[]Item{snapshot, levelsEntry(2, "delta", "10.5:0.00 9.5:4 8:0", "11:5")}, "10:3 9.5:4 9:1 | 11:5 12:1 |"},
		"the exchange's digits are kept": {[]Item{snapshot, levelsEntry(2, "delta", "9.00:7", "")}, "10.50:2 10:3 9.00:7 | 11:2 12:1 |"},
		"prices beyond floats":           {[]Item{levelsEntry(1, "snapshot", "9007199254740992:1 9007199254740993:2", "")}, "9007199254740993:2 9007199254740992:1 | |"},
		"zero in a snapshot is no level": {[]Item{levelsEntry(1, "snapshot", "9:0 8:1 8.0:2", "")}, "8.0:2 | |"},
		"a delta before a snapshot":      {[]Item{levelsEntry(1, "delta", "9:1", "")}, "| |"},
		"a snapshot after a gap":         {[]Item{snapshot, control(2, "gap"), levelsEntry(3, "snapshot", "1:1", "2:1")}, "1:1 | 2:1 |"},
		"an unknown type is ignored":     {[]Item{snapshot, entry(2, "type", "auction")}, "10.50:2 10:3 9:1 | 11:2 12:1 |"},
	} {
		if got := text(taken(one.items...)); got != one.want {
			t.Errorf("%s: %s, want %s", name, got, one.want)
		}
	}
	bid, ask := taken(snapshot).Best()
	if bid != (Level{"10.50", "2"}) || ask != (Level{"11", "2"}) {
		t.Errorf("best: %v %v", bid, ask)
	}
	if bids, _ := taken(snapshot).Top(1); len(bids) != 1 || bids[0] != bid {
		t.Errorf("top: %v", bids)
	}
}

func TestWhatMakesABookInvalid(t *testing.T) {
	snapshot := levelsEntry(1, "snapshot", "9:1", "12:1")
	for _, one := range []struct {
		item Item
		why  string
	}{
		{control(2, "live"), "live"},
		{control(2, "down"), "down"},
		{control(2, "gap"), "gap"},
		{control(2, "halted"), "unknown"},
		{Item{Kind: Hole, ID: "9-9", Count: 2}, "hole"},
		{Item{Kind: Trimmed, ID: "9-9", Count: 2}, "trimmed"},
		{Item{Kind: Reset, ID: "9-9"}, "reset"},
		{Item{Kind: Unreadable, Reason: "WRONGTYPE"}, "unreadable"},
		{levelsEntry(2, "delta", "ten:1", ""), "undecodable"},
		{levelsEntry(2, "delta", "10", ""), "undecodable"},
		{levelsEntry(2, "delta", "", "10:-1"), "undecodable"},
		{levelsEntry(2, "snapshot", "10:1:1", ""), "undecodable"},
		{entry(2, "type", "delta", "ts", "", "recv", "1"), "undecodable"},
		{entry(2, "type", "delta", "ts", "x", "recv", "1", "xseq", "", "bids", "", "asks", ""), "undecodable"},
		{entry(2, "type", "trade", "ts", "", "recv", "1", "id", "", "side", "buy", "price", "1", "size", "1"), "undecodable"},
		{entry(2, "ty", "delta"), "undecodable"},
	} {
		book := taken(snapshot, one.item)
		if book.Why != one.why || book.Valid() || text(book) != "| |" || book.Reason == "" {
			t.Errorf("%+v: %s (%s), want %s", one.item, book.Why, book.Reason, one.why)
		}
		book.Take(levelsEntry(3, "delta", "9:2", ""))
		if book.Valid() {
			t.Errorf("%+v: a delta made the book valid", one.item)
		}
		book.Take(levelsEntry(4, "snapshot", "9:2", ""))
		if !book.Valid() || text(book) != "9:2 | |" {
			t.Errorf("%+v: a snapshot did not make the book valid", one.item)
		}
	}
}

func TestKeys(t *testing.T) {
	keys := Keys{"prod"}
	for _, one := range [][2]string{
		{keys.Stream("coinbase", "BTC-USD", ChannelBook), "prod:md:{coinbase:BTC-USD}:book"},
		{keys.Stream("lmex", "main/bot", ChannelFills), "prod:acct:{lmex:main/bot}:fills"},
		{keys.Snapshot("coinbase", "BTC-USD"), "prod:md:{coinbase:BTC-USD}:book:snapshot"},
		{keys.Cursor("mine"), "prod:bridge:cursor:mine"},
	} {
		if one[0] != one[1] {
			t.Errorf("%s, want %s", one[0], one[1])
		}
	}
	minute := keys.Candles("coinbase", "BTC-USD", "1m")
	if parsed, ok := keys.Parse(minute); !ok || parsed != (StreamKey{"coinbase", "BTC-USD", "candles", "1m"}) {
		t.Errorf("%s: %v %v", minute, parsed, ok)
	}
	for _, end := range []string{"candles", "candles:", "candles:0m", "candles:1M", "candles:m", "candles:1m:x", "trades:1m"} {
		if _, ok := keys.Parse("prod:md:{coinbase:BTC-USD}:" + end); ok {
			t.Error(end)
		}
	}
	if parsed, ok := keys.Parse("prod:acct:{lmex:main/bot}:fills"); !ok || parsed != (StreamKey{Exchange: "lmex", Subject: "main/bot", Channel: "fills"}) {
		t.Errorf("%v %v", parsed, ok)
	}
	for _, other := range []string{
		"md:{coinbase:BTC-USD}:book", "prod:md:{coinbase:BTC-USD}:fills", "prod:md:{coinbase:BTC-USD}:book:snapshot",
		"prod:md:{coinbase}:book", "prod:bridge:catalog",
	} {
		if _, ok := keys.Parse(other); ok {
			t.Errorf("%s is taken for a stream", other)
		}
	}
}
