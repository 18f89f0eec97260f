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
	"sync"
	"time"
)

const (
	grace       = 5 * time.Second // beyond a blocking read, until a silent server counts as gone
	firstWait   = 50 * time.Millisecond
	longestWait = 2 * time.Second
	bufferSize  = 256 << 10
	askEvery    = time.Second // until Sentinels are asked again whether the master is another server by now

	mostRedirections = 5 // to other nodes of a Cluster, until it counts as out of order
)

// connection is one connection: to the only server, to the master, or to the node of a Cluster that has a slot. After any
// failure it is closed, and the next call opens a new one. It is not for concurrent use.
type connection struct {
	where   where
	slot    int // of the keys, if it is a Cluster
	block   time.Duration
	silence time.Duration

	asked time.Time   // when the Sentinels were last asked for the master
	named chan string // what they answer; nil unless they are being asked

	moved  string // where the slot has moved, as the node said that had it before
	server string // the address of the server that sock is connected to
	sock   net.Conn
	in     *bufio.Reader
	out    *bufio.Writer
}

func newConnection(at where, block time.Duration) *connection {
	return &connection{where: at, block: block, silence: block + grace}
}

// call sends one command, in a Cluster to the node that has the slot, wherever that is by now. The error is a refusal if
// Redis answered one.
func (c *connection) call(ctx context.Context, words ...string) (any, error) {
	value, err := c.here(ctx, words...)
	if c.where.cluster == nil {
		return value, err
	}
	for tries := 0; tries < mostRedirections; tries++ {
		address, ask, is := redirection(err, c.server)
		if !is {
			return value, err
		}
		if ask {
			value, err = c.asking(ctx, address, words...)
			if _, _, is := redirection(err, address); !is {
				return value, err
			}
		} else {
			c.close()
			c.moved = address
		}
		value, err = c.here(ctx, words...)
	}
	if _, _, is := redirection(err, c.server); is {
		return nil, fmt.Errorf("the nodes of the Cluster do not agree who has slot %d: %s", c.slot, err)
	}
	return value, err
}

// asking sends one command to the node that the slot is moving to.
func (c *connection) asking(ctx context.Context, address string, words ...string) (any, error) {
	node := newConnection(c.where.server(address), c.block)
	defer node.close()
	if _, err := node.here(ctx, "ASKING"); err != nil {
		return nil, err
	}
	return node.here(ctx, words...)
}

func (c *connection) here(ctx context.Context, words ...string) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.followMaster(ctx)
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	return c.exchange(ctx, words)
}

// followMaster closes the connection if the Sentinels name another master by now. They are asked once a second, beside the
// commands. After a planned failover the old master goes on for some ten seconds, until it is demoted.
func (c *connection) followMaster(ctx context.Context) {
	if c.where.sentinels == nil || c.sock == nil {
		return
	}
	if c.named == nil {
		if time.Since(c.asked) >= askEvery {
			named := make(chan string, 1)
			c.named = named
			go func() {
				address, _ := c.master(ctx) // it may be there, even if no Sentinel is
				named <- address
			}()
		}
		return
	}
	select {
	case address := <-c.named:
		c.asked, c.named = time.Now(), nil
		if address != "" && address != c.server {
			c.close()
		}
	default:
	}
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
	address, err := c.find(ctx)
	if err != nil {
		return err
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
	c.server, c.asked, c.named = address, time.Now(), nil
	c.sock, c.in, c.out = sock, bufio.NewReaderSize(sock, bufferSize), bufio.NewWriter(sock)
	for _, words := range c.greetings() {
		if _, err := c.exchange(ctx, words); err != nil {
			c.close()
			return err
		}
	}
	return nil
}

// find returns the address of the server.
func (c *connection) find(ctx context.Context) (string, error) {
	switch {
	case c.where.sentinels != nil:
		return c.master(ctx)
	case c.where.cluster == nil:
		return c.where.address, nil
	case c.moved != "":
		address := c.moved
		c.moved = "" // if it does not answer, the nodes are asked next time
		return address, nil
	}
	return c.where.cluster.owner(c.slot, func(address string, words ...string) (any, error) {
		node := newConnection(c.where.server(address), 0)
		defer node.close()
		return node.call(ctx, words...)
	})
}

// master is the address of the server that one of the Sentinels calls the master.
func (c *connection) master(ctx context.Context) (string, error) {
	asked := c.where.sentinels
	last := fmt.Errorf("none of the Sentinels knows a master %s", asked.master)
	for _, address := range asked.addresses {
		at := c.where.server(address)
		at.user, at.password, at.db = asked.user, asked.password, "0"
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
	case "MOVED", "CROSSSLOT":
		return fmt.Errorf("Redis at %s is one node of a Cluster; use redis+cluster:// instead of redis:// (%w)", at.name, err)
	case "NOPERM":
		return fmt.Errorf("Redis at %s: this user lacks a permission: %w; `tickbridge acl` prints the required rights", at.name, err)
	}
	if strings.Contains(string(refused), "cluster support disabled") {
		return fmt.Errorf("Redis at %s is not a Cluster; use redis:// instead of redis+cluster:// (%w)", at.name, err)
	}
	return fmt.Errorf("Redis at %s: %w", at.name, err)
}

// outages repeats calls until Redis answers, once it has answered at all. In a Cluster several calls may wait at once, one
// for each slot of an unreachable node.
type outages struct {
	where  where
	report func(error)

	mutex    sync.Mutex
	answered bool
	away     bool
	waiting  int
}

// outlive returns the result of a call that may be repeated, once Redis answers. Its error is a refusal if Redis refuses a
// key, ctx's error if that is done, or else says what to do.
func (o *outages) outlive(ctx context.Context, call func() (any, error)) (any, error) {
	wait := time.Duration(0)
	waits := false
	defer func() {
		if waits {
			o.mutex.Lock()
			o.waiting--
			o.mutex.Unlock()
		}
	}()
	for {
		value, err := call()
		switch {
		case err == nil:
			o.back(waits)
			return value, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case refusesKey(err):
			o.back(waits)
			return nil, err
		case !o.begin(err, waits):
			return nil, explain(err, o.where)
		}
		waits = true
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

// begin counts a call that failed, and reports the first; it says whether to call again.
func (o *outages) begin(err error, waits bool) bool {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if !passing(err) || !o.answered {
		return false
	}
	if !waits {
		o.waiting++
	}
	if !o.away {
		o.away = true
		o.report(explain(err, o.where))
	}
	return true
}

// back counts an answer, and reports the end of an outage if no other call waits.
func (o *outages) back(waits bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.answered = true
	others := o.waiting
	if waits {
		others--
	}
	if o.away && others == 0 {
		o.away = false
		o.report(nil)
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
