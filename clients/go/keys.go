package tickbridge

import "strings"

// StreamKey has the parts of a stream's key. Subject is a pair, or an account, with its sub-account if any (main/sub).
// Interval is that of candles (1m); other channels have none.
type StreamKey struct {
	Exchange, Subject, Channel, Interval string
}

// Keys builds and parses the Redis keys of a namespace ("": none).
type Keys struct {
	Namespace string
}

// Stream is md:{coinbase:BTC-USD}:trades or acct:{limitlex:main}:orders.
func (k Keys) Stream(exchange, subject, channel string) string {
	template := templatePrivate
	if publicChannels[channel] {
		template = templatePublic
	}
	return k.fill(template, exchange, subject, channel)
}

// Candles is the stream of a pair's candles: md:{coinbase:BTC-USD}:candles:1m.
func (k Keys) Candles(exchange, pair, interval string) string {
	return strings.ReplaceAll(k.fill(templateCandles, exchange, pair, ""), "<interval>", interval)
}

// Snapshot is the hash with the newest full book of a pair, for late joiners.
func (k Keys) Snapshot(exchange, pair string) string {
	return k.fill(templateSnapshot, exchange, pair, "")
}

// Catalog is the hash that lists the public streams.
func (k Keys) Catalog() string {
	return k.fill(templateCatalog, "", "", "")
}

// AccountsCatalog is the hash that lists the streams of accounts.
func (k Keys) AccountsCatalog() string {
	return k.fill(templateAccountsCatalog, "", "", "")
}

// Instrument is the hash with what the exchange lists of a pair: tick size, lot size, status and so on.
func (k Keys) Instrument(exchange, pair string) string {
	return k.fill(templateInstrument, exchange, pair, "")
}

// Wallet is the hash in which "tickbridge wallets" keeps an account's state.
func (k Keys) Wallet(exchange, account string) string {
	return k.fill(templateWallet, exchange, account, "")
}

// Cursor is the hash in which a reader may save its position under a name: field = stream key, value = entry ID.
func (k Keys) Cursor(name string) string {
	return k.prefix() + strings.ReplaceAll(templateCursor, "<name>", name)
}

// Parse returns the parts of a data stream's key; false for any other key.
func (k Keys) Parse(key string) (StreamKey, bool) {
	rest := strings.TrimPrefix(key, k.prefix())
	if len(rest) != len(key)-len(k.prefix()) {
		return StreamKey{}, false
	}
	kind, rest, _ := strings.Cut(rest, ":{")
	tag, channel, _ := strings.Cut(rest, "}:")
	channel, interval, there := strings.Cut(channel, ":")
	exchange, subject, _ := strings.Cut(tag, ":")
	public, known := publicChannels[channel]
	if !known || exchange == "" || subject == "" || (kind != "md" && kind != "acct") || public != (kind == "md") {
		return StreamKey{}, false
	}
	if there != (channel == ChannelCandles) || there && !isInterval(interval) {
		return StreamKey{}, false
	}
	return StreamKey{exchange, subject, channel, interval}, true
}

// isInterval reports whether this is a number without leading zeros and s, m, h or d.
func isInterval(text string) bool {
	number, unit := text, ""
	if len(text) > 0 {
		number, unit = text[:len(text)-1], text[len(text)-1:]
	}
	if len(number) < 1 || len(number) > 9 || number[0] == '0' || !strings.Contains("smhd", unit) {
		return false
	}
	for _, digit := range number {
		if digit < '0' || digit > '9' {
			return false
		}
	}
	return true
}

func (k Keys) prefix() string {
	if k.Namespace == "" {
		return ""
	}
	return k.Namespace + ":"
}

func (k Keys) fill(template, exchange, subject, channel string) string {
	parts := strings.NewReplacer("<exchange>", exchange, "<subject>", subject, "<channel>", channel)
	return k.prefix() + parts.Replace(template)
}
