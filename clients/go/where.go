package tickbridge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// where says where Redis is, and how to reach it.
type where struct {
	network, address string
	user, password   string
	db               string
	tls              *tls.Config // nil: no TLS
	name             string      // the URL without user and password, for messages
}

var errURL = errors.New("expected redis://HOST:PORT/DB, rediss:// (TLS) or unix:///PATH")

func whereIs(text string, config *tls.Config) (where, error) {
	parsed, err := url.Parse(text)
	if err != nil {
		return where{}, fmt.Errorf("the Redis URL is not a URL; %w", errURL) // err holds the URL, and so the password
	}
	found := where{user: parsed.User.Username(), name: parsed.Scheme + "://" + parsed.Host + parsed.Path}
	found.password, _ = parsed.User.Password()
	switch parsed.Scheme {
	case "unix":
		found.network, found.address, found.db = "unix", parsed.Path, parsed.Query().Get("db")
	case "redis", "rediss":
		port := parsed.Port()
		if port == "" {
			port = "6379"
		}
		found.network, found.address = "tcp", net.JoinHostPort(parsed.Hostname(), port)
		found.db = strings.TrimPrefix(parsed.Path, "/")
		if parsed.Hostname() == "" {
			found.address = ""
		}
	default:
		return where{}, fmt.Errorf("the Redis URL begins with %s://; %w", parsed.Scheme, errURL)
	}
	if found.db == "" {
		found.db = "0"
	}
	if _, err := strconv.ParseUint(found.db, 10, 31); err != nil || found.address == "" {
		return where{}, fmt.Errorf("the Redis URL has no host or path, or a database that is not a number; %w", errURL)
	}
	if parsed.Scheme == "rediss" {
		found.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		if config != nil {
			found.tls = config.Clone()
		}
		if found.tls.ServerName == "" {
			found.tls.ServerName = parsed.Hostname()
		}
	}
	return found, nil
}
