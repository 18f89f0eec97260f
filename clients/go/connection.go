package tickbridge

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"strings"
	"time"
)

const (
	grace       = 5 * time.Second // beyond a blocking read, until a silent server counts as gone
	firstWait   = 50 * time.Millisecond
	longestWait = 2 * time.Second
	bufferSize  = 256 << 10
)

// connection is one connection to Redis. After any failure it is closed, and the next call opens a new one.
// It is not for concurrent use.
type connection struct {
	where   where
	silence time.Duration

	sock net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
}

func newConnection(at where, block time.Duration) *connection {
	return &connection{where: at, silence: block + grace}
}

// call sends one command. The error is a refusal if Redis answered one.
func (c *connection) call(ctx context.Context, words ...string) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	return c.exchange(ctx, words)
}

func (c *connection) exchange(ctx context.Context, words []string) (any, error) {
	sock := c.sock
	if err := sock.SetDeadline(time.Now().Add(c.silence)); err != nil {
		c.close()
		return nil, err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-ctx.Done():
			_ = sock.SetDeadline(time.Unix(1, 0)) // ends the read at once
		case <-done:
		}
	}()
	err := writeCommand(c.out, words)
	var value any
	if err == nil {
		value, err = readValue(c.in, 0)
	}
	if err != nil {
		c.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	if refused, is := value.(refusal); is {
		if passing(refused) {
			c.close()
		}
		return nil, refused
	}
	return value, nil
}

func (c *connection) connect(ctx context.Context) error {
	if c.sock != nil {
		return nil
	}
	address := c.where.address
	if c.where.sentinels != nil {
		master, err := c.master(ctx)
		if err != nil {
			return err
		}
		address = master
	}
	dialer := &net.Dialer{Timeout: grace}
	sock, err := dialer.DialContext(ctx, c.where.network, address)
	if err != nil {
		return err
	}
	if c.where.tls != nil {
		config := c.where.tls.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(address)
		}
		secure := tls.Client(sock, config)
		limited, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		if err := secure.HandshakeContext(limited); err != nil {
			sock.Close()
			return err
		}
		sock = secure
	}
	c.sock, c.in, c.out = sock, bufio.NewReaderSize(sock, bufferSize), bufio.NewWriter(sock)
	for _, words := range c.greetings() {
		if _, err := c.exchange(ctx, words); err != nil {
			c.close()
			return err
		}
	}
	return nil
}

// master is the address of the server that one of the Sentinels calls the master.
func (c *connection) master(ctx context.Context) (string, error) {
	asked := c.where.sentinels
	last := fmt.Errorf("none of the Sentinels knows a master %s", asked.master)
	for _, address := range asked.addresses {
		at := where{network: "tcp", address: address, user: asked.user, password: asked.password, db: "0", tls: c.where.tls}
		sentinel := newConnection(at, 0)
		value, err := sentinel.call(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", asked.master)
		sentinel.close()
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil {
			last = err
			continue
		}
		if pair, is := value.([]any); is && len(pair) == 2 {
			return net.JoinHostPort(fmt.Sprint(pair[0]), fmt.Sprint(pair[1])), nil
		}
	}
	// Not wrapped: whatever a Sentinel said, another one may be asked later.
	return "", fmt.Errorf("no Sentinel names the master: %s", last)
}

// greetings are the commands that a new connection begins with.
func (c *connection) greetings() [][]string {
	var all [][]string
	switch {
	case c.where.user != "":
		all = append(all, []string{"AUTH", c.where.user, c.where.password})
	case c.where.password != "":
		all = append(all, []string{"AUTH", c.where.password})
	}
	if c.where.db != "0" {
		all = append(all, []string{"SELECT", c.where.db})
	}
	return all
}

// close closes the socket.
func (c *connection) close() {
	if c.sock != nil {
		c.sock.Close()
		c.sock = nil
	}
}

// passing says whether waiting may help: Redis is unreachable, loading or failing over.
func passing(err error) bool {
	var refused refusal
	if !errors.As(err, &refused) {
		return !errors.Is(err, errProtocol)
	}
	for _, word := range []string{
		"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "UNBLOCKED", "BUSY ", "OOM ", "MISCONF", "NOREPLICAS",
	} {
		if strings.HasPrefix(string(refused), word) {
			return true
		}
	}
	return false
}

// refusesKey says whether Redis refuses a key: it holds something else, or this user may not read it.
func refusesKey(err error) bool {
	var refused refusal
	return errors.As(err, &refused) && (wrongType(err) || strings.HasPrefix(string(refused), "NOPERM"))
}

func wrongType(err error) bool {
	var refused refusal
	return errors.As(err, &refused) && strings.HasPrefix(string(refused), "WRONGTYPE")
}

// explain is an error in words, with what to do about it.
func explain(err error, at where) error {
	var refused refusal
	if !errors.As(err, &refused) {
		return fmt.Errorf("Redis at %s is unreachable: %w", at.name, err)
	}
	switch word, _, _ := strings.Cut(string(refused), " "); word {
	case "NOAUTH", "WRONGPASS":
		return fmt.Errorf("Redis at %s: wrong user or password, or a password is required (%w)", at.name, err)
	case "MOVED":
		return fmt.Errorf("Redis at %s is one node of a Cluster, which this client does not support (%w)", at.name, err)
	case "NOPERM":
		return fmt.Errorf("Redis at %s: this user lacks a permission: %w; `tickbridge acl` prints the required rights", at.name, err)
	}
	return fmt.Errorf("Redis at %s: %w", at.name, err)
}

// outages repeats calls until Redis answers, once it has answered at all.
type outages struct {
	where    where
	report   func(error)
	answered bool
}

// outlive returns the result of a call that may be repeated, once Redis answers. Its error is a refusal if Redis refuses a
// key, ctx's error if that is done, or else says what to do.
func (o *outages) outlive(ctx context.Context, call func() (any, error)) (any, error) {
	wait := time.Duration(0)
	away := false
	for {
		value, err := call()
		switch {
		case err == nil:
			o.answered = true
			if away {
				o.report(nil)
			}
			return value, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case refusesKey(err):
			o.answered = true
			return nil, err
		case !passing(err) || !o.answered:
			return nil, explain(err, o.where)
		case !away:
			away = true
			o.report(explain(err, o.where))
		}
		if err := sleep(ctx, time.Duration(float64(wait)*(0.5+rand.Float64()/2))); err != nil { // #nosec G404: jitter
			return nil, err
		}
		wait *= 2
		if wait == 0 {
			wait = firstWait
		}
		if wait > longestWait {
			wait = longestWait
		}
	}
}

func sleep(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
