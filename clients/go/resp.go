package tickbridge

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// The Redis protocol, version 2. A value is a string, an int64, nil, a []any or a refusal.

const (
	longestString = 512 << 20 // Redis' own limit
	mostValues    = 1 << 24
	deepest       = 16
)

// refusal is an error that Redis answered.
type refusal string

func (r refusal) Error() string {
	return string(r)
}

var errProtocol = errors.New("the answer is not in the Redis protocol; is this the right port?")

func writeCommand(out *bufio.Writer, words []string) error {
	// A bufio.Writer keeps its first error for Flush.
	fmt.Fprintf(out, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(out, "$%d\r\n", len(word))
		_, _ = out.WriteString(word)
		_, _ = out.WriteString("\r\n")
	}
	return out.Flush()
}

func readValue(in *bufio.Reader, depth int) (any, error) {
	line, err := readLine(in)
	if err != nil {
		return nil, err
	}
	if line == "" || depth > deepest {
		return nil, errProtocol
	}
	rest := line[1:]
	switch line[0] {
	case '+':
		return rest, nil
	case '-':
		return refusal(rest), nil
	case ':':
		number, err := strconv.ParseInt(rest, 10, 64)
		if err != nil {
			return nil, errProtocol
		}
		return number, nil
	case '$':
		return readString(in, rest)
	case '*':
		return readArray(in, rest, depth)
	}
	return nil, errProtocol
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errProtocol
	}
	if err != nil {
		return "", err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return "", errProtocol
	}
	return string(line[:len(line)-2]), nil
}

func readString(in *bufio.Reader, rest string) (any, error) {
	size, err := strconv.Atoi(rest)
	if err != nil || size < -1 || size > longestString {
		return nil, errProtocol
	}
	if size == -1 {
		return nil, nil
	}
	text := make([]byte, size+2)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, err
	}
	if text[size] != '\r' || text[size+1] != '\n' {
		return nil, errProtocol
	}
	return string(text[:size]), nil
}

func readArray(in *bufio.Reader, rest string, depth int) (any, error) {
	count, err := strconv.Atoi(rest)
	if err != nil || count < -1 || count > mostValues {
		return nil, errProtocol
	}
	if count == -1 {
		return nil, nil
	}
	var values []any
	for len(values) < count {
		value, err := readValue(in, depth+1)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// rawEntry is an entry of a reply: its ID, and its fields and values in turn.
type rawEntry struct {
	id   string
	flat []string
}

// streamEntries is what XREAD says of one stream.
type streamEntries struct {
	key     string
	entries []rawEntry
}

func asStrings(value any) ([]string, error) {
	values, _ := value.([]any)
	texts := make([]string, 0, len(values))
	for _, one := range values {
		text, found := one.(string)
		if !found {
			return nil, errProtocol
		}
		texts = append(texts, text)
	}
	return texts, nil
}

func asEntries(value any) ([]rawEntry, error) {
	values, _ := value.([]any)
	entries := make([]rawEntry, 0, len(values))
	for _, one := range values {
		pair, _ := one.([]any)
		if len(pair) != 2 {
			return nil, errProtocol
		}
		id, _ := pair[0].(string)
		if _, valid := parseID(id); !valid {
			return nil, errProtocol
		}
		flat, err := asStrings(pair[1])
		if err != nil {
			return nil, err
		}
		entries = append(entries, rawEntry{id, flat})
	}
	return entries, nil
}

func asStreams(value any) ([]streamEntries, error) {
	values, _ := value.([]any)
	var streams []streamEntries
	for _, one := range values {
		pair, _ := one.([]any)
		if len(pair) != 2 {
			return nil, errProtocol
		}
		key, _ := pair[0].(string)
		entries, err := asEntries(pair[1])
		if err != nil {
			return nil, err
		}
		streams = append(streams, streamEntries{key, entries})
	}
	return streams, nil
}
