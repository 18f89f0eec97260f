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
	sentinels        *sentinels  // nil: the address is the server's
	cluster          *cluster    // nil: one server has all streams
	name             string      // the URL without user and password, for messages
}

// sentinels are asked for the address of the master at every connection.
type sentinels struct {
	addresses      []string
	master         string
	user, password string
}

var errURL = errors.New("expected redis://HOST:PORT/DB, rediss:// (TLS), unix:///PATH, redis+sentinel://HOST:PORT,HOST:PORT/MASTER or redis+cluster://HOST:PORT,HOST:PORT")

const (
	redisPort    = "6379"
	sentinelPort = "26379"
)

func whereIs(text string, config *tls.Config) (where, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	var hosts string
	if strings.HasSuffix(scheme, "+sentinel") || strings.HasSuffix(scheme, "+cluster") {
		// url.Parse takes one host.
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		at := strings.LastIndex(rest[:end], "@") + 1
		hosts = rest[at:end]
		text = scheme + "://" + rest[:at] + "several" + rest[end:]
	}
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
			port = redisPort
		}
		found.network, found.address = "tcp", net.JoinHostPort(parsed.Hostname(), port)
		found.db = strings.TrimPrefix(parsed.Path, "/")
		if parsed.Hostname() == "" {
			found.address = ""
		}
	case "redis+sentinel", "rediss+sentinel":
		found.network, found.address, found.name = "tcp", hosts, scheme+"://"+hosts+parsed.Path
		if found.sentinels, found.db, err = sentinelsOf(hosts, parsed); err != nil {
			return where{}, err
		}
	case "redis+cluster", "rediss+cluster":
		found.network, found.address, found.name = "tcp", hosts, scheme+"://"+hosts
		nodes, err := addressesOf(hosts, redisPort, "a node")
		if err != nil {
			return where{}, err
		}
		found.cluster = newCluster(nodes)
		if db := strings.Trim(parsed.Path, "/"); db != "" && db != "0" {
			return where{}, errors.New("the Redis URL has a database number, but a Cluster has only one database")
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
	if strings.HasPrefix(parsed.Scheme, "rediss") {
		found.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		if config != nil {
			found.tls = config.Clone()
		}
	}
	return found, nil
}

func sentinelsOf(hosts string, parsed *url.URL) (*sentinels, string, error) {
	master, db, _ := strings.Cut(strings.Trim(parsed.Path, "/"), "/")
	found := &sentinels{master: master, user: parsed.Query().Get("sentinel_username"), password: parsed.Query().Get("sentinel_password")}
	var err error
	if found.addresses, err = addressesOf(hosts, sentinelPort, "a Sentinel"); err != nil {
		return nil, "", err
	}
	if master == "" {
		return nil, "", fmt.Errorf("the Redis URL does not name the master; %w", errURL)
	}
	return found, db, nil
}

// addressesOf returns those of several servers, HOST:PORT each.
func addressesOf(hosts, port, what string) ([]string, error) {
	var found []string
	for _, host := range strings.Split(hosts, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		if name, port, err := net.SplitHostPort(host); err != nil || name == "" || port == "" {
			return nil, fmt.Errorf("the Redis URL has %s that is not HOST:PORT; %w", what, errURL)
		}
		found = append(found, host)
	}
	return found, nil
}

// server is the same for one server of those that belong together.
func (w where) server(address string) where {
	w.address, w.sentinels, w.cluster = address, nil, nil
	return w
}
